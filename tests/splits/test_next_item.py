"""Labels of leave-one-out, by hand."""

import numpy as np
import pytest
from split_data import dataset_of, letters

from cold_jax.splits.assemble import assemble
from cold_jax.splits.labels import Cold
from cold_jax.splits.next_item import NextItem

ROWS = [
    ("u", "a", 1, 3),
    ("u", "b", 1, 1),
    ("v", "a", 1, 0),
    ("u", "c", 1, 2),
    ("v", "b", 1, 0),
    ("w", "c", 1, 0),
    ("w", "a", 1, 0),
    ("w", "b", 1, 0),
]


def test_the_last_two_are_held_out_by_time_then_row():
    split = NextItem(exclude_seen=True, cold_window=None)(dataset_of(ROWS))
    assert split.part_N.tolist() == ["next_test", "train", "train", "next_val", "train", "train", "next_val", "next_test"]


@pytest.mark.parametrize("window", [2, 0, -1])
def test_a_window_holds_a_training_interaction(window: int):
    with pytest.raises(ValueError, match=rf"split\.cold_window: {window} leaves no training interaction"):
        NextItem(exclude_seen=True, cold_window=window)


def test_a_window_counts_used_interactions_alone():
    """Labels that leave some interactions out, as a file's can: places from the end are among those that are used."""
    dataset = dataset_of(
        [("u", item, 1, time) for time, item in enumerate("abcde")] + [("v", item, 1, time) for time, item in enumerate("bca")]
    )
    labels = ["train", "train", "next_val", "next_test", "", "train", "next_val", "next_test"]
    split = assemble(dataset, np.array(labels), Cold.none, window=4)
    assert letters(dataset, split.test["warm"]) == {"v": ("bc", "a")}  # a is among u's last four that are used
