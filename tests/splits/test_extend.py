"""More items: matrices widen, nothing else changes."""

import numpy as np
import small
from scipy import sparse

from cold_jax.data.dataset import Entities
from cold_jax.splits.extend import extend_task, extend_train, join_entities
from cold_jax.splits.tasks import ranking_task


def test_new_items_are_cold_and_last() -> None:
    train = small.make_train([[1], [2], [3]], [[0], [1], [0]])
    more = Entities(("x", "y"), {}, {"genre": np.array([[1], [1]])})
    joined = join_entities(train.items, more)
    wide = extend_train(train, joined, {})
    assert wide.items.ids == ("0", "1", "2", "x", "y")
    assert wide.items.indicators["genre"].ravel().tolist() == [0, 1, 0, 1, 1]
    assert wide.warm_I.tolist() == [True, True, False, False, False]
    assert np.array_equal(wide.interaction_UI.toarray(), np.pad(train.interaction_UI.toarray(), ((0, 0), (0, 2))))


def test_a_task_keeps_its_candidates() -> None:
    one_UI = sparse.csr_array(np.array([[1.0, 0, 0]], np.float32))
    task = ranking_task("x", one_UI, sparse.csr_array(np.array([[0, 0, 1.0]], np.float32)), np.arange(3))
    wide = extend_task(task, 5)
    assert wide.candidate_I.tolist() == [0, 1, 2]
    assert (wide.history_UI.shape, wide.target_UI.shape) == ((1, 5), (1, 5))
    assert wide.history_UI.toarray().tolist() == [[1, 0, 0, 0, 0]]
    assert wide.sampled_candidate_UI is None
