"""Next-item tasks of hand-made sequences, in letters."""

from collections import Counter

import numpy as np
import pytest
from split_data import (
    candidates,
    dataset_of,
    letters,
)

from cold_jax.data.dataset import Dataset
from cold_jax.errors import DataError
from cold_jax.evaluation.ranking import rank_candidates
from cold_jax.splits.next_item import NextItem
from cold_jax.splits.tasks import EvalTask, TaskKind


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


def test_the_target_is_the_next_item_and_the_history_has_all_before_it_in_order():
    dataset = sequences()
    split = NextItem(exclude_seen=True, cold_window=None)(dataset)
    assert Counter(split.part_N.tolist()) == {"train": 2 + 2 + 3 + 1, "next_val": 3, "next_test": 3}
    assert {name: {user: of[1] for user, of in letters(dataset, part).items()} for name, part in split.test.items()} == {
        "all": {"u": "d", "v": "e", "w": "f"},
        "warm": {"u": "d"},  # it is in the training of s
        "cold": {"v": "e", "w": "f"},
        "unmasked": {"u": "d", "v": "e", "w": "f"},
    }
    assert [name for name, part in split.test.items() if not part.exclude_seen] == ["unmasked"]
    assert places(dataset, split.test["all"]) == {  # u's a came again: it stands where it is newest
        "u": {"a": 1, "c": 2, "b": 3},
        "v": {"a": 1, "b": 2},
        "w": {"a": 1, "b": 2, "c": 3},
    }
    assert {user: of[1] for user, of in letters(dataset, split.validation["all"]).items()} == {
        "v": "a",
        "w": "a",
    }  # a is in u's history
    assert places(dataset, split.validation["all"]) == {"v": {"b": 1}, "w": {"b": 1, "c": 2}}
    assert {part.kind for part in (*split.test.values(), *split.validation.values())} == {TaskKind.next}
    assert {candidates(dataset, part) for part in split.test.values()} == {"abcdef"}


@pytest.mark.parametrize(
    ("sequence", "problem"),
    [
        ("abaa", "no user has a validation item that is not in their history already"),
        ("aba", "no user has a test item that is not in their history already"),
        ("ab", "no user has three interactions or more"),
    ],
)
def test_users_without_a_new_item_are_no_test(sequence: str, problem: str):
    """All that is held out is in the history already, or nobody has three items."""
    dataset = dataset_of([(user, item, 1, time) for user in "uv" for time, item in enumerate(sequence)])
    with pytest.raises(DataError, match=f"^split: {problem}"):
        NextItem(exclude_seen=True, cold_window=None)(dataset)


def test_a_window_makes_items_cold_that_only_old_history_holds():
    rows = [("u", item, 1, time) for time, item in enumerate("abcde")] + [("v", item, 1, time) for time, item in enumerate("cda")]
    dataset = dataset_of(rows)
    for window, cold in ((5, "e"), (4, "ae"), (None, "e")):  # the last five of u are all, of the last four a is none
        test = NextItem(exclude_seen=True, cold_window=window)(dataset).test
        assert "".join(sorted(dataset.items.ids[i] for i in test["cold"].target_UI.indices)) == cold


def test_seen_items_are_ranked_or_excluded():
    dataset = sequences()
    for masked, others in ((True, {"u": 3, "v": 4, "w": 3}), (False, {"u": 6, "v": 6, "w": 6})):
        part = NextItem(exclude_seen=masked, cold_window=None)(dataset).test["all"]
        ranking = rank_candidates(lambda position_B: np.tile(-np.arange(6.0), (len(position_B), 1)), part, 6)
        assert {dataset.users.ids[u]: int(n) for u, n in zip(part.user_U, ranking.candidates_U, strict=True)} == others
        assert ranking.rank_P.tolist() == ([1, 3, 3] if masked else [4, 5, 6])
