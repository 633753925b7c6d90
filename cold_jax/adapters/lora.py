"""LoRA, rsLoRA and DoRA: Δθ of low rank, at the activation."""

import functools
import math
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax import seeds
from cold_jax.adapters.base import LayerAdapter
from cold_jax.encoders.layers import Linear
from cold_jax.errors import ConfigError
from cold_jax.ranges import require

MOST_REPEATS = 5  # in a pattern of `targets`


class LoraLinear(nnx.Module):
    """x·W + bias + s·(x·A)·B. B starts at zero, so φ = θ at step 0; W + s·A·B itself is formed for DoRA's norms alone.

    DoRA scales all but the bias, output by output, by m / |W + s·A·B|, in which the gradient takes the norm as constant (its section 4.3).
    """

    def __init__(
        self, linear: Linear, rank: int, scale: float, dropout: float, dora: bool, generator: np.random.Generator, noise_tag: int
    ):
        *stack, wide, out = linear.kernel.shape
        bound = 1 / np.sqrt(wide)  # PEFT's: kaiming_uniform with a = √5
        self.linear = linear
        self.A = nnx.LoRAParam(jnp.asarray(generator.uniform(-bound, bound, (*stack, wide, rank)), linear.param_dtype))
        self.B = nnx.LoRAParam(jnp.zeros((*stack, rank, out), linear.param_dtype))
        self.magnitude: Any = (
            nnx.LoRAParam(jnp.linalg.norm(linear.kernel[...].astype(linear.param_dtype), axis=-2)) if dora else None
        )
        self.scale = scale
        self.dropout = dropout
        self.noise_tag = noise_tag

    def __call__(self, x: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:
        dtype = self.linear.dtype or x.dtype
        kept = x.astype(dtype)
        if noise_RL is not None and self.dropout > 0:
            keep = lambda key: jax.random.bernoulli(jax.random.fold_in(key, self.noise_tag), 1 - self.dropout, x.shape[-1:])  # noqa: E731
            kept = jnp.where(jax.vmap(jax.vmap(keep))(noise_RL), kept / (1 - self.dropout), 0)
        change = (kept @ self.A[...].astype(dtype)) @ self.B[...].astype(dtype) * self.scale
        if self.magnitude is None:
            return self.linear(x) + change
        wide = (*[1] * (x.ndim - 1), -1)
        bias = 0 if self.linear.bias is None else self.linear.bias[...].astype(dtype).reshape(wide)
        kernel = self.linear.kernel[...].astype(self.A.dtype)
        norm = jnp.linalg.norm(kernel + self.scale * self.A[...] @ self.B[...], axis=-2)
        by = (self.magnitude[...] / jax.lax.stop_gradient(norm)).astype(dtype).reshape(wide)
        return by * (self.linear(x) - bias + change) + bias


@dataclass(frozen=True)
class Lora(LayerAdapter):
    """A and B (and m) of the linear layers whose dotted path matches one of `targets` learn.

    init_from: the folder of a PEFT adapter, to begin at its.
    """

    rank: int
    alpha: float
    dropout: float
    rslora: bool
    dora: bool
    targets: list[str]
    init_from: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "targets", tuple(self.targets))
        if self.rank < 1:
            raise ValueError(f"adapter.rank: {self.rank} is not a rank; give 1 or more (adapter=frozen learns no Δθ)")
        require("adapter", self, above_0=["alpha"], fractions=["dropout"])
        for pattern in self.targets:
            _require_quick(pattern)

    @property
    def trainable_filter(self) -> nnx.filterlib.Filter:
        return nnx.LoRAParam

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        """A copy, with θ's own arrays, whose layers are wrapped. Raises ConfigError where a pattern matches no linear layer."""
        encoder = nnx.clone(encoder)
        linears = {".".join(map(str, path)): m for path, m in nnx.iter_modules(encoder) if isinstance(m, Linear)}
        for pattern in self.targets:
            if not any(re.fullmatch(pattern, name) for name in linears):
                raise ConfigError(
                    f"adapter.targets: '{pattern}' matches no linear layer of the encoder; it has {', '.join(sorted(linears))}"
                )
        names = [name for name in sorted(linears) if any(re.fullmatch(p, name) for p in self.targets)]
        for tag, name in enumerate(names):
            *parents, last = name.split(".")
            draw = seeds.generator(seed, f"lora {name}")
            adapted = LoraLinear(linears[name], self.rank, self.scale, self.dropout, self.dora, draw, tag)
            setattr(functools.reduce(getattr, parents, encoder), last, adapted)
        return encoder


def _require_quick(pattern: str) -> None:
    """Raises ConfigError for what is no regular expression, or may take time exponential in the length of a name."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"adapter.targets: {pattern[:80]!r} is not a regular expression ({error})") from None
    if re.search(r"\)[*+{]", pattern) or sum(map(pattern.count, "*+{")) > MOST_REPEATS:
        raise ConfigError(f"adapter.targets: {pattern[:80]!r}: give no repeated group, and at most {MOST_REPEATS} of * + {{")
