"""Questions of hand-made splits, orders by sorting in Python, folds by what must hold of them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.matrices import order
from cold_jax.errors import DataError
from cold_jax.evaluation.ranking import rank_candidates
from cold_jax.splits.assemble import assemble, train_view
from cold_jax.splits.entities import Warm
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.labels import Cold
from cold_jax.splits.next_item import NextItem
from cold_jax.splits.pointwise import liked_history
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView


def dataset_of(rows: list[tuple[str, str, float, float]]) -> Dataset:
    """(user, item, value, time); ids are ordered by name."""
    users, items = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    user_N = np.array([users.index(row[0]) for row in rows], np.int32)
    item_N = np.array([items.index(row[1]) for row in rows], np.int32)
    value_N, time_N = np.array([row[2] for row in rows], np.float32), np.array([row[3] for row in rows])
    return Dataset("hand", user_N, item_N, value_N, time_N, Entities(tuple(users), {}, {}), Entities(tuple(items), {}, {}))


def asked(dataset: Dataset, part: EvalTask) -> dict[str, tuple[str, str]]:
    """user -> (items that he shows, items that he is asked for), as strings of one-letter ids."""

    def names(matrix_UI, row: int) -> str:
        return "".join(dataset.items.ids[i] for i in matrix_UI.indices[matrix_UI.indptr[row] : matrix_UI.indptr[row + 1]])

    return {dataset.users.ids[u]: (names(part.history_UI, row), names(part.target_UI, row)) for row, u in enumerate(part.user_U)}


def candidates(dataset: Dataset, part: EvalTask) -> str:
    return "".join(dataset.items.ids[i] for i in part.candidate_I)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_order_is_by_time_then_row(rows: list[tuple[int, int]]):
    position_N = order(np.array([u for u, _ in rows], int), np.array([t for _, t in rows], float))
    for n, (user, time) in enumerate(rows):
        assert position_N[n] == sum(1 for m, (u, t) in enumerate(rows) if u == user and (t, m) < (time, n))


def test_questions_about_cold_users():
    rows = [
        ("w", "a", 1, 0), ("w", "b", 1, 0), ("w", "c", 1, 0),
        ("v", "a", 1, 5), ("v", "b", 1, 3),
        ("t", "d", 1, 9), ("t", "b", 1, 2), ("t", "a", 1, 2), ("t", "b", 1, 7),  # b before a by their rows; b comes again
        ("s", "c", 1, 1),
    ]  # fmt: skip
    dataset = dataset_of(rows)
    labels = ["train", "train", "warm_test", "cold_val", "cold_val", *["cold_test"] * 5]
    split = assemble(dataset, np.array(labels), Cold.users, support=[0, 1])
    test = split.test
    assert [*test] == ["warm", "support_0", "support_1"]
    assert asked(dataset, test["warm"]) == {"w": ("ab", "c")}
    assert asked(dataset, test["support_0"]) == {"t": ("", "abd"), "s": ("", "c")}
    assert asked(dataset, test["support_1"]) == {"t": ("b", "ad")}  # s has nothing left
    assert {candidates(dataset, part) for part in test.values()} == {"abcd"}  # d, which nobody was trained on, too
    assert {name: asked(dataset, part) for name, part in split.validation.items()} == {
        "support_0": {"v": ("", "ab")},
        "support_1": {"v": ("b", "a")},
    }


def test_questions_about_cold_items():
    rows = [("u", "a", 1, 0), ("u", "b", 1, 0), ("u", "c", 1, 0), ("u", "x", 1, 0), ("u", "y", 1, 0),
            ("v", "a", 1, 0), ("v", "b", 1, 0), ("v", "y", 1, 0), ("v", "c", 1, 0), ("v", "a", 1, 0)]  # fmt: skip
    labels = ["train", "train", "warm_test", "cold_val", "cold_test", "train", "warm_val", "cold_test", "train", "warm_test"]
    dataset = dataset_of(rows)
    split = assemble(dataset, np.array(labels), Cold.items)
    assert {name: (asked(dataset, part), candidates(dataset, part)) for name, part in split.test.items()} == {
        "warm": ({"u": ("ab", "c")}, "abc"),  # v's second a is no question: he was trained on it
        "cold": ({"u": ("ab", "y"), "v": ("ac", "y")}, "xy"),  # items of validation are candidates too
        "overall": ({"u": ("ab", "cy"), "v": ("ac", "y")}, "abcxy"),  # v's b, held out for validation, is not masked
    }
    assert {name: (asked(dataset, part), candidates(dataset, part)) for name, part in split.validation.items()} == {
        "cold": ({"u": ("ab", "x")}, "xy")
    }


def test_questions_where_both_are_cold():
    rows = [
        ("w", "a", 1, 0), ("w", "b", 1, 0), ("w", "c", 1, 0), ("w", "x", 1, 0), ("w", "y", 1, 0),
        ("p", "a", 1, 0), ("p", "b", 1, 1), ("p", "x", 1, 2),
        ("q", "y", 1, 0), ("q", "c", 1, 1), ("q", "a", 1, 2), ("q", "x", 1, 3),
    ]  # fmt: skip
    labels = [
        "train", "train", "warm_test", "cold_items_val", "cold_items_test",
        "cold_users_val", "cold_users_val", "cold_both_val",
        "cold_both_test", "cold_users_test", "cold_users_test", "",
    ]  # fmt: skip
    dataset = dataset_of(rows)
    split = assemble(dataset, np.array(labels), Cold.both, both_support=1)
    assert {name: (asked(dataset, part), candidates(dataset, part)) for name, part in split.test.items()} == {
        "warm": ({"w": ("ab", "c")}, "abc"),
        "cold_users": ({"q": ("c", "a")}, "abc"),  # his first item, y, is cold and no support
        "cold_items": ({"w": ("ab", "y")}, "xy"),
        "cold_both": ({"q": ("c", "y")}, "xy"),
        "overall": ({"w": ("ab", "cy"), "q": ("c", "ay")}, "abcxy"),
    }
    assert {name: asked(dataset, part) for name, part in split.validation.items()} == {
        "cold_users": {"p": ("a", "b")},
        "cold_items": {"w": ("ab", "x")},
        "cold_both": {"p": ("a", "x")},
    }


def test_given_rows_are_labelled_by_the_threshold():
    rows = [("u", "a", 5, 0), ("u", "b", 4, 0), ("u", "c", 3, 0), ("v", "a", 5, 0), ("v", "c", 2, 0), ("v", "b", 1, 0)]
    dataset = dataset_of(rows)
    part_N = np.array(["train", "warm_test", "warm_test", "train", "warm_test", "warm_val"])
    split = assemble(dataset, part_N, Cold.none, threshold=4)
    given_rows = split.test["all"]
    assert given_rows.kind is TaskKind.pointwise
    assert [(dataset.users.ids[u], dataset.items.ids[i]) for u, i in zip(given_rows.user_N, given_rows.item_N, strict=True)] == [
        ("u", "b"), ("u", "c"), ("v", "c"),
    ]  # fmt: skip
    assert given_rows.value_N.tolist() == [1, 0, 0]
    assert asked(dataset, given_rows) == {"u": ("a", ""), "v": ("a", "")}
    assert candidates(dataset, given_rows) == "bc"
    assert [*assemble(dataset, part_N, Cold.none, threshold=6).test] == ["warm"]  # no user has both labels
    assert [*assemble(dataset, part_N, Cold.none).test] == ["warm"]


def test_given_rows_alone_are_warm_and_cold_and_tell_what_was_liked():
    rows = [
        ("u", "a", 5, 0), ("u", "b", 1, 1), ("u", "c", 5, 2), ("u", "a", 5, 3), ("u", "d", 1, 4),
        ("v", "a", 5, 2), ("v", "b", 2, 1), ("w", "a", 1, 0),
    ]  # fmt: skip
    dataset = dataset_of(rows)
    part_N = np.array(["train", "warm_val", "warm_test", "warm_test", "warm_test", "warm_test", "warm_test", "train"])
    test = assemble(dataset, part_N, Cold.none, threshold=4, ranked=False, window=2).test
    assert [*test] == ["all", "cold"]  # in `warm` is one row alone, u with a
    assert [dataset.items.ids[i] for i in test["cold"].item_N] == ["c", "d", "a", "b"]
    told = test["all"].liked_history_NI
    assert told is not None
    # before u's c: a; before his second a: c, a; before d: a again, then c; v had liked nothing before his b, and nothing but the b's row is before his a
    assert told.toarray().astype(int).tolist() == [[1, 0, 0, 0], [2, 0, 1, 0], [1, 0, 2, 0], [0] * 4, [0] * 4]
    assert assemble(dataset, part_N, Cold.none, threshold=4, ranked=False).test["all"].liked_history_NI is None
    with pytest.raises(DataError, match=r"split\.threshold: with 6 no user has test rows on both sides"):
        assemble(dataset, part_N, Cold.none, threshold=6, ranked=False)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 4),
)
def test_liked_before_is_what_a_loop_finds(rows: list[tuple[int, int, int, bool]], window: int):
    user_N, item_N, time_N, liked_N = (np.array(column) for column in zip(*rows, strict=True))
    asked_N = np.arange(len(rows))[::2]
    found_NI = liked_history((user_N, item_N, time_N, liked_N), asked_N, window, 4).toarray()
    for row, n in enumerate(asked_N):
        before = sorted(
            (time_N[m], m) for m in range(len(rows)) if user_N[m] == user_N[n] and (time_N[m], m) < (time_N[n], n) and liked_N[m]
        )
        expected = [0] * 4
        for place, (_, m) in enumerate(reversed(before), 1):
            if place <= window and not expected[item_N[m]]:
                expected[item_N[m]] = place
        assert found_NI[row].tolist() == expected


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
    for rest, questions in pseudo_cold_folds(train, axis, 4, seed=3, supports=[0, 2]):
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
        for part in questions.values():
            if axis == "items":
                np.testing.assert_array_equal(part.candidate_I, hidden)
                np.testing.assert_array_equal(part.history_UI.toarray(), rest_UI[part.user_U])
                np.testing.assert_array_equal(part.target_UI.toarray(), hidden_UI[part.user_U])
            else:
                assert set(part.user_U) <= set(hidden)
                np.testing.assert_array_equal((part.history_UI + part.target_UI).toarray(), hidden_UI[part.user_U])
                k = int(part.name.removeprefix("support_"))
                for row, user in enumerate(part.user_U):
                    first = train.item_N[train.user_N == user][:k]
                    assert set(part.history_UI[[row]].indices) == set(first)
    warm = train.warm_I if axis == "items" else train.warm_U
    assert sorted(seen) == np.flatnonzero(warm).tolist()


def test_folds_need_two_and_enough_entities(train: TrainView):
    for count in (1, 31):
        with pytest.raises(DataError, match=f"{count} folds of 30 warm items"):
            next(pseudo_cold_folds(train, "items", count, seed=3, supports=[]))


def sequences() -> Dataset:
    """u: a b c a d, v: b a e (by time, not by row), w: c b a f, and s, who is too short."""
    rows = [
        (user, item, 1, time) for user, items in (("u", "abcad"), ("w", "cbaf"), ("s", "db")) for time, item in enumerate(items)
    ]
    return dataset_of([*rows, ("v", "e", 1, 9), ("v", "b", 1, 1), ("v", "a", 1, 2)])


def places(dataset: Dataset, part: EvalTask) -> dict[str, dict[str, int]]:
    """user -> item -> its place from the end."""
    history_UI = part.history_UI.tocoo()
    found: dict[str, dict[str, int]] = {dataset.users.ids[u]: {} for u in part.user_U}
    for row, item, place in zip(*history_UI.coords, history_UI.data, strict=True):
        found[dataset.users.ids[part.user_U[row]]][dataset.items.ids[item]] = int(place)
    return found


def test_the_next_item_is_asked_for_with_the_order_of_all_before_it():
    dataset = sequences()
    split = NextItem(exclude_seen=True, cold_window=None)(dataset)
    assert Counter(split.part_N.tolist()) == {"train": 2 + 2 + 3 + 1, "next_val": 3, "next_test": 3}
    assert {name: {user: of[1] for user, of in asked(dataset, part).items()} for name, part in split.test.items()} == {
        "all": {"u": "d", "v": "e", "w": "f"},
        "warm": {"u": "d"},  # s was trained on it
        "cold": {"v": "e", "w": "f"},
        "unmasked": {"u": "d", "v": "e", "w": "f"},
    }
    assert [name for name, part in split.test.items() if not part.exclude_seen] == ["unmasked"]
    assert places(dataset, split.test["all"]) == {  # u's a came again: it stands where it is newest
        "u": {"a": 1, "c": 2, "b": 3},
        "v": {"a": 1, "b": 2},
        "w": {"a": 1, "b": 2, "c": 3},
    }
    assert {user: of[1] for user, of in asked(dataset, split.validation["all"]).items()} == {"v": "a", "w": "a"}  # u showed his a
    assert places(dataset, split.validation["all"]) == {"v": {"b": 1}, "w": {"b": 1, "c": 2}}
    assert {part.kind for part in (*split.test.values(), *split.validation.values())} == {TaskKind.next}
    assert {candidates(dataset, part) for part in split.test.values()} == {"abcdef"}


def test_a_window_makes_items_cold_that_only_old_history_holds():
    rows = [("u", item, 1, time) for time, item in enumerate("abcde")] + [("v", item, 1, time) for time, item in enumerate("cda")]
    dataset = dataset_of(rows)
    for window, cold in ((5, "e"), (4, "ae"), (None, "e")):  # the last five of u are all, of the last four a is none
        test = NextItem(exclude_seen=True, cold_window=window)(dataset).test
        assert "".join(sorted(dataset.items.ids[i] for i in test["cold"].target_UI.indices)) == cold


def test_a_reading_that_masks_nothing_ranks_what_was_seen():
    dataset = sequences()
    for masked, others in ((True, {"u": 3, "v": 4, "w": 3}), (False, {"u": 6, "v": 6, "w": 6})):
        part = NextItem(exclude_seen=masked, cold_window=None)(dataset).test["all"]
        ranking = rank_candidates(lambda position_B: np.tile(-np.arange(6.0), (len(position_B), 1)), part, 6)
        assert {dataset.users.ids[u]: int(n) for u, n in zip(part.user_U, ranking.candidates_U, strict=True)} == others
        assert ranking.rank_P.tolist() == ([1, 3, 3] if masked else [4, 5, 6])
