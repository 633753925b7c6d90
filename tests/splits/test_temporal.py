"""What is later than what, by times that are drawn."""

import dataclasses

import numpy as np
import pytest
from test_entities import make_dataset

from cold_jax.splits.temporal import TemporalCold


@pytest.mark.parametrize("side", ["users", "items"])
def test_nothing_later_trains_and_what_is_cold_was_not_there_before(side: str):
    generator = np.random.default_rng(3)
    dataset = make_dataset()
    born = generator.permutation(len(dataset.users if side == "users" else dataset.items)) * 6.0
    entity_N = dataset.user_N if side == "users" else dataset.item_N
    dataset = dataclasses.replace(dataset, time_N=born[entity_N] + generator.exponential(40, len(dataset)))
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
