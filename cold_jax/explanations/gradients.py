"""Integrated gradients over token embeddings: Sundararajan et al. 2017, arXiv 1703.01365.

The path goes from texts whose words are all masked to the texts as they are, in a straight line of what the encoder's embedding layer
gives. Special tokens and prompts stay. The integral is a Gauss–Legendre sum, of twice as many steps until it is complete.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax.encoders import TextEncoder
from cold_jax.explanations.explanation import Completeness
from cold_jax.text.packing import Rows

STEPS = (16, 32, 64, 128, 256, 512)
TOLERANCE = 0.01


class Given(nnx.Module):
    """In the place of an embedding layer: what it would give."""

    def __init__(self, x_RLD: jax.Array):
        self.x_RLD = nnx.Variable(x_RLD)

    def __call__(self, rows: Rows) -> jax.Array:
        return self.x_RLD[...]


class Integral(NamedTuple):
    value_RL: np.ndarray  # what each token adds to the score
    completeness: Completeness


@jax.jit
def embed(encoder: TextEncoder, rows: Rows) -> jax.Array:
    """What the embedding layer gives, of shape (R, L, D)."""
    return encoder.backbone.embeddings(rows)


def encode_embedded(encoder: TextEncoder, x_RLD: jax.Array, rows: Rows) -> jax.Array:
    """The vectors of all slots, from embeddings."""
    backbone = nnx.clone(encoder.backbone)
    backbone.embeddings = Given(x_RLD)
    return encoder.with_backbone(backbone)(rows)


def integrate(
    score: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    x_RLD: jax.Array,
    masked_RLD: jax.Array,
    steps_of: Sequence[int] = STEPS,
) -> Integral:
    """The integral of the score's gradient along the path, times the path.

    Args:
        score: embeddings → (score, its gradient).
        steps_of: numbers of steps, the first of which that is complete is taken.
    """
    path_RLD = x_RLD - masked_RLD
    difference = float(score(x_RLD)[0]) - float(score(masked_RLD)[0])
    best: Integral | None = None
    for steps in steps_of:
        node_N, weight_N = np.polynomial.legendre.leggauss(steps)
        value_RL = np.zeros(x_RLD.shape[:2])
        for node, weight in zip((node_N + 1) / 2, weight_N / 2, strict=True):
            gradient_RLD = score(masked_RLD + jnp.asarray(node, x_RLD.dtype) * path_RLD)[1]
            value_RL += weight * np.asarray((gradient_RLD * path_RLD).astype(jnp.float32).sum(-1), np.float64)
        error = abs(value_RL.sum() - difference) / max(abs(difference), 1e-12)
        found = Integral(value_RL, Completeness(difference, float(value_RL.sum()), float(error), steps))
        if best is None or error < best.completeness.error:
            best = found
        if error <= TOLERANCE:
            break
    assert best is not None
    return best
