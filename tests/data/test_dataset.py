"""A data set's digest depends on all that a run can depend on."""

import dataclasses

import numpy as np
import pytest

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.errors import DataError


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


def test_a_text_that_is_missing_is_named_by_its_setting() -> None:
    assert small().items.text("title", "model.title") == ("x", "y")
    with pytest.raises(DataError, match=r"model\.title: the items have no text 'plot'; they have line, title"):
        small().items.text("plot", "model.title")


def test_some_rows_keep_users_and_items() -> None:
    data = small()
    two = dataclasses.replace(
        data, **{name: np.repeat(getattr(data, name), 2) for name in ("user_N", "item_N", "value_N", "time_N")}
    )
    two = dataclasses.replace(two, value_N=np.array([1, 5], np.float32), positive_N=np.array([False, True]))
    one = two.rows(np.array([1]))
    assert (one.value_N.tolist(), one.user_N.tolist(), one.positive_N) == ([5], [0], None)
    assert one.items is two.items
