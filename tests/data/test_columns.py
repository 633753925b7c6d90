"""Whole columns: the interactions that the reader of single rows finds, or nothing."""

import random
from pathlib import Path

import numpy as np
import pytest

from cold_jax.data import recbole, tables
from cold_jax.data.columns import integer_ids, split_columns
from cold_jax.data.interactions import Interactions, read_interactions
from cold_jax.errors import DataError

COLUMNS = {"user": "u", "item": "i", "value": "v", "time": "t"}


def both(file: Path) -> tuple[tuple[Interactions, dict[str, int], dict[str, int]], ...]:
    """With whole columns, and row by row; users and items of the attribute files have the first integers."""
    found = []
    for columns in (tables.read_columns, None):
        users, items = {"b": 0}, {"y": 0, "not there": 1}
        found.append((read_interactions(tables.read, file, COLUMNS, users, items, columns), users, items))
    return tuple(found)


def assert_same(file: Path) -> None:
    (fast, *ids), (slow, *expected) = both(file)
    assert [list(known.items()) for known in ids] == [list(known.items()) for known in expected]
    for name, ours, theirs in zip(Interactions._fields, fast, slow, strict=True):
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, name)


def at_once(file: Path) -> bool:
    table = tables.read_columns(file, {name: what for what, name in COLUMNS.items()})
    return table is not None


def test_random_rows_read_alike(tmp_path: Path) -> None:
    """More than one block of the reader, ids in no order, numbers in all their spellings."""
    draw = random.Random(0)
    numbers = ["1", "-2.5", "3.", ".5", "1e3", "+4", " 7", "0.1", "16777217", "1e-300"]
    rows = [
        f"{draw.choice('abcdé')},{draw.choice(['x', 'y', ' x', '01', '1', 'nan'])},{draw.choice(numbers)},{draw.choice(numbers)},rest"
        for _ in range(60_000)
    ]
    for end in ("\n", "\r\n"):
        file = tmp_path / "x.csv"
        file.write_bytes(end.join(["u,i,v,t,other", *rows, ""]).encode())
        assert at_once(file)
        assert_same(file)


@pytest.mark.parametrize(
    ("rows", "whole"),
    [
        (["a,x,1,2024-05-31", "b,y,2,2024-06-01"], True),
        (["a,x,1,2024-05-31T12:00:00Z", "b,y,2,2024-05-31T12:00:00+02:00"], True),
        (['"a",x,1,2', "b,y,1,2"], False),  # a quoted field
        (["a,x,1,2", "", "b,y,1,2"], False),  # an empty line, which moves the lines after it
        (["a,x,1,2", "b,y,1,2", ""], False),
        (["a,x,1\r2,2"], False),
        (["a,x,1,2\r", "b,y,2,3"], False),  # line ends of both kinds
    ],
)
def test_rows_of_every_kind_read_alike(rows: list[str], whole: bool, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes("\n".join(["u,i,v,t", *rows, ""]).encode())
    assert at_once(file) == whole
    try:
        expected = both(file)[1]
    except DataError:
        expected = None
    if expected is not None:
        assert_same(file)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",x,1,2", "x.csv:3: no user id"),
        ("a,,1,2", "x.csv:3: no item id"),
        ("a,x,,2", "x.csv:3: v '' is not a number"),
        ("a,x,nan,2", "x.csv:3: v 'nan' is not a finite number"),
        ("a,x,1e39,2", "x.csv:3: v '1e39' is not a finite number"),
        ("a,x,1,2024-05-31", "line 2 has a number"),
        ("a,x,1", "x.csv:3: 3 fields where the header names 4"),
        ("a,x,1,2,3", "x.csv:3: 5 fields where the header names 4"),
    ],
)
def test_what_is_wrong_is_found_row_by_row(row: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(f"u,i,v,t\nb,y,1,2\n{row}\n")
    with pytest.raises(DataError, match=message):
        read_interactions(tables.read, file, COLUMNS, {}, {}, tables.read_columns)


def test_an_atomic_file_has_quotes_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "x.inter"
    file.write_text('u:token\ti:token\n"a\t"x"\na"\ty\n')
    columns = {"user": "u", "item": "i"}
    users: dict[str, int] = {}
    rows = read_interactions(recbole.read, file, columns, users, {}, recbole.read_columns)
    assert recbole.read_columns(file, {"u": "user", "i": "item"}) is not None
    assert list(users) == ['"a', 'a"']
    np.testing.assert_array_equal(rows.line_N, [2, 3])
    np.testing.assert_array_equal(rows.value_N, [1, 1])


def test_a_column_that_is_not_there_twice_or_cut_by_a_long_sign_is_left_to_others() -> None:
    data = b"a,b,a\n1,2,3\n"
    assert split_columns(data, ["a", "b", "c"], ["a", "d"], ",") is None
    assert split_columns(data, ["a", "b", "a"], ["a"], ",") is None
    assert split_columns(data, ["a", "b", "c"], ["a"], "·") is None
    table = split_columns(data, ["a", "b", "c"], ["c", "a"], ",")
    assert table is not None
    assert table.to_pydict() == {"c": ["3"], "a": ["1"]}


def test_ids_that_are_known_keep_their_integers() -> None:
    table = split_columns(b"a\nq\np\nq\nr\n", ["a"], ["a"], ",")
    assert table is not None
    known = {"r": 0}
    assert integer_ids(table["a"], known) == pytest.approx([1, 2, 1, 0])
    assert known == {"r": 0, "q": 1, "p": 2}
