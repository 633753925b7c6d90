"""Splits that make random users or items cold (the recipe of ColdRec, data/split.py).

Entities are warm or cold at random, the cold ones are divided into validation and test, and some of the warm ones' interactions are held out.
"""

from dataclasses import dataclass, replace

import numpy as np

from cold_jax import seeds
from cold_jax.data.dataset import Dataset
from cold_jax.ranges import require
from cold_jax.splits.assemble import Split, assemble, first_seen_users, over_positives
from cold_jax.splits.checks import require_sizes
from cold_jax.splits.labels import COLD_ITEMS, COLD_USERS, UNUSED, Cold
from cold_jax.splits.pointwise import pointwise_tasks


def _sample_cold(
    entity_N: np.ndarray, count: int, cold_fraction: float, validation_fraction: float, generator: np.random.Generator
) -> np.ndarray:
    """0 for a warm entity, 1 for a cold one of validation, 2 of test; entities without interactions are left out, as 0."""
    shuffled = generator.permutation(np.unique(entity_N))
    warm = int((1 - cold_fraction) * len(shuffled))
    test = warm + int(validation_fraction * (len(shuffled) - warm))  # the first of the test's
    kind_X = np.zeros(count, np.int64)
    kind_X[shuffled[warm:test]], kind_X[shuffled[test:]] = 1, 2
    return kind_X


def _hold_out(dataset: Dataset, part_N: np.ndarray, holdout_fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Turns some of the labels "train" into warm_val and warm_test, half and half."""
    index_N = generator.permutation(np.flatnonzero(part_N == "train"))
    count = int(holdout_fraction / 2 * len(index_N))
    part_N[index_N[:count]], part_N[index_N[count : 2 * count]] = "warm_val", "warm_test"
    for label in ("warm_val", "warm_test"):  # a warm entity keeps a training interaction
        for entity_N in (dataset.user_N, dataset.item_N):
            part_N[(part_N == label) & ~np.isin(entity_N, entity_N[part_N == "train"])] = "train"
    return part_N


@dataclass(frozen=True)
class UserCold:
    """Users are cold; a cold user's history is their k earliest interactions."""

    seed: int
    cold_fraction: float  # of the users
    validation_fraction: float  # of the cold users
    holdout_fraction: float  # of the warm users' interactions: half for validation, half for the test
    support: list[int]  # each k
    use_first_seen: bool  # the time of a user's first interaction is given to methods as context

    def __post_init__(self) -> None:
        require("split", self, fractions=["cold_fraction", "validation_fraction", "holdout_fraction"])
        require_sizes(support=self.support)
        object.__setattr__(self, "support", tuple(self.support))

    def __call__(self, dataset: Dataset) -> Split:
        split = over_positives(dataset, self._split)
        return replace(split, first_seen_U=first_seen_users(dataset)) if self.use_first_seen else split

    def _split(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_U = _sample_cold(dataset.user_N, len(dataset.users), self.cold_fraction, self.validation_fraction, generator)
        part_N = np.array(["train", "cold_val", "cold_test"])[kind_U[dataset.user_N]]
        return assemble(dataset, _hold_out(dataset, part_N, self.holdout_fraction, generator), Cold.users, self.support)


@dataclass(frozen=True)
class ItemCold:
    """Items are cold."""

    seed: int
    cold_fraction: float  # of the items
    validation_fraction: float  # of the cold items
    holdout_fraction: float  # of the warm items' interactions: half for validation, half for the test
    threshold: (
        float | None
    )  # the value from which a row has label 1: held-out rows are scored, nothing is ranked; null: the reverse

    def __post_init__(self) -> None:
        require("split", self, fractions=["cold_fraction", "validation_fraction", "holdout_fraction"])

    def __call__(self, dataset: Dataset) -> Split:
        return over_positives(dataset, self._split) if self.threshold is None else self._split(dataset)

    def _split(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_I = _sample_cold(dataset.item_N, len(dataset.items), self.cold_fraction, self.validation_fraction, generator)
        part_N = np.array(["train", "cold_val", "cold_test"])[kind_I[dataset.item_N]]
        part_N = _hold_out(dataset, part_N, self.holdout_fraction, generator)
        return assemble(dataset, part_N, Cold.items, threshold=self.threshold, ranked=self.threshold is None)


@dataclass(frozen=True)
class BothCold:
    """Users and items are cold, sampled independently. Interactions of a validation user with a test item, or the reverse, are not used."""

    seed: int
    cold_fraction: float  # of the users, and of the items
    validation_fraction: float  # of the cold ones
    holdout_fraction: float  # of the interactions of warm users with warm items: half for validation, half for the test
    both_support: int  # earliest interactions with known items that are a cold user's history

    def __post_init__(self) -> None:
        require("split", self, fractions=["cold_fraction", "validation_fraction", "holdout_fraction"])
        require_sizes(both_support=[self.both_support])

    def __call__(self, dataset: Dataset) -> Split:
        return over_positives(dataset, self._split)

    def _split(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_U = _sample_cold(dataset.user_N, len(dataset.users), self.cold_fraction, self.validation_fraction, generator)
        kind_I = _sample_cold(dataset.item_N, len(dataset.items), self.cold_fraction, self.validation_fraction, generator)
        label = np.array(
            [["train", *COLD_ITEMS[:2]], [COLD_USERS[0], COLD_USERS[2], UNUSED], [COLD_USERS[1], UNUSED, COLD_USERS[3]]]
        )
        part_N = label[kind_U[dataset.user_N], kind_I[dataset.item_N]]
        return assemble(
            dataset, _hold_out(dataset, part_N, self.holdout_fraction, generator), Cold.both, both_support=self.both_support
        )


@dataclass(frozen=True)
class Warm:
    """Nothing is cold: held-out interactions are ranked, and scored as rows; or only scored."""

    seed: int
    holdout_fraction: float  # of the interactions: half for validation, half for the test
    threshold: float | None  # the value from which a row has label 1; null: no rows are scored
    ranked: bool  # false: rows are scored, nothing is ranked

    def __post_init__(self) -> None:
        require("split", self, fractions=["holdout_fraction"])

    def __call__(self, dataset: Dataset) -> Split:
        return over_positives(dataset, self._split) if self.ranked else self._split(dataset)

    def _split(self, dataset: Dataset) -> Split:
        part_N = np.full(len(dataset), "train", "<U9")
        part_N = _hold_out(dataset, part_N, self.holdout_fraction, seeds.generator(self.seed, "split"))
        split = assemble(dataset, part_N, Cold.none, threshold=self.threshold, ranked=self.ranked)
        if self.ranked:
            return split
        known = pointwise_tasks(dataset, part_N, self.threshold or 0, ["train"])
        return replace(split, test={**split.test, **({"train": known["all"]} if known else {})})
