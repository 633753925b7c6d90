"""Support tasks and ranking tasks, by hand."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from split_data import USER_COLD, dataset_of, letters, make_dataset

from cold_jax.data.matrices import binary
from cold_jax.errors import DataError
from cold_jax.splits.tasks import ranking_task, support_tasks


def test_a_support_that_leaves_nothing_is_an_error():
    dataset = make_dataset()
    split = USER_COLD(dataset)
    longest = max(Counter(dataset.user_N[split.part_N == "cold_test"].tolist()).values())
    with pytest.raises(
        DataError, match=rf"^split.support: 500 is larger than the history of every cold test user \(longest {longest}\)"
    ):
        dataclasses.replace(USER_COLD, support=[0, 500])(dataset)
    with pytest.raises(DataError, match=rf"^split.support: {longest} is all of the history of every cold test user"):
        dataclasses.replace(USER_COLD, support=[longest])(dataset)


def test_a_support_is_the_earliest_in_time_then_in_the_file():
    dataset = dataset_of([("t", "d", 1, 9), ("t", "b", 1, 2), ("t", "a", 1, 2), ("t", "c", 1, 7), ("u", "a", 1, 5)])
    tasks = support_tasks(dataset.user_N, dataset.item_N, dataset.time_N, (2, 4), [0, 1, 2, 3], "user")
    assert {name: letters(dataset, task) for name, task in tasks.items()} == {
        "support_0": {"t": ("", "abcd"), "u": ("", "a")},
        "support_1": {"t": ("b", "acd")},  # b and a have one time, and b's row is the first
        "support_2": {"t": ("ab", "cd")},
        "support_3": {"t": ("abc", "d")},
    }


def test_no_interaction_of_a_cold_user_is_named():
    with pytest.raises(DataError, match=r"split: there is no interaction of any cold test user; make more of them cold"):
        support_tasks(np.zeros(0, int), np.zeros(0, int), np.zeros(0), (2, 4), [0], "cold test user")


def test_a_target_in_the_history_is_none():
    history_UI, target_UI = (
        binary(np.array([0, 1]), np.array([0, 2]), (3, 4)),
        binary(np.array([0, 0, 1]), np.array([0, 3, 2]), (3, 4)),
    )
    task = ranking_task("hand", history_UI * 5, target_UI, np.arange(4))  # the history has places, not ones
    assert task.user_U.tolist() == [0]
    assert task.target_UI.toarray().tolist() == [[0, 0, 0, 1]]
    assert task.history_UI.toarray().tolist() == [[5, 0, 0, 0]]


def test_a_task_of_some_users_has_their_rows():
    sampled_UI = binary(np.array([0, 1]), np.array([1, 2]), (2, 4))
    task = ranking_task(
        "hand", binary(np.array([0]), np.array([0]), (2, 4)), binary(np.array([0, 1]), np.array([1, 2]), (2, 4)), np.arange(4)
    )
    task = dataclasses.replace(task, sampled_candidate_UI=sampled_UI)
    for rows in (np.array([1]), np.array([False, True])):
        one = task.of(rows)
        assert one.user_U.tolist() == [1]
        assert one.target_UI.toarray().tolist() == [[0, 0, 1, 0]]
        assert one.history_UI.nnz == 0
        assert one.sampled_candidate_UI is not None
        assert one.sampled_candidate_UI.toarray().tolist() == [[0, 0, 1, 0]]
