"""Splits strictly in time: what comes later is hidden from training."""

from dataclasses import dataclass

import numpy as np

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import first_seen
from cold_jax.errors import DataError
from cold_jax.ranges import require
from cold_jax.splits.assemble import Split, assemble, over_positives
from cold_jax.splits.checks import require_sizes
from cold_jax.splits.labels import UNUSED, Cold


@dataclass(frozen=True)
class TemporalCold:
    """Users, or items, first seen at or after a moment are cold, and nothing at or after that moment trains.

    In the order of time, the last `test_fraction` of all interactions are the test's and the `validation_fraction` before them validation's;
    interactions at the very moment of a cut belong to the later side. A cold user's history is their own first items. Targets among cold
    items are those of known users, whoever else took them is not used. Later interactions of known users with known items are warm.
    """

    side: str  # users or items
    validation_fraction: float
    test_fraction: float
    support: list[int]

    def __post_init__(self) -> None:
        if self.side not in ("users", "items"):
            raise ValueError(f"split.side: {self.side!r} is neither users nor items")
        require("split", self, fractions=["validation_fraction", "test_fraction"])
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"split.test_fraction: {self.test_fraction} and split.validation_fraction {self.validation_fraction} leave no training"
            )
        require_sizes(support=self.support)
        object.__setattr__(self, "support", tuple(self.support))

    def __call__(self, dataset: Dataset) -> Split:
        return over_positives(dataset, self._split)

    def _split(self, dataset: Dataset) -> Split:
        if len(dataset) and dataset.time_N.min() == dataset.time_N.max():
            raise DataError("split: all interactions have the same time, so none is later; name the column of times in data.time")
        # rounded, since 1 - .2 - .2 is a little more than .6, and so would be the time that it cuts at
        fractions = np.round([1 - self.validation_fraction - self.test_fraction, 1 - self.test_fraction], 9)
        start, end = np.quantile(dataset.time_N, fractions)
        user_N, item_N = (first_seen(x_N, dataset.time_N)[x_N] for x_N in (dataset.user_N, dataset.item_N))
        first_N, known_N = user_N if self.side == "users" else item_N, user_N < start
        stage_N = np.where(dataset.time_N < end, "val", "test")
        first_stage_N = np.where(first_N < end, "val", "test")
        cold_N = first_N >= start if self.side == "users" else (first_N >= start) & known_N & (stage_N == first_stage_N)
        part_N = np.where(dataset.time_N < start, "train", UNUSED)
        part_N = np.where((part_N == UNUSED) & known_N & (item_N < start), np.char.add("warm_", stage_N), part_N)
        part_N = np.where(cold_N, np.char.add("cold_", first_stage_N), part_N)
        return assemble(dataset, part_N, Cold.users if self.side == "users" else Cold.items, self.support)
