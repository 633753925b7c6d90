"""Filters on attributes, by hand."""

import numpy as np
import pytest

from cold_jax.data.dataset import Entities
from cold_jax.data.filters import matching
from cold_jax.errors import ConfigError

ITEMS = Entities(
    ("a", "b", "c"),
    {},
    {"genre": np.array([[1, 0], [1, 1], [0, 0]]), "year": np.array([[1, 0], [0, 1], [0, 0]])},
    values={"genre": ("Drama", "a=b"), "year": ("below 1990", "from 1990")},
)
EDGES = {"year": [1990.0]}


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([], "abc"),
        (["genre=Drama"], "ab"),
        (["genre!=Drama"], "c"),
        (["genre=a=b"], "b"),
        (["genre=Drama|a=b", "year=1990"], "b"),
        (["year=1989.9"], "a"),
        (["year!=from 1990"], "ac"),
    ],
)
def test_items_that_satisfy_all(filters: list[str], ids: str) -> None:
    assert "".join(i for i, own in zip(ITEMS.ids, matching(ITEMS, filters, EDGES), strict=True) if own) == ids


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ("genre", "is not ATTRIBUTE=VALUE"),
        ("gerne=Drama", "did you mean genre"),
        ("genre=Darma", "did you mean Drama"),
        ("year=x", "no item has year=x"),
    ],
)
def test_a_mistake_is_named(one: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        matching(ITEMS, [one], EDGES)
