"""A sample has the right size, is the same in every task, and leaves all else alone."""

from dataclasses import replace

import numpy as np
import pytest
from rankings import CONFIG, USER_COLD, distinct_scores, make_dataset, table_scorer

from cold_jax.evaluation.protocol import describe_protocol
from cold_jax.evaluation.sampling import sample_tasks
from cold_jax.splits.entities import Warm


def test_a_sample_is_a_part_of_the_users_with_all_that_is_theirs():
    tasks = USER_COLD(make_dataset()).test
    sampled = sample_tasks(tasks, 5)
    assert {name: len(task.user_U) for name, task in sampled.items()} == {"warm": 5, "support_0": 5, "support_3": 5}
    assert sampled["support_0"].user_U.tolist() == sampled["support_3"].user_U.tolist()  # all of them are in both
    for name, task in sampled.items():
        row_U = np.searchsorted(tasks[name].user_U, task.user_U)
        assert tasks[name].user_U[row_U].tolist() == task.user_U.tolist()
        for of in ("history_UI", "target_UI"):
            assert (getattr(task, of) != getattr(tasks[name], of)[row_U]).nnz == 0


def test_no_number_and_a_large_one_keep_everybody():
    tasks = USER_COLD(make_dataset()).test
    assert sample_tasks(tasks, None) == tasks
    assert {name: len(task.user_U) for name, task in sample_tasks(tasks, 999).items()} == {
        name: len(task.user_U) for name, task in tasks.items()
    }


def test_a_sample_is_random_and_not_the_first():
    task = USER_COLD(make_dataset()).test["warm"]
    assert sample_tasks({"warm": task}, 8)["warm"].user_U.tolist() != task.user_U[:8].tolist()


def test_pointwise_tasks_keep_their_rows():
    tasks = Warm(seed=1, holdout_fraction=0.5, threshold=3, ranked=True)(make_dataset()).test
    assert sample_tasks(tasks, 3)["all"] is tasks["all"]
    assert len(sample_tasks(tasks, 3)["warm"].user_U) == 3


def test_figures_of_a_sample_are_those_of_its_users_and_the_protocol_says_so():
    split, config = USER_COLD(make_dataset()), replace(CONFIG, users=5)
    whole, sample = (one(table_scorer(distinct_scores()), split.test) for one in (CONFIG, config))
    drawn_U = np.isin(whole.users["warm"], sample.users["warm"])
    np.testing.assert_array_equal(sample.per_user["warm"]["mrr"], whole.per_user["warm"]["mrr"][drawn_U])
    protocol = describe_protocol(split, sample, {}, "mrr")["warm"]
    assert (protocol["users"], protocol["users_in_task"]) == (5, len(split.test["warm"].user_U))
    by_task = config.validate(table_scorer(distinct_scores()), split.validation)[1]
    means = config(table_scorer(distinct_scores()), split.validation).mean()
    assert by_task == pytest.approx({name: means[name]["recall@2"] for name in by_task})
