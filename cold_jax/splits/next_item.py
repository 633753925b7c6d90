"""Leave-one-out over sequences."""

from dataclasses import dataclass

import numpy as np

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import order
from cold_jax.errors import DataError
from cold_jax.splits.assemble import Split, assemble, over_positives
from cold_jax.splits.labels import NEXT, Cold


@dataclass(frozen=True)
class NextItem:
    """Leave-one-out over sequences: a user's last interaction is the test, the one before it validation (Kang & McAuley, ICDM 2018).

    Users with fewer than three only train. Raises DataError where all have.
    """

    exclude_seen: bool  # true: earlier items are not ranked (SASRec, S3-Rec); false: they are (TIGER, LIGER)
    cold_window: int | None  # see `splits.sequences.next_item_tasks`

    def __post_init__(self) -> None:
        if self.cold_window is not None and self.cold_window < 3:
            raise ValueError(f"split.cold_window: {self.cold_window} leaves no training interaction: give 3 or more, or null")

    def __call__(self, dataset: Dataset) -> Split:
        return over_positives(dataset, self._split)

    def _split(self, dataset: Dataset) -> Split:
        length_N = np.bincount(dataset.user_N)[dataset.user_N]
        if not (length_N > 2).any():
            raise DataError("split: no user has three interactions or more, of which the last two are held out")
        place_N = length_N - order(dataset.user_N, dataset.time_N)  # from the end, 1 for the newest
        part_N = np.where((place_N > 2) | (length_N < 3), "train", np.where(place_N == 2, *NEXT))
        return assemble(dataset, part_N, Cold.none, exclude_seen=self.exclude_seen, window=self.cold_window)
