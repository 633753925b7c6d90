"""The tables of a run hold what its metrics were made of."""

import numpy as np
import pytest
from rankings import CONFIG, ITEM_COLD, distinct_scores, make_dataset, table_scorer

from cold_jax.evaluation import tables
from cold_jax.evaluation.evaluate import Evaluation


def test_a_runs_tables_are_enough_to_recompute_its_metrics():
    dataset = make_dataset()
    split = ITEM_COLD(dataset)
    ours = CONFIG(table_scorer(distinct_scores()), split.test)
    ranked = tables.rankings_table(ours, dataset.users, dataset.items)
    wanted: dict[str, set[str]] = {}
    trained = {(dataset.user_N[n], dataset.item_N[n]) for n in split.train_N}
    for u, i, part in zip(dataset.user_N, dataset.item_N, split.part_N, strict=True):
        if part == "cold_test" and (u, i) not in trained:
            wanted.setdefault(f"u{u}", set()).add(f"i{i}")
    hits = dict.fromkeys(wanted, 0)
    for part, user, rank, item in zip(ranked.part, ranked.user_id, ranked.rank, ranked.item_id, strict=True):
        assert 1 <= rank <= 3
        if part == "cold":
            hits[user] += rank <= 2 and item in wanted[user]
    recall = {user: hits[user] / len(items) for user, items in wanted.items()}
    assert ours.mean()["cold"]["recall@2"] == pytest.approx(np.mean(list(recall.values())))

    table = tables.per_user_table({"ours": ours}, dataset.users)
    rows = list(zip(*table[:4], table.value, strict=True))
    assert {row[2]: row[4] for row in rows if row[0] == "cold" and row[3] == "recall@2"} == pytest.approx(recall)
    assert {row[1] for row in rows} == {"ours"}


def test_a_metric_lists_the_users_that_have_it():
    users = make_dataset().users
    values = {"recall@2": np.array([0.1, 0.2, 0.3]), "auc": np.array([0.4, 0.5])}
    ours = Evaluation({"warm": np.array([4, 7, 9])}, {"warm": values}, {"warm": {}}, {}, {"warm": {"auc": np.array([7])}})
    table = tables.per_user_table({"ours": ours}, users)
    assert list(zip(table.user_id, table.metric, table.value, strict=True)) == [
        ("u4", "recall@2", 0.1), ("u7", "recall@2", 0.2), ("u9", "recall@2", 0.3), ("u4", "auc", 0.4), ("u9", "auc", 0.5),
    ]  # fmt: skip


def test_without_rankings_the_table_is_empty():
    table = tables.rankings_table(Evaluation(), make_dataset().users, make_dataset().items)
    assert (len(table.part), len(table.score)) == (0, 0)
