"""The summary of a hand-made data set, counted by hand."""

import numpy as np

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.summary import Summary, summarize
from cold_jax.text.tokens import Tokens

USERS = Entities(("u", "v"), {}, {})
ITEMS = Entities(("a", "b", "c", "d"), {"line": ("A", "", " ", "D"), "title": ("",) * 4}, {}, without_row=1)


def dataset(pairs: list[str], users: Entities = USERS, items: Entities = ITEMS) -> Dataset:
    user_N, item_N = (np.array([ids.index(pair[n]) for pair in pairs], np.int32) for n, ids in enumerate((users.ids, items.ids)))
    return Dataset("hand", user_N, item_N, np.ones(len(pairs), np.float32), np.zeros(len(pairs)), users, items)


def test_all_is_counted() -> None:
    tokens = [
        Tokens(np.zeros(6, np.int32), np.array([0, 3, 6]), cut=1),
        Tokens(np.zeros(9, np.int32), np.array([0, 3, 6, 9]), cut=2),
    ]
    made = summarize(
        dataset(["ua", "ub", "ua", "vc", "ua"]), np.array([True, False]), np.array([False, True, False, False]), tokens
    )
    assert made == Summary("hand", 2, 4, 5, 3 / 8, 0.5, 0.25, 0, 2, 0, 1, 2, 5, 3)
    assert made.lines() == [
        "hand: 2 users, 4 items, 5 interactions (density 37.50%); cold: 50.0% of users and 25.0% of items",
        "2 items without text; 1 item without a row of attributes",
        "2 interactions that repeat a pair, counted once; 3 of 5 texts cut at encoder.max_length",
    ]


def test_nothing_amiss_is_one_line() -> None:
    items = Entities(("a",), {"line": ("A",)}, {})
    made = summarize(dataset(["ua", "va"], items=items), np.zeros(2, bool), np.zeros(1, bool), [])
    assert made.lines() == ["hand: 2 users, 1 item, 2 interactions (density 100.00%); cold: none"]
