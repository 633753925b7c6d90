"""What is later than what, by random times, and by hand at the cuts."""

import dataclasses

import numpy as np
import pytest
from split_data import dataset_of, letters, make_dataset

from cold_jax.errors import DataError
from cold_jax.splits.temporal import TemporalCold


@pytest.mark.parametrize("side", ["users", "items"])
def test_nothing_later_trains_and_what_is_cold_was_not_there_before(side: str):
    generator = np.random.default_rng(3)
    dataset = make_dataset()
    first = generator.permutation(len(dataset.users if side == "users" else dataset.items)) * 6.0
    entity_N = dataset.user_N if side == "users" else dataset.item_N
    dataset = dataclasses.replace(dataset, time_N=first[entity_N] + generator.exponential(40, len(dataset)))
    split = TemporalCold(side=side, validation_fraction=0.2, test_fraction=0.2, support=[0, 1])(dataset)
    start, end = np.quantile(dataset.time_N, [0.6, 0.8])
    assert (dataset.time_N[split.train_N] < start).all()
    assert set(np.flatnonzero(dataset.time_N < start)) == set(split.train_N)
    for label, low, high in (("cold_val", start, end), ("cold_test", end, np.inf)):
        of_N = split.part_N == label
        first_N = np.array([dataset.time_N[entity_N == x].min() for x in entity_N[of_N]])
        assert of_N.any()
        assert (first_N >= low).all()
        assert (first_N < high).all()
    later = {"warm_val": (start, end), "warm_test": (end, np.inf)} | ({} if side == "users" else {"cold_val": (start, end)})
    for label, (low, high) in later.items():
        assert ((dataset.time_N >= low) & (dataset.time_N < high))[split.part_N == label].all()


def test_a_side_is_one_of_two():
    with pytest.raises(ValueError, match=r"split\.side: 'shops' is neither users nor items"):
        TemporalCold(side="shops", validation_fraction=0.1, test_fraction=0.1, support=[0])


def test_interactions_at_a_cut_belong_to_the_later_side():
    pairs = ["ax", "ay", "bx", "by", "az", "bz", "bx", "bx", "cx", "dx", "ey"]
    dataset = dataset_of([(user, item, 1, float(time)) for time, (user, item) in enumerate(pairs)])
    split = TemporalCold(side="users", validation_fraction=0.1, test_fraction=0.1, support=[0])(dataset)
    assert np.quantile(dataset.time_N, [0.8, 0.9]).tolist() == [8, 9]
    assert split.part_N.tolist() == ["train"] * 8 + ["cold_val", "cold_test", "cold_test"]


def test_known_users_and_items_at_a_cut_are_warm():
    pairs, times = ["ax", "ay", "bz", "bw", "ax", "ay", "bx", "dx", "az", "aw", "cx"], [0, 1, 2, 3, 4, 5, 7, 7, 8, 9, 10]
    dataset = dataset_of([(user, item, 1, time) for time, (user, item) in zip(times, pairs, strict=True)])
    split = TemporalCold(side="users", validation_fraction=0.2, test_fraction=0.1, support=[0])(dataset)
    assert np.quantile(dataset.time_N, [0.7, 0.9]).tolist() == [7, 9]
    assert split.part_N.tolist() == ["train"] * 6 + ["warm_val", "cold_val", "warm_val", "warm_test", "cold_test"]


def test_of_cold_items_only_known_users_count():
    pairs, times = ["ax", "ay", "bx", "by", "ax", "ay", "az", "cz", "bz", "bw", "cw"], [0, 1, 2, 3, 4, 5, 6, 6, 8, 9, 10]
    dataset = dataset_of([(user, item, 1, time) for time, (user, item) in zip(times, pairs, strict=True)])
    split = TemporalCold(side="items", validation_fraction=0.2, test_fraction=0.2, support=[0])(dataset)
    assert np.quantile(dataset.time_N, [0.6, 0.8]).tolist() == [6, 8]
    # z is first seen at the first cut, and so is c, whose interactions are not used; b's z at 8 is of the test's time, and not used either
    assert split.part_N.tolist() == ["train"] * 6 + ["cold_val", "", "", "cold_test", ""]
    assert letters(dataset, split.test["cold"]) == {"b": ("xy", "w")}


def test_times_that_are_all_the_same_are_refused():
    with pytest.raises(DataError, match=r"split: all interactions have the same time, so none is later; .* data\.time"):
        TemporalCold(side="users", validation_fraction=0.1, test_fraction=0.1, support=[0])(
            dataset_of([("a", "x", 1, 0), ("b", "y", 1, 0)])
        )
