"""A model's score of one user and one item, as a function of the vectors of their texts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cold_jax.models.base import Partition


class Inputs(NamedTuple):
    """Of one score. H is the number of items of the history, padded to a power of two."""

    profile_D: jax.Array
    history_HD: jax.Array
    item_D: jax.Array
    keep_H: jax.Array  # 1: the item adds to the score, 0: it does not


class Places(NamedTuple):
    """Which items the inputs are of."""

    history_H: jax.Array  # integer ids; 0 in the padding
    weight_H: jax.Array  # 1, in the padding 0
    item: jax.Array


def places_of(history: Sequence[int], item: int) -> Places:
    """The history newest first."""
    H = 1 << max(len(history) - 1, 0).bit_length()
    weight_H = np.arange(H) < len(history)
    return Places(
        jnp.asarray(np.resize([*history, *[0] * (H - len(history))], H)), jnp.asarray(weight_H, jnp.float32), jnp.asarray(item)
    )


def score_inputs(partition: Partition, places: Places, inputs: Inputs, vector_ID: jax.Array | None) -> jax.Array:
    """The score, without the user's bias; differentiable in the inputs.

    `keep_H` takes an item's source vector out of the sum and leaves the number of items, by which the sum is normalised, as it is.

    Args:
        vector_ID: of all items, for models that read a history in its order; None for others.
    """
    model: Any = partition.model()
    profile_1D = inputs.profile_D[None]
    if model.history:
        assert vector_ID is not None
        vector_ID = vector_ID.at[places.history_H].set(
            jnp.where(places.weight_H[:, None] > 0, inputs.history_HD, vector_ID[places.history_H])
        )
        vector_ID = vector_ID.at[places.item].set(inputs.item_D)
        recent_1K = jnp.where(places.weight_H * inputs.keep_H > 0, places.history_H, -1)[None, : model.history]
        encodings = model.items(vector_ID, jnp.arange(len(vector_ID)))
        return model.scores(profile_1D, recent_1K, encodings, places.item[None])[0, 0]
    item_J = jnp.concatenate([places.history_H, places.item[None]])
    vector_JD = jnp.concatenate([inputs.history_HD, inputs.item_D[None]])
    source_JV, target_JV, bias_J = model.items(vector_JD, item_J)
    keep_J = jnp.concatenate([inputs.keep_H, jnp.zeros(1)])
    history_1J = jnp.concatenate([places.weight_H, jnp.zeros(1)])[None]
    last = jnp.asarray([len(item_J) - 1])
    return model.scores(profile_1D, history_1J, (source_JV * keep_J[:, None], target_JV, bias_J), last)[0, 0]
