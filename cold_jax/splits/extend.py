"""The same training and the same tasks with more items after those of the data: items that nobody has taken yet."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Entities
from cold_jax.splits.tasks import EvalTask, TrainView


def join_entities(first: Entities, second: Entities) -> Entities:
    """Those of `first`, then those of `second`, which have the same texts and attributes."""
    texts = {name: (*own, *second.texts[name]) for name, own in first.texts.items()}
    indicators = {name: np.concatenate([own, second.indicators[name]]) for name, own in first.indicators.items()}
    return replace(first, ids=(*first.ids, *second.ids), texts=texts, indicators=indicators)


def extend_train(train: TrainView, items: Entities, item_vectors: Mapping[str, np.ndarray]) -> TrainView:
    """The view with all of `items`, of which those beyond the view's own are cold."""
    interaction_UI = _widen(train.interaction_UI, len(items))
    warm_I = np.pad(train.warm_I, (0, len(items) - len(train.warm_I)))
    return replace(train, interaction_UI=interaction_UI, warm_I=warm_I, items=items, item_vectors=item_vectors)


def extend_task(task: EvalTask, count: int) -> EvalTask:
    """The task among `count` items, of which its own are the first; its candidates stay."""
    matrices = {
        name: None if (matrix := getattr(task, name)) is None else _widen(matrix, count)
        for name in ("history_UI", "target_UI", "liked_history_NI", "sampled_candidate_UI")
    }
    order_I = task.tie_break_I
    tie_break_I = None if order_I is None else np.concatenate([order_I, np.arange(len(order_I), count)])
    return replace(task, tie_break_I=tie_break_I, **matrices)


def _widen(matrix: sparse.csr_array, columns: int) -> sparse.csr_array:
    return sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(len(matrix.indptr) - 1, columns))
