"""Which of two items comes first depends on their ids alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rankings import ITEM_COLD, USER_COLD, make_dataset
from scipy import stats

from cold_jax.splits.assemble import train_view
from cold_jax.splits.entities import BothCold, Warm
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.next_item import NextItem
from cold_jax.splits.sampled import SampledCandidates
from cold_jax.splits.ties import tie_break

ids = st.lists(st.text(max_size=5), unique=True, min_size=1, max_size=20)


@given(ids, st.randoms(use_true_random=False))
def test_rows_and_other_items_change_no_pair(item_ids, random):
    order = sorted(item_ids, key=dict(zip(item_ids, tie_break(item_ids).tolist(), strict=True)).__getitem__)
    assert sorted(tie_break(item_ids).tolist()) == list(range(len(item_ids)))
    fewer = random.sample(item_ids, random.randint(1, len(item_ids)))
    place = dict(zip(fewer, tie_break(fewer).tolist(), strict=True))
    assert sorted(fewer, key=place.__getitem__) == [item for item in order if item in place]


def test_the_order_is_the_one_of_all_runs_so_far():
    """Another hash would rank ties in another way than in every results.json that is compared with."""
    assert tie_break(list("abcdefgh")).tolist() == [6, 7, 5, 1, 2, 4, 3, 0]


def test_the_order_is_as_good_as_random():
    position_I = tie_break([str(n) for n in range(2000)])
    assert abs(stats.spearmanr(np.arange(2000), position_I).statistic) < 4 / 2000**0.5
    assert stats.kstest(np.diff(position_I) > 0, stats.bernoulli(0.5).cdf).statistic < 0.6


@pytest.mark.parametrize(
    "split",
    [
        USER_COLD,
        ITEM_COLD,
        BothCold(seed=0, cold_fraction=0.3, validation_fraction=0.5, holdout_fraction=0.2, both_support=2),
        Warm(seed=1, holdout_fraction=0.2, threshold=None, ranked=True),
        NextItem(exclude_seen=True, cold_window=None),
        SampledCandidates(seed=1, users=6, validation_users=2, positives=2, candidates=5, support=[0]),
    ],
    ids=lambda split: type(split).__name__,
)
def test_every_task_of_every_split_and_fold_has_the_order(split):
    dataset = make_dataset()
    made, expected_I = split(dataset), tie_break(dataset.items.ids)
    folds = pseudo_cold_folds(train_view(dataset, made, {}, {}), "users", 2, 0, [0, 1])
    folds_of_items = pseudo_cold_folds(train_view(dataset, made, {}, {}), "items", 2, 0, [])
    for tasks in (made.test, made.validation, *(tasks for of in (folds, folds_of_items) for _, tasks in of)):
        for name, task in tasks.items():
            np.testing.assert_array_equal(task.tie_break_I, expected_I, err_msg=name)
