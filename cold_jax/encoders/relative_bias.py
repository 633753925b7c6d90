"""Attention scores by distance: a learned bias for each bucket of distances and each head (T5: Raffel et al. 2019, arXiv 1910.10683)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax.encoders.layers import relative_position
from cold_jax.text.packing import Rows


def relative_bias(table: nnx.Embed, rows: Rows, farthest: int) -> jax.Array:
    """What is added to the scores, of shape (R, H, L, L)."""
    L = np.shape(rows.position_RL)[1]
    bucket = jnp.asarray(buckets(np.arange(-L, L + 1), table.num_embeddings, farthest))
    bias_RLLH = table(bucket[relative_position(rows) + L])
    return jnp.moveaxis(bias_RLLH, -1, 1)


def buckets(ahead: np.ndarray, count: int, farthest: int) -> np.ndarray:
    """The bucket of each distance: half of them for tokens ahead; of each half, half exact, the rest even in the logarithm."""
    half = count // 2
    exact, distance = half // 2, np.abs(ahead)
    far = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / np.float32(np.log(farthest / exact)) * (half - exact)
    within = np.where(distance < exact, distance, np.minimum(exact + far.astype(np.int32), half - 1))
    return (within + half * (ahead > 0)).astype(np.int32)
