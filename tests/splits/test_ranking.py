"""Tasks of hand-made splits, in letters."""

import numpy as np
from split_data import (
    candidates,
    dataset_of,
    letters,
)

from cold_jax.splits.assemble import assemble
from cold_jax.splits.labels import Cold


def test_tasks_of_cold_users():
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
    assert letters(dataset, test["warm"]) == {"w": ("ab", "c")}
    assert letters(dataset, test["support_0"]) == {"t": ("", "abd"), "s": ("", "c")}
    assert letters(dataset, test["support_1"]) == {"t": ("b", "ad")}  # s has nothing left
    assert {candidates(dataset, task) for task in test.values()} == {"abcd"}  # d, which nobody was trained on, too
    assert {name: letters(dataset, task) for name, task in split.validation.items()} == {
        "support_0": {"v": ("", "ab")},
        "support_1": {"v": ("b", "a")},
    }


def test_tasks_of_cold_items():
    rows = [("u", "a", 1, 0), ("u", "b", 1, 0), ("u", "c", 1, 0), ("u", "x", 1, 0), ("u", "y", 1, 0),
            ("v", "a", 1, 0), ("v", "b", 1, 0), ("v", "y", 1, 0), ("v", "c", 1, 0), ("v", "a", 1, 0)]  # fmt: skip
    labels = ["train", "train", "warm_test", "cold_val", "cold_test", "train", "warm_val", "cold_test", "train", "warm_test"]
    dataset = dataset_of(rows)
    split = assemble(dataset, np.array(labels), Cold.items)
    assert {name: (letters(dataset, task), candidates(dataset, task)) for name, task in split.test.items()} == {
        "warm": ({"u": ("ab", "c")}, "abc"),  # v's second a is no target: it is in training
        "cold": ({"u": ("ab", "y"), "v": ("ac", "y")}, "xy"),  # items of validation are candidates too
        "overall": ({"u": ("ab", "cy"), "v": ("ac", "y")}, "abcxy"),  # v's b, held out for validation, is not masked
    }
    assert {name: (letters(dataset, task), candidates(dataset, task)) for name, task in split.validation.items()} == {
        "cold": ({"u": ("ab", "x")}, "xy")
    }


def test_tasks_where_both_are_cold():
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
    assert {name: (letters(dataset, task), candidates(dataset, task)) for name, task in split.test.items()} == {
        "warm": ({"w": ("ab", "c")}, "abc"),
        "cold_users": ({"q": ("c", "a")}, "abc"),  # their first item, y, is cold and no support
        "cold_items": ({"w": ("ab", "y")}, "xy"),
        "cold_both": ({"q": ("c", "y")}, "xy"),
        "overall": ({"w": ("ab", "cy"), "q": ("c", "ay")}, "abcxy"),
    }
    assert {name: letters(dataset, task) for name, task in split.validation.items()} == {
        "cold_users": {"p": ("a", "b")},
        "cold_items": {"w": ("ab", "x")},
        "cold_both": {"p": ("a", "x")},
    }
