"""Targets and sampled candidates, user by user in Python."""

import dataclasses

import numpy as np
import pytest
from split_data import make_dataset

from cold_jax.data.matrices import order
from cold_jax.errors import DataError
from cold_jax.splits.assemble import split_digest
from cold_jax.splits.sampled import SampledCandidates

SAMPLED = SampledCandidates(seed=42, users=20, validation_users=10, positives=3, candidates=12, support=[0, 2])


def test_targets_are_the_newest_among_items_without_interaction():
    dataset = make_dataset()
    split = SAMPLED(dataset)
    test = split.test
    assert [*test] == ["support_0", "support_2"]
    position_N = order(dataset.user_N, dataset.time_N)
    for count, task in [(20, task) for task in test.values()] + [(10, task) for task in split.validation.values()]:
        assert len(task.user_U) == count
        assert not split.warm_U[task.user_U].any()
        assert task.sampled_candidate_UI is not None
        for row, user in enumerate(task.user_U):
            of_N = np.flatnonzero(dataset.user_N == user)
            own_I = dataset.item_N[of_N[np.argsort(position_N[of_N])]]
            targets, sampled = set(task.target_UI[[row]].indices), set(task.sampled_candidate_UI[[row]].indices)
            assert targets == set(own_I[-3:])
            assert len(sampled) == 12
            assert targets <= sampled
            assert not (sampled - targets) & set(own_I)
            shown = set(own_I[-5:-3]) - targets if task.name == "support_2" else set()
            assert set(task.history_UI[[row]].indices) == shown
    assert set(dataset.user_N[split.train_N]) | {*test["support_0"].user_U, *split.validation["support_0"].user_U} == set(
        dataset.user_N
    )
    again, other = SAMPLED(dataset), dataclasses.replace(SAMPLED, seed=43)(dataset)
    assert split_digest(again) == split_digest(split) != split_digest(other)


def test_no_validation_users_no_validation():
    assert dataclasses.replace(SAMPLED, validation_users=0)(make_dataset()).validation == {}


def test_sampled_candidates_need_users_and_items():
    dataset = make_dataset()
    with pytest.raises(
        DataError, match=r"split\.users: 90 and split\.validation_users 10, but 59 users have the 3 targets and 2 earlier"
    ):
        dataclasses.replace(SAMPLED, users=90)(dataset)
    with pytest.raises(DataError, match="training is empty"):  # there are just enough, and none is left to train on
        dataclasses.replace(SAMPLED, users=49)(dataset)
    with pytest.raises(DataError, match=r"split\.candidates: 44, but user 'u[0-9]+' has interactions with all but [0-9]+ items"):
        dataclasses.replace(SAMPLED, candidates=44)(dataset)
    with pytest.raises(ValueError, match=r"split\.positives: 12 must be 1 or more, and less than split\.candidates 12"):
        dataclasses.replace(SAMPLED, positives=12)
    for wrong in ({"users": 0}, {"validation_users": -1}):
        with pytest.raises(ValueError, match=rf"split\.{next(iter(wrong))}: "):
            dataclasses.replace(SAMPLED, **wrong)
