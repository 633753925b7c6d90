"""Rows and their labels of hand-made splits, and likes by a loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_data import candidates, dataset_of, letters

from cold_jax.errors import DataError
from cold_jax.splits.assemble import assemble
from cold_jax.splits.labels import Cold
from cold_jax.splits.pointwise import liked_history
from cold_jax.splits.tasks import TaskKind


def test_rows_are_labelled_by_the_threshold():
    rows = [("u", "a", 5, 0), ("u", "b", 4, 0), ("u", "c", 3, 0), ("v", "a", 5, 0), ("v", "c", 2, 0), ("v", "b", 1, 0)]
    dataset = dataset_of(rows)
    part_N = np.array(["train", "warm_test", "warm_test", "train", "warm_test", "warm_val"])
    split = assemble(dataset, part_N, Cold.none, threshold=4)
    rows_task = split.test["all"]
    assert rows_task.kind is TaskKind.pointwise
    assert [(dataset.users.ids[u], dataset.items.ids[i]) for u, i in zip(rows_task.user_N, rows_task.item_N, strict=True)] == [
        ("u", "b"), ("u", "c"), ("v", "c"),
    ]  # fmt: skip
    assert rows_task.value_N.tolist() == [1, 0, 0]
    assert letters(dataset, rows_task) == {"u": ("a", ""), "v": ("a", "")}
    assert candidates(dataset, rows_task) == "bc"
    assert [*assemble(dataset, part_N, Cold.none, threshold=6).test] == ["warm"]  # no user has both labels
    assert [*assemble(dataset, part_N, Cold.none).test] == ["warm"]


def test_rows_alone_are_warm_and_cold_and_have_what_was_liked_before():
    rows = [
        ("u", "a", 5, 0), ("u", "b", 1, 1), ("u", "c", 5, 2), ("u", "a", 5, 3), ("u", "d", 1, 4),
        ("v", "a", 5, 2), ("v", "b", 2, 1), ("w", "a", 1, 0),
    ]  # fmt: skip
    dataset = dataset_of(rows)
    part_N = np.array(["train", "warm_val", "warm_test", "warm_test", "warm_test", "warm_test", "warm_test", "train"])
    test = assemble(dataset, part_N, Cold.none, threshold=4, ranked=False, window=2).test
    assert [*test] == ["all", "cold"]  # in `warm` is one row alone, u with a
    assert [dataset.items.ids[i] for i in test["cold"].item_N] == ["c", "d", "a", "b"]
    liked_NI = test["all"].liked_history_NI
    assert liked_NI is not None
    # before u's c: a; before their second a: c, a; before d: a again, then c; v had liked nothing before their b, and nothing but the b's row is before their a
    assert liked_NI.toarray().astype(int).tolist() == [[1, 0, 0, 0], [2, 0, 1, 0], [1, 0, 2, 0], [0] * 4, [0] * 4]
    assert assemble(dataset, part_N, Cold.none, threshold=4, ranked=False).test["all"].liked_history_NI is None
    with pytest.raises(DataError, match=r"split\.threshold: with 6 no user has test rows of both labels"):
        assemble(dataset, part_N, Cold.none, threshold=6, ranked=False)


def test_rows_of_validation_have_the_labels_of_the_threshold():
    rows = [
        ("u", item, value, time)
        for time, (item, value) in enumerate([("a", 5), ("b", 1), ("c", 4), ("d", 3), ("e", 2), ("f", 5)])
    ]
    part_N = np.array(["train", "warm_val", "warm_val", "warm_val", "warm_test", "warm_test"])
    split = assemble(dataset_of(rows), part_N, Cold.none, threshold=4, ranked=False)
    assert (split.validation["all"].value_N.tolist(), split.test["all"].value_N.tolist()) == ([0, 1, 0], [0, 1])


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 4),
)
def test_liked_before_is_what_a_loop_finds(rows: list[tuple[int, int, int, bool]], window: int):
    user_N, item_N, time_N, liked_N = (np.array(column) for column in zip(*rows, strict=True))
    index_N = np.arange(len(rows))[::2]
    found_NI = liked_history((user_N, item_N, time_N, liked_N), index_N, window, 4).toarray()
    for row, n in enumerate(index_N):
        before = sorted(
            (time_N[m], m) for m in range(len(rows)) if user_N[m] == user_N[n] and (time_N[m], m) < (time_N[n], n) and liked_N[m]
        )
        expected = [0] * 4
        for place, (_, m) in enumerate(reversed(before), 1):
            if place <= window and not expected[item_N[m]]:
                expected[item_N[m]] = place
        assert found_NI[row].tolist() == expected
