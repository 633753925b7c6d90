"""Splits that draw users or items cold (the recipe of ColdRec, data/split.py)."""

from dataclasses import dataclass, replace

import numpy as np

from cold_jax import seeds
from cold_jax.data.dataset import Dataset
from cold_jax.splits.assemble import Split, assemble, first_seen_users
from cold_jax.splits.checks import require_fractions, require_sizes
from cold_jax.splits.labels import OF_ITEMS, OF_USERS, Cold
from cold_jax.splits.pointwise import pointwise_tasks


def _draw(entity_N: np.ndarray, count: int, cold: float, validation: float, generator: np.random.Generator) -> np.ndarray:
    """0 for a warm entity, 1 for a cold one of validation, 2 of test; those without interactions stay out, as 0."""
    drawn = generator.permutation(np.unique(entity_N))
    warm = int((1 - cold) * len(drawn))
    asked = warm + int(validation * (len(drawn) - warm))
    kind_X = np.zeros(count, np.int64)
    kind_X[drawn[warm:asked]], kind_X[drawn[asked:]] = 1, 2
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
    """Users are cold. Shares: `cold` of the users, `validation` of the cold ones, `holdout_fraction` of the warm ones' interactions."""

    seed: int
    cold_fraction: float
    validation_fraction: float
    holdout_fraction: float
    support: list[int]
    use_first_seen: bool  # when a user came is known when he is served, and told as context

    def __post_init__(self) -> None:
        require_fractions(
            cold_fraction=self.cold_fraction, validation_fraction=self.validation_fraction, holdout_fraction=self.holdout_fraction
        )
        require_sizes(support=self.support)
        object.__setattr__(self, "support", tuple(self.support))

    def __call__(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_U = _draw(dataset.user_N, len(dataset.users), self.cold_fraction, self.validation_fraction, generator)
        part_N = np.array(["train", "cold_val", "cold_test"])[kind_U[dataset.user_N]]
        split = assemble(dataset, _hold_out(dataset, part_N, self.holdout_fraction, generator), Cold.users, self.support)
        return replace(split, first_seen_U=first_seen_users(dataset)) if self.use_first_seen else split


@dataclass(frozen=True)
class ItemCold:
    """Items are cold. Shares: `cold` of the items, `validation` of the cold ones, `holdout_fraction` of the warm ones' interactions.

    Where there is a threshold, nothing is ranked: held-out rows are scored, of label 1 from it on.
    """

    seed: int
    cold_fraction: float
    validation_fraction: float
    holdout_fraction: float
    threshold: float | None

    def __post_init__(self) -> None:
        require_fractions(
            cold_fraction=self.cold_fraction, validation_fraction=self.validation_fraction, holdout_fraction=self.holdout_fraction
        )

    def __call__(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_I = _draw(dataset.item_N, len(dataset.items), self.cold_fraction, self.validation_fraction, generator)
        part_N = np.array(["train", "cold_val", "cold_test"])[kind_I[dataset.item_N]]
        part_N = _hold_out(dataset, part_N, self.holdout_fraction, generator)
        return assemble(dataset, part_N, Cold.items, threshold=self.threshold, ranked=self.threshold is None)


@dataclass(frozen=True)
class BothCold:
    """Users and items are cold, drawn apart. What a validation user has with a cold test item, or the reverse, is not used."""

    seed: int
    cold_fraction: float
    validation_fraction: float
    holdout_fraction: float
    both_support: int

    def __post_init__(self) -> None:
        require_fractions(
            cold_fraction=self.cold_fraction, validation_fraction=self.validation_fraction, holdout_fraction=self.holdout_fraction
        )
        require_sizes(both_support=[self.both_support])

    def __call__(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_U = _draw(dataset.user_N, len(dataset.users), self.cold_fraction, self.validation_fraction, generator)
        kind_I = _draw(dataset.item_N, len(dataset.items), self.cold_fraction, self.validation_fraction, generator)
        label = np.array([["train", *OF_ITEMS[:2]], [OF_USERS[0], OF_USERS[2], ""], [OF_USERS[1], "", OF_USERS[3]]])
        part_N = label[kind_U[dataset.user_N], kind_I[dataset.item_N]]
        return assemble(
            dataset, _hold_out(dataset, part_N, self.holdout_fraction, generator), Cold.both, both_support=self.both_support
        )


@dataclass(frozen=True)
class Warm:
    """Nothing is cold: `holdout_fraction` of the interactions is asked for, ranked or only as given rows, of label 1 from the threshold on."""

    seed: int
    holdout_fraction: float
    threshold: float | None
    ranked: bool

    def __post_init__(self) -> None:
        require_fractions(holdout_fraction=self.holdout_fraction)

    def __call__(self, dataset: Dataset) -> Split:
        part_N = np.full(len(dataset), "train", "<U9")
        part_N = _hold_out(dataset, part_N, self.holdout_fraction, seeds.generator(self.seed, "split"))
        split = assemble(dataset, part_N, Cold.none, threshold=self.threshold, ranked=self.ranked)
        if self.ranked:
            return split
        known = pointwise_tasks(dataset, part_N, self.threshold or 0, ["train"])
        return replace(split, test={**split.test, **({"train": known["all"]} if known else {})})
