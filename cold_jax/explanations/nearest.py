"""Training items whose texts are most like an item's."""

from collections.abc import Sequence

import numpy as np

from cold_jax.data.dataset import Entities
from cold_jax.explanations.explanation import Neighbour


def nearest_items(
    items: Entities, unit_ID: np.ndarray, warm_I: np.ndarray, item: int, history: Sequence[int], count: int
) -> list[Neighbour]:
    """Items with training interactions, by the cosine of text vectors; not the item itself."""
    text_I = next(iter(items.texts.values()))
    cosine_I = np.where(warm_I, unit_ID @ unit_ID[item], -np.inf)
    cosine_I[item] = -np.inf
    best = [int(i) for i in np.argsort(-cosine_I, kind="stable")[:count] if np.isfinite(cosine_I[i])]
    return [Neighbour(items.ids[i], text_I[i], float(cosine_I[i]), i in set(history)) for i in best]
