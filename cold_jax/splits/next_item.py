"""Leave-one-out over sequences."""

from dataclasses import dataclass

import numpy as np

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import order
from cold_jax.splits.assemble import Split, assemble
from cold_jax.splits.labels import NEXT, Cold


@dataclass(frozen=True)
class NextItem:
    """Leave-one-out over sequences: a user's last interaction is the test, the one before it validation (Kang & McAuley, ICDM 2018).

    Users with fewer than three only train. exclude_seen: earlier items are not ranked (SASRec, S3-Rec), else they are (TIGER, LIGER).
    cold_window: see `parts.next_items`.
    """

    exclude_seen: bool
    cold_window: int | None

    def __post_init__(self) -> None:
        if self.cold_window is not None and self.cold_window < 3:
            raise ValueError(f"split.cold_window: {self.cold_window} leaves no training interaction: give 3 or more, or null")

    def __call__(self, dataset: Dataset) -> Split:
        length_N = np.bincount(dataset.user_N)[dataset.user_N]
        end_N = length_N - order(dataset.user_N, dataset.time_N)
        part_N = np.where((end_N > 2) | (length_N < 3), "train", np.where(end_N == 2, *NEXT))
        return assemble(dataset, part_N, Cold.none, exclude_seen=self.exclude_seen, window=self.cold_window)
