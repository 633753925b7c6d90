"""Hard negatives: items that θ takes for the target, whose user did not take them.

As in sentence_transformers.util.mine_hard_negatives with `range_min`, `range_max` and sampling_strategy="random", around the target: its
very nearest neighbours are left out, as they are often the same thing in another size, and no true negatives.
"""

import numpy as np
from scipy import sparse

from cold_jax.data.matrices import normalize_rows
from cold_jax.errors import ConfigError
from cold_jax.splits.tasks import TrainView

ROWS = 1024  # items whose similarities are in memory at once


def nearest_items(train: TrainView, among_I: np.ndarray, first: int, last: int, share: str | None) -> np.ndarray:
    """near_IK: for each item those of `among_I` that are next to it by θ's cosine, less itself, from number `first` to before `last`.

    -1 where there are fewer. share: an attribute of which a neighbour has a value in common with the item. Raises ConfigError where items have none
    of that name.
    """
    vector_ID = next(iter(train.item_vectors.values()))
    unit_ID = normalize_rows(vector_ID)
    if share is not None and share not in train.items.indicators:
        known = ", ".join(train.items.indicators) or "none"
        raise ConfigError(f"batching.hard_share: items have no attribute {share!r}; they have {known}")
    member_IF = None if share is None else sparse.csr_array(train.items.indicators[share], dtype=np.float32)
    last = min(last, len(among_I))
    near_IK = np.full((len(unit_ID), max(last - first, 0)), -1)
    for start in range(0, len(unit_ID), ROWS):
        own = np.arange(start, min(start + ROWS, len(unit_ID)))
        cosine_BI = unit_ID[own] @ unit_ID[among_I].T
        if member_IF is not None:
            cosine_BI[(member_IF[own] @ member_IF[among_I].T).toarray() == 0] = -np.inf
        cosine_BI[own[:, None] == among_I[None]] = -np.inf
        top_BK = np.argpartition(-cosine_BI, last - 1, axis=1)[:, :last]
        order_BK = np.lexsort((top_BK, -np.take_along_axis(cosine_BI, top_BK, 1)))[:, first:]
        top_BK = np.take_along_axis(top_BK, order_BK, 1)
        near_IK[own] = np.where(np.isfinite(np.take_along_axis(cosine_BI, top_BK, 1)), among_I[top_BK], -1)
    return near_IK


def draw_hard_negatives(
    near_IK: np.ndarray, target_B: np.ndarray, taken_BK: np.ndarray, count: int, draw: np.random.Generator
) -> np.ndarray:
    """At most `count` neighbours of each target, drawn at random from those that its user did not take; all in one array."""
    near_BK = near_IK[target_B]
    place_BK = np.where((near_BK < 0) | taken_BK, np.inf, draw.random(near_BK.shape))
    first_BK = np.argsort(place_BK, axis=1)[:, :count]
    drawn_BK = np.take_along_axis(near_BK, first_BK, 1)
    return drawn_BK[np.isfinite(np.take_along_axis(place_BK, first_BK, 1))]
