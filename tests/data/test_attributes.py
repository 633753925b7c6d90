"""Attributes become texts and indicators; numbers and bytes that are none are refused in one way."""

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest

from cold_jax.data.attributes import Attributes
from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.files import column_places, excerpt, number, read_text
from cold_jax.errors import DataError

PLAIN = Attributes(
    name="plain",
    item_texts={"line": "{title} ({year})", "title": "{title}"},
    user_texts={},
    item_sets={"genres": "|", "studio": ""},
    user_sets={},
    item_bins={"year": [1990.0, 2000.0]},
    user_bins={},
    words={"studio": {"a b": "c"}},
    unknown=["?", "nan"],
)
COLUMNS = {
    "title": ["A", "", "{year}"],
    "year": ["1989.9", "1990", ""],
    "genres": ["x|y", "", "y|z||y"],
    "studio": ["a b", "a", "a b"],
}


def where(position: int) -> str:
    return f"items.csv:{position + 2}"


def test_columns_become_texts_and_indicators() -> None:
    made = PLAIN.entities("item", ["1", "01", ""], COLUMNS, where)
    assert made.ids == ("1", "01", "")
    assert list(made.texts.items()) == [("line", ("A (1989.9)", " (1990)", "{year} ()")), ("title", ("A", "", "{year}"))]
    assert made.indicators["genres"].tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert made.indicators["studio"].tolist() == [[0, 1], [1, 0], [0, 1]]
    assert made.indicators["year"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert {indicator.dtype for indicator in made.indicators.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("year", "column"),
    [("-1e9", 0), ("1989.99", 0), ("1990", 1), ("1999", 1), ("2000.0", 2), ("3000", 2), ("?", None), ("nan", None)],
)
def test_an_interval_holds_its_lower_edge(year: str, column: int | None) -> None:
    made = PLAIN.entities("item", ["1"], {name: [values[0]] for name, values in COLUMNS.items()} | {"year": [year]}, where)
    assert np.flatnonzero(made.indicators["year"][0]).tolist() == ([] if column is None else [column])


@pytest.mark.parametrize("year", ["V", "19_90", "inf", "-", " ", "19,90"])
def test_a_numeric_column_holds_numbers(year: str) -> None:
    with pytest.raises(DataError) as raised:
        PLAIN.entities(
            "item", ["1", "2"], {name: values[:2] for name, values in COLUMNS.items()} | {"year": ["1990", year]}, where
        )
    assert str(raised.value).startswith(f"items.csv:3: year {year!r} is not a ")
    assert "data.unknown" in str(raised.value)


@pytest.mark.parametrize("gone", ["title", "genres", "year"])
def test_an_absent_column_names_the_setting(gone: str) -> None:
    columns = {name + "s" * (name == gone): values for name, values in COLUMNS.items()}
    with pytest.raises(
        DataError, match=rf"data\.item_(texts\.title|sets\.genres|bins\.year): no column '{gone}'; the nearest is '{gone}s'"
    ):
        PLAIN.entities("item", ["1", "2", "3"], columns, where)


@pytest.mark.parametrize("edges", [[], [2.0, 1.0], [1.0, 1.0], [float("nan")], [1.0, float("inf")]])
def test_edges_ascend(edges: list[float]) -> None:
    with pytest.raises(ValueError, match=r"data\.user_bins\.age: edges"):
        dataclasses.replace(PLAIN, user_bins={"age": edges})


def test_a_column_is_set_or_numeric() -> None:
    with pytest.raises(ValueError, match=r"data\.item_bins\.genres"):
        dataclasses.replace(PLAIN, item_bins={"genres": [1.0]})


def small() -> Dataset:
    entities = Entities(("a", "b"), {"line": ("A", "B"), "title": ("x", "y")}, {"genre": np.eye(2, dtype=np.float32)})
    numbers = np.zeros(1, np.int32), np.ones(1, np.int32), np.ones(1, np.float32), np.zeros(1)
    return Dataset("small", *numbers, users=entities, items=entities)


@pytest.mark.parametrize(
    "change",
    [
        {"user_N": np.ones(1, np.int32)},
        {"item_N": np.zeros(1, np.int32)},
        {"value_N": np.full(1, 2, np.float32)},
        {"time_N": np.ones(1)},
        {"items": {"ids": ("a", "c")}},
        {"users": {"ids": ("a\x00b", "")}},
        {"items": {"texts": {"line": ("A", "C"), "title": ("x", "y")}}},
        {"items": {"texts": {"lime": ("A", "B"), "title": ("x", "y")}}},
        {"items": {"texts": {"title": ("x", "y"), "line": ("A", "B")}}},
        {"users": {"indicators": {"genre": np.zeros((2, 2), np.float32)}}},
        {"users": {"indicators": {"genres": np.eye(2, dtype=np.float32)}}},
        {"users": {"indicators": {"genre": np.eye(2, 3, dtype=np.float32)}}},
    ],
)
def test_the_digest_sees_every_change(change: dict) -> None:
    data = small()
    changed = {k: dataclasses.replace(getattr(data, k), **v) if isinstance(v, dict) else v for k, v in change.items()}
    assert dataclasses.replace(data, **changed).digest != data.digest
    assert small().digest == data.digest


@pytest.mark.parametrize("cell", ["", None, "abc", "1_000", "nan", "inf", "-Infinity", "1e39", "1e999", "0x10"])
def test_what_is_no_finite_number(cell: str | None) -> None:
    with pytest.raises(ValueError, match=r"not a (finite )?number"):
        number(cell)


@pytest.mark.parametrize(("cell", "value"), [("3", 3), ("-0.5", -0.5), ("1e5", 1e5), ("881250949", 881250949), (" 4 ", 4)])
def test_numbers(cell: str, value: float) -> None:
    assert number(cell) == value


def test_what_is_shown_is_short_and_obeyed_by_no_terminal() -> None:
    assert excerpt("\x1b[31m\n") == "'\\x1b[31m\\n'"
    assert len(excerpt("x" * 1000)) == 83


def test_a_header_names_each_column_once() -> None:
    assert column_places(Path("f.csv"), ["a", "b", "c"], {"c": "user", "a": "item"}) == [2, 0]
    with pytest.raises(DataError, match=r"f\.csv:1: column 'a' stands twice"):
        column_places(Path("f.csv"), ["a", "b", "a"], {"b": "user"})
    with pytest.raises(DataError, match=r"f\.csv:1: no column 'user' \(for user\); the nearest is 'user_id'"):
        column_places(Path("f.csv"), ["user_id", "b"], {"user": "user"})


def test_bytes_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xef\xbb\xbfa\r\n\xef\xbb\xbf\x00")
    assert read_text(file) == "a\r\n\ufeff\x00"
    with pytest.raises(DataError, match=r"b\.csv: cannot be read"):
        read_text(tmp_path / "b.csv")
    file.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.csv: the file is empty"):
        read_text(file)
    file.write_bytes(b"\xef\xbb\xbfa\nb\nc\xe9d\n")
    with pytest.raises(DataError, match=r"a\.csv:3: b'\\xe9d\\n' is not UTF-8"):
        read_text(file)


@pytest.mark.parametrize("cut", [0, 5, 20, -9, -1])
def test_a_packed_file_cut_short_is_refused(cut: int, tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    whole = gzip.compress(b"a,b\n" * 1000)
    file.write_bytes(whole)
    assert read_text(file) == "a,b\n" * 1000
    file.write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"a\.csv\.gz: "):
        read_text(file)
