"""Odd rows are named by line or key, of every kind some, and plain rows are not."""

import time

import numpy as np

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.oddities import backwards, describe_time, odd_rows

USERS = ("u", "v", "V ", "w")
ITEMS = ("a", "b", "c", "d")


def made(**changes: object) -> Dataset:
    """100 rows of users u, v and w, with every pair once but for what changes."""
    n = np.arange(12)
    rows: dict[str, object] = {
        "user_N": (n // 4).astype(np.int32),
        "item_N": (n % 4).astype(np.int32),
        "value_N": np.full(12, 3, np.float32),
        "time_N": 1.7e9 + n,
        "line_N": (n + 2).astype(np.int32),
    } | changes
    users = Entities(("u", "v", "w"), {}, {})
    return Dataset("x", users=rows.pop("users", users), items=rows.pop("items", items()), source="x.csv", **rows)  # pyright: ignore


def items(*texts: str, without_row: int = 0) -> Entities:
    return Entities(ITEMS, {"line": texts or ("A", "B", "C", "D")}, {}, without_row)


def with_one(values: np.ndarray, at: int, value: float) -> np.ndarray:
    return np.concatenate([values[:at], [value], values[at + 1 :]]).astype(values.dtype)


def test_plain_rows_are_not_odd() -> None:
    assert odd_rows(made(), 10) == []
    assert backwards(made()) == 0


def test_a_repeated_pair_names_both_lines() -> None:
    data = made(user_N=with_one(made().user_N, 11, 0), item_N=with_one(made().item_N, 11, 1))
    assert odd_rows(data, 10) == ["x.csv:13: user 'u' and item 'b' again, as in x.csv:3"]


def test_a_value_far_from_all_others_is_named() -> None:
    n = np.arange(1000)
    many = {
        "user_N": (n // 10 % 3).astype(np.int32),
        "item_N": (n % 4).astype(np.int32),
        "time_N": np.zeros(1000),
        "line_N": None,
    }
    data = made(**many, value_N=with_one((1 + n % 5).astype(np.float32), 499, 1e6))
    assert "interaction 500: the value is 1e+06; 98 % lie in 1 to 5" in odd_rows(data, 10)
    tame = made(**many, value_N=(1 + n % 5).astype(np.float32))
    assert not [line for line in odd_rows(tame, 10_000) if "value" in line]


def test_times_before_1970_or_to_come_are_named() -> None:
    early = made(time_N=with_one(made().time_N, 3, 0))
    assert odd_rows(early, 10) == ["x.csv:5: the time is 1970-01-01 00:00:00"]
    assert backwards(early) == 1
    late = time.time() + 10 * 86_400
    assert [line[:24] for line in odd_rows(made(time_N=with_one(made().time_N, 3, late)), 10)] == [
        "x.csv:5: the time is 20" + "2"
    ]
    assert odd_rows(made(time_N=with_one(np.arange(12.0), 3, -5)), 10) == []  # no seconds since 1970
    assert (describe_time(1.7e9, 1.7e9), describe_time(17, 17)) == ("2023-11-14 22:13:20", "17")


def test_ids_alike_and_texts_missing_or_long_are_named() -> None:
    assert odd_rows(made(users=Entities(USERS[1:], {}, {})), 10) == ["users 'v' and 'V ' differ in blanks or case alone"]
    assert odd_rows(made(items=items("A", " ", "x" * 20_000, "", without_row=1)), 10) == [
        "item 'b' has no text, and 3 interactions",
        "item 'c': its text 'line' has 20,000 characters",
        "item 'd' has no row of attributes, and 3 interactions",
    ]


def test_a_user_of_very_many_interactions_is_named() -> None:
    users = Entities(tuple(f"u{n}" for n in range(100)), {}, {})
    user_N = np.concatenate([np.arange(100), np.full(200, 7)]).astype(np.int32)
    size = len(user_N)
    data = made(
        users=users,
        user_N=user_N,
        item_N=np.arange(size, dtype=np.int32) % 4,
        value_N=np.ones(size, np.float32),
        time_N=np.zeros(size),
        line_N=None,
    )
    assert "user 'u7' has 201 interactions; the median is 1" in odd_rows(data, 10)


def test_every_kind_has_its_turn() -> None:
    data = made(user_N=np.zeros(12, np.int32), item_N=np.zeros(12, np.int32), items=items("", "B", "C", "D"))
    lines = odd_rows(data, 3)
    assert len(lines) == 3
    assert "item 'a' has no text, and 12 interactions" in lines
