"""Typed values become the text that a person would write, or are refused by place."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from cold_jax.data.values import cell_text, database_text
from cold_jax.errors import DataError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("é", "é"),
        ("", ""),
        (None, None),
        (7, "7"),
        (1.5, "1.5"),
        (True, "true"),
        (Decimal("9.90"), "9.90"),
        (["a", "b c"], "a\nb c"),
        ([], ""),
    ],
)
def test_values_as_text(value: object, text: str | None) -> None:
    assert cell_text(value, "x.json:1: tags", "item_sets.tags") == text


@pytest.mark.parametrize(
    ("value", "key"),
    [(["a\nb"], "item_sets.tags"), ([1], "item_sets.tags"), ({"a": 1}, "item_texts.line"), (["a"], "item_id"), (b"a", "user")],
)
def test_other_values_are_refused(value: object, key: str) -> None:
    with pytest.raises(DataError, match=r"x\.json:1: tags .* is neither text nor number nor a list of one-line texts"):
        cell_text(value, "x.json:1: tags", key)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(DataError, match=r"x\.json:1: title 'a\\ud800' is not valid Unicode"):
        cell_text("a\ud800", "x.json:1: title", "item_texts.line")


@pytest.mark.parametrize(
    ("value", "key", "text"),
    [
        (7, "user", "7"),
        (Decimal("7"), "user_id", "7"),
        (Decimal("7.50"), "value", "7.50"),
        (b"007", "item", "007"),
        (memoryview("é".encode()), "item_id", "é"),
        (UUID(int=7), "user", "00000000-0000-0000-0000-000000000007"),
        (date(2024, 5, 31), "time", "2024-05-31"),
        (datetime(2024, 5, 31, 12, 0, 1, 500_000, UTC), "time", "2024-05-31T12:00:01.500000+00:00"),
        (["a", "b"], "item_sets.tags", "a\nb"),
        (True, "item_bins.x", "true"),
        (None, "user", None),
    ],
)
def test_what_a_database_gives_is_text(value: object, key: str, text: str | None) -> None:
    assert database_text(value, "data.items", 3, "c", key) == text


@pytest.mark.parametrize(
    ("value", "key", "says"),
    [
        (7.0, "user", "data.items:3: c 7.0 is no id, since ids are text or whole numbers"),
        (Decimal("7.5"), "item", "data.items:3: c 7.5 is no id"),
        (b"\xff", "item", r"data.items:3: c b'\xff' is not UTF-8"),
        ({"a": 1}, "item_texts.line", "data.items:3: c \"{'a': 1}\" is neither text"),
    ],
)
def test_what_is_no_text_is_named(value: object, key: str, says: str) -> None:
    with pytest.raises(DataError) as raised:
        database_text(value, "data.items", 3, "c", key)
    assert str(raised.value).startswith(says)
