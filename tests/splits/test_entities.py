"""Recipes by their counts."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from split_data import (
    BOTH_COLD,
    ITEM_COLD,
    KINDS,
    USER_COLD,
    make_dataset,
)

from cold_jax.splits.assemble import split_digest
from cold_jax.splits.labels import KNOWN


@pytest.mark.parametrize("side", ["user", "item"])
def test_the_recipe_is_coldrecs(side: str):
    dataset = make_dataset(users=300, items=200)  # some occur once or twice
    split = dataclasses.replace(USER_COLD, support=[0])(dataset) if side == "user" else ITEM_COLD(dataset)
    entity_N = getattr(dataset, f"{side}_N")
    entities = {part: set(entity_N[split.part_N == part]) for part in ("train", "warm_val", "warm_test", "cold_val", "cold_test")}
    count = len(set(entity_N))
    warm = entities["train"] | entities["warm_val"] | entities["warm_test"]
    assert len(warm) == int(0.8 * count)
    assert len(entities["cold_val"]) == (count - len(warm)) // 2
    assert len(entities["cold_test"]) == count - len(warm) - len(entities["cold_val"])
    assert not warm & (entities["cold_val"] | entities["cold_test"])
    assert not entities["cold_val"] & entities["cold_test"]

    rows = Counter(split.part_N.tolist())
    tenth = (rows["train"] + rows["warm_val"] + rows["warm_test"]) // 10
    assert 0.7 * tenth <= rows["warm_val"] < tenth  # some moved back, so that
    assert 0.7 * tenth <= rows["warm_test"] < tenth
    for known_N in (dataset.user_N, dataset.item_N):  # what is warm occurs in training
        held_out_N = np.isin(split.part_N, ["warm_val", "warm_test"])
        assert set(known_N[held_out_N]) <= set(known_N[split.part_N == "train"])


def test_both_cold_keeps_validation_and_test_apart_on_both_sides():
    dataset, split = make_dataset(), BOTH_COLD(make_dataset())
    for entity_N, kinds in ((dataset.user_N, ("users", "both")), (dataset.item_N, ("items", "both"))):
        val, test = (set(entity_N[np.isin(split.part_N, [f"cold_{kind}_{of}" for kind in kinds])]) for of in ("val", "test"))
        assert val
        assert test
        assert not val & test
        assert not (val | test) & set(entity_N[np.isin(split.part_N, KNOWN)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_is_a_function_of_data_and_seed(kind: str):
    dataset = make_dataset()
    digest = split_digest(KINDS[kind](dataset))
    assert split_digest(KINDS[kind](make_dataset())) == digest
    assert split_digest(dataclasses.replace(KINDS[kind], seed=43)(dataset)) != digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cold_fraction": 1.5}, "split.cold_fraction: 1.5 is not a fraction"),
        ({"holdout_fraction": -0.1}, "split.holdout_fraction: -0.1 is not a fraction"),
        ({"support": []}, "split.support"),
        ({"support": [1, 1]}, "split.support"),
        ({"support": [-1]}, "split.support"),
    ],
)
def test_settings_are_checked_by_name(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(USER_COLD, **change)
