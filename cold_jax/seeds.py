"""A seed becomes named keys: every random choice is a pure function of (seed, purpose, counters).

Nothing random is carried from step to step, so a run that was killed and resumed draws what it would have drawn.
"""

import hashlib

import jax
import numpy as np


def _number(purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "little")


def key(seed: int, purpose: str, *counters: int | jax.Array) -> jax.Array:
    """A JAX key for one purpose, such as ("dropout", step)."""
    key = jax.random.fold_in(jax.random.key(seed), _number(purpose))
    for counter in counters:
        key = jax.random.fold_in(key, counter)
    return key


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A NumPy generator for one purpose, such as ("order", epoch)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _number(purpose), *counters])))


def secret_bits(secret: bytes, purpose: str, step: int) -> bytes:
    """32 bytes for one purpose and step that nobody can tell without the secret (keyed BLAKE2)."""
    return hashlib.blake2b(f"{purpose} {step}".encode(), key=secret, digest_size=32).digest()


def secret_generator(secret: bytes, purpose: str, step: int) -> np.random.Generator:
    """A NumPy generator for one purpose and step of a secret."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(secret_bits(secret, purpose, step)[:16], "little")))
