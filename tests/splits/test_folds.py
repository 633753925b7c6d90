"""Folds by what must hold of them."""

import numpy as np
import pytest
from split_data import dataset_of

from cold_jax.errors import DataError
from cold_jax.splits.assemble import train_view
from cold_jax.splits.entities import Warm
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.tasks import TrainView


@pytest.fixture
def train() -> TrainView:
    generator = np.random.default_rng(0)
    count = 400
    dataset = dataset_of(
        [(f"{u:02}", f"{i:02}", 1, t) for u, i, t in zip(*(generator.integers(0, 30, count) for _ in range(3)), strict=True)]
    )
    split = Warm(seed=1, holdout_fraction=0.2, threshold=None, ranked=True)(dataset)
    return train_view(dataset, split, {}, {})


@pytest.mark.parametrize("axis", ["items", "users"])
def test_folds_hide_every_warm_entity_once(axis: str, train: TrainView):
    seen, all_UI = [], train.interaction_UI.toarray()
    for rest, tasks in pseudo_cold_folds(train, axis, 4, seed=3, supports=[0, 2]):
        rest_UI = rest.interaction_UI.toarray()
        hidden_UI = all_UI - rest_UI
        assert hidden_UI.min() == 0
        hidden = np.flatnonzero(hidden_UI.any(0 if axis == "items" else 1))
        seen.extend(hidden)
        left_UI = rest_UI[:, hidden] if axis == "items" else rest_UI[hidden]
        assert not left_UI.any()
        np.testing.assert_array_equal(rest.warm_U, rest_UI.any(1))
        np.testing.assert_array_equal(rest.warm_I, rest_UI.any(0))
        assert set(zip(rest.user_N, rest.item_N, strict=True)) == set(zip(*rest_UI.nonzero(), strict=True))
        for task in tasks.values():
            if axis == "items":
                np.testing.assert_array_equal(task.candidate_I, hidden)
                np.testing.assert_array_equal(task.history_UI.toarray(), rest_UI[task.user_U])
                np.testing.assert_array_equal(task.target_UI.toarray(), hidden_UI[task.user_U])
            else:
                assert set(task.user_U) <= set(hidden)
                np.testing.assert_array_equal((task.history_UI + task.target_UI).toarray(), hidden_UI[task.user_U])
                k = int(task.name.removeprefix("support_"))
                for row, user in enumerate(task.user_U):
                    first = train.item_N[train.user_N == user][:k]
                    assert set(task.history_UI[[row]].indices) == set(first)
    warm = train.warm_I if axis == "items" else train.warm_U
    assert sorted(seen) == np.flatnonzero(warm).tolist()


def test_folds_need_two_and_enough_entities(train: TrainView):
    for count in (1, 31):
        with pytest.raises(DataError, match=f"{count} folds of 30 warm items"):
            next(pseudo_cold_folds(train, "items", count, seed=3, supports=[]))
