"""Typed values become the text that a person would write, or are refused by place."""

from decimal import Decimal

import pytest

from cold_jax.data.values import cell_text
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
