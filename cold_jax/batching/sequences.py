"""Batches of sequences: every interaction after a user's first is a target, all before it are its history."""

from dataclasses import dataclass

import numpy as np

from cold_jax.batching.batch import (
    Batch,
    Batching,
    BatchInputs,
    Items,
    TargetBatches,
    recent_items,
    row_count,
)
from cold_jax.ranges import require
from cold_jax.text.packing import Rows


@dataclass(frozen=True)
class SequenceBatching(Batching):
    """Every training interaction but a user's first is a target; its history is all that came before it.

    A step scores all items. history: how many of the newest items are given in order. cold_negatives: whether items without a training
    interaction are negatives too; if not, the softmax leaves them out.
    """

    size: int
    history: int
    cold_negatives: bool

    def __post_init__(self) -> None:
        require("batching", self, at_least_1=["size", "history"])

    def __call__(self, inputs: BatchInputs) -> "SequenceBatches":
        return SequenceBatches(self, inputs)


class SequenceBatches(TargetBatches):
    """`batches(step)` is the step's batch; an epoch visits every training interaction that has one before it once."""

    def __init__(self, batching: SequenceBatching, inputs: BatchInputs):
        user_N = inputs.train.user_N
        self.first_N = np.searchsorted(user_N, user_N)
        super().__init__(batching.size, inputs, np.flatnonzero(self.first_N < np.arange(len(user_N))))
        self.batching = batching
        self.multiple = max(
            row_count(self._texts(self._targets(step, batching.size))[0]) for step in range(32)
        )  # as in SampledBatches

    def _texts(self, row_B: np.ndarray) -> tuple[Rows | np.ndarray, np.ndarray, np.ndarray]:
        """(rows with the users' texts and all items', slots of the users' texts, slots of the items')."""
        user_T, profile_B = np.unique(self.train.user_N[row_B], return_inverse=True)
        item_T = len(self.train.users) + np.arange(len(self.train.items))
        rows, slot_T = self.place_texts(np.concatenate([user_T, item_T]), self.multiple)
        return rows, slot_T[profile_B], slot_T[len(user_T) :]

    def __call__(self, step: int) -> Batch:
        row_B, I = self._targets(step, self.batching.size), len(self.train.items)
        rows, profile_B, slot_I = self._texts(row_B)
        row_N, position_N, item_N = self._earlier(row_B, row_B - self.first_N[row_B])
        history_BI = np.zeros((self.size, I), np.float32)
        history_BI[row_N, item_N] = 1
        recent_BK = recent_items(position_N, row_N, item_N, (self.size, self.batching.history))
        examples = self._examples(row_B, profile_B, self.train.item_N[row_B], history_BI, history_BI > 0, recent_BK)
        all_I = np.arange(I)
        items = Items(
            item_J=all_I.astype(np.int32),
            slot_J=slot_I.astype(np.int32),
            length_J=self.length_T[len(self.train.users) + all_I].astype(np.int32),
            valid_J=np.full(I, True) if self.batching.cold_negatives else self.train.warm_I,
            log_q_J=np.zeros(I, np.float32),
        )
        return Batch(rows, examples, items)
