"""Which side a file's labels make cold, by hand."""

from pathlib import Path

import numpy as np
import pytest
from split_data import dataset_of

from cold_jax.errors import DataError
from cold_jax.splits.labels import Cold, cold_side

DATASET = dataset_of([("a", "x", 1, 0), ("a", "y", 1, 0), ("b", "x", 1, 0), ("b", "y", 1, 0), ("c", "x", 1, 0), ("c", "z", 1, 0)])


@pytest.mark.parametrize(
    ("labels", "side"),
    [
        (["train", "train", "train", "train", "cold_test", ""], Cold.users),
        (["train", "cold_val", "train", "cold_test", "train", ""], Cold.items),
        (["train", "train", "train", "train", "cold_users_test", ""], Cold.both),
        (["train", "train", "warm_test", "warm_val", "train", "train"], Cold.none),
        (["train", "train", "train", "train", "cold_test", "warm_test"], Cold.users),  # a leak: c is known, x more so
    ],
)
def test_the_cold_side_is_that_which_training_lacks(labels: list[str], side: Cold):
    if labels[-1] == "warm_test":  # one of two cold users leaks
        labels = ["train", "train", "cold_test", "", "cold_test", "warm_test"]
    assert cold_side(Path("s.csv"), DATASET, np.array(labels)) is side


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["train", "train", "train", "train", "", "cold_test"], "both users and items are new; call these parts cold_both_val"),
        (
            ["train", "train", "cold_test", "train", "train", ""],
            "it is unclear which side is cold: of the users .* 100% .* of the items 100%",
        ),
        (["train", "train", "cold_test", "", "cold_both_test", ""], "cold_val or cold_test is used beside cold_users_"),
    ],
)
def test_labels_that_could_mean_two_things_are_refused(labels: list[str], says: str):
    with pytest.raises(DataError, match=rf"s\.csv: .*{says}"):
        cold_side(Path("s.csv"), DATASET, np.array(labels))
