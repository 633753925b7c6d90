"""From token states to a vector of each text."""

from enum import Enum

import jax
import jax.numpy as jnp

from cold_jax.text.packing import Rows


class Pooling(Enum):
    """How the states of a text's tokens become one vector.

    weighted_mean weighs a token by its position, counted from 1: in a decoder the later tokens have seen more (SGPT: Muennighoff 2022,
    arXiv 2202.08904, equation 2). mean_sqrt_len is the sum over the root of the number of tokens.
    """

    auto = "auto"  # a checkpoint's own, mean where it names none; not for `pool`
    mean = "mean"
    cls = "cls"  # the first token's state
    last = "last"
    weighted_mean = "weighted_mean"
    max = "max"
    mean_sqrt_len = "mean_sqrt_len"


def pool(x_RLD: jax.Array, rows: Rows, pooling: Pooling, texts_per_row: int, normalize: bool) -> jax.Array:
    """float32 vectors of shape (R·S, D); those of empty slots are zeros.

    Sums are products with 0 and 1, not scatters: the same bits on every run.

    Args:
      normalize: to unit length.
    """
    segment_RL, position_RL = jnp.asarray(rows.segment_RL), jnp.asarray(rows.position_RL)
    segment_RL = jnp.where(jnp.asarray(rows.prompt_RL) > 0, 0, segment_RL)  # tokens that pooling leaves out
    member_RSL = segment_RL[:, None, :] == jnp.arange(1, texts_per_row + 1, dtype=jnp.int32)[None, :, None]
    used_T = member_RSL.any(-1).reshape(-1, 1)
    x_RLD = x_RLD.astype(jnp.float32)
    if pooling is Pooling.max:
        largest_RSD = jnp.where(member_RSL[..., None], x_RLD[:, None], -jnp.inf).max(2)
        vector_TD = jnp.where(used_T, largest_RSD.reshape(-1, x_RLD.shape[-1]), 0)
    else:
        weight_RL = {
            Pooling.mean: lambda: jnp.ones_like(segment_RL),
            Pooling.mean_sqrt_len: lambda: jnp.ones_like(segment_RL),
            Pooling.cls: lambda: segment_RL != jnp.pad(segment_RL[:, :-1], ((0, 0), (1, 0))),
            Pooling.last: lambda: segment_RL != jnp.pad(segment_RL[:, 1:], ((0, 0), (0, 1))),
            Pooling.weighted_mean: lambda: position_RL + 1,
        }[pooling]()
        weight_RSL = member_RSL.astype(jnp.float32) * weight_RL.astype(jnp.float32)[:, None, :]
        sum_RSD = jnp.einsum("rsl,rld->rsd", weight_RSL, x_RLD, precision=jax.lax.Precision.HIGHEST)
        vector_TD = sum_RSD.reshape(-1, x_RLD.shape[-1])
        if not normalize:  # else the divisor cancels
            total_T = jnp.maximum(weight_RSL.sum(-1).reshape(-1, 1), 1)
            vector_TD = vector_TD / (jnp.sqrt(total_T) if pooling is Pooling.mean_sqrt_len else total_T)
    return unit_vectors(vector_TD, used_T) if normalize else vector_TD


def used_slots(rows: Rows, texts_per_row: int) -> jax.Array:
    """Of shape (R·S, 1): whether a slot holds a text."""
    slot_S = jnp.arange(1, texts_per_row + 1, dtype=jnp.int32)
    return (jnp.asarray(rows.segment_RL)[:, None, :] == slot_S[None, :, None]).any(-1).reshape(-1, 1)


def unit_vectors(vector_TD: jax.Array, used_T: jax.Array) -> jax.Array:
    """The vectors over their length, and zeros where a slot is not used."""
    square_T = jnp.where(used_T, jnp.sum(vector_TD**2, -1, keepdims=True), 1)  # 0 has no square root's gradient
    return jnp.where(used_T, vector_TD / jnp.sqrt(square_T), 0)
