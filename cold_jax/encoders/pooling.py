"""From token states to a vector of each text."""

from enum import Enum

import jax
import jax.numpy as jnp

from cold_jax.text.packing import Rows


class Pooling(Enum):
    """What of a text's token states is its vector.

    weighted_mean weighs a token by its place, counted from 1: of a decoder the later tokens know more (SGPT: Muennighoff 2022,
    arXiv 2202.08904, equation 2).
    """

    mean = "mean"
    cls = "cls"  # the first token's state
    last = "last"
    weighted_mean = "weighted_mean"


def pool(x_RLD: jax.Array, rows: Rows, pooling: Pooling, texts_per_row: int) -> jax.Array:
    """The unit vectors of token states. Sums are products with 0 and 1, not scatters: the same bits on every run."""
    segment_RL, position_RL = jnp.asarray(rows.segment_RL), jnp.asarray(rows.position_RL)
    member_RSL = segment_RL[:, None, :] == jnp.arange(1, texts_per_row + 1, dtype=jnp.int32)[None, :, None]
    weight_RL = {
        Pooling.mean: lambda: jnp.ones_like(segment_RL),
        Pooling.cls: lambda: position_RL == 0,
        Pooling.last: lambda: segment_RL != jnp.pad(segment_RL[:, 1:], ((0, 0), (0, 1))),
        Pooling.weighted_mean: lambda: position_RL + 1,
    }[pooling]()
    weight_RSL = member_RSL.astype(jnp.float32) * weight_RL.astype(jnp.float32)[:, None, :]
    # the mean's divisor falls out of the unit length
    sum_RSD = jnp.einsum("rsl,rld->rsd", weight_RSL, x_RLD.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
    sum_TD = sum_RSD.reshape(-1, x_RLD.shape[-1])
    used_T = member_RSL.any(-1).reshape(-1, 1)
    square_T = jnp.where(used_T, jnp.sum(sum_TD**2, -1, keepdims=True), 1)  # 0 has no square root's gradient
    return jnp.where(used_T, sum_TD / jnp.sqrt(square_T), 0)
