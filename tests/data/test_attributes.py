"""Attributes become texts and indicators, and what they hold is checked."""

import dataclasses
import logging

import numpy as np
import pytest

from cold_jax.data.attributes import Attributes
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
    unescape_html=False,
    positive=None,
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
    assert list(made.texts.items()) == [("line", ("A (1989.9)", "(1990)", "{year}")), ("title", ("A", "", "{year}"))]
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
        DataError, match=rf"data\.item_(texts\.title|sets\.genres|bins\.year): no column '{gone}'; did you mean {gone}s\?"
    ):
        PLAIN.entities("item", ["1", "2", "3"], columns, where)


@pytest.mark.parametrize("edges", [[], [2.0, 1.0], [1.0, 1.0], [float("nan")], [1.0, float("inf")]])
def test_edges_ascend(edges: list[float]) -> None:
    with pytest.raises(ValueError, match=r"data\.user_bins\.age: edges"):
        dataclasses.replace(PLAIN, user_bins={"age": edges})


def test_a_column_is_set_or_numeric() -> None:
    with pytest.raises(ValueError, match=r"data\.item_bins\.genres"):
        dataclasses.replace(PLAIN, item_bins={"genres": [1.0]})


def test_a_separator_that_never_occurs_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    PLAIN.entities("item", ["1", "2", "3"], COLUMNS, where)
    PLAIN.entities("item", ["1", "2", "3"], COLUMNS | {"genres": ["x|y", "", "z"]}, where)
    assert not caplog.messages
    PLAIN.entities("item", ["1", "2", "3"], COLUMNS | {"genres": ["x, y", "", "z"]}, where)
    assert caplog.messages == [
        "data.item_sets.genres: its separator '|' occurs in none of 2 values, such as 'x, y'; each counts as one whole"
    ]


@pytest.mark.parametrize("rule", ["4", ">=", ">=x", "=> 4", ">= 4 5", "", ">=nan"])
def test_a_rule_of_positives_is_checked_by_name(rule: str) -> None:
    with pytest.raises(ValueError, match=r"^data\.positive: .*'>=4'"):
        dataclasses.replace(PLAIN, positive=rule)
