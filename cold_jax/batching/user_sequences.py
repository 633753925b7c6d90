"""Batches of whole users: every prefix of a sequence predicts what comes next, among the items of the step's users."""

from dataclasses import dataclass

import numpy as np

from cold_jax import seeds
from cold_jax.batching.batch import (
    Batch,
    Batching,
    BatchInputs,
    Examples,
    Items,
    TargetBatches,
    recent_items,
    row_count,
)
from cold_jax.ranges import require


@dataclass(frozen=True)
class UserSequences(Batching):
    """An epoch takes the users in random order, with all their targets: the items that they had not taken before, but for the first.

    So a text that a step encodes is a target, an item of several histories and a negative of the other users. size: targets per step.
    history: how many of the newest items are given in order. negatives: items sampled in addition, uniformly from the warm ones.
    """

    size: int
    history: int
    negatives: int

    def __post_init__(self) -> None:
        require("batching", self, at_least_1=["size", "history"], at_least_0=["negatives"])

    def __call__(self, inputs: BatchInputs) -> "UserSequenceBatches":
        return UserSequenceBatches(self, inputs)


class UserSequenceBatches(TargetBatches):
    """`batches(step)` is the step's batch; an epoch visits every target once."""

    def __init__(self, batching: UserSequences, inputs: BatchInputs):
        train = inputs.train
        self.first_N = np.searchsorted(train.user_N, train.user_N)
        row_N = np.arange(len(train.user_N))
        pair_N = train.user_N.astype(np.int64) * len(train.items) + train.item_N
        new_N = np.isin(row_N, np.unique(pair_N, return_index=True)[1])  # a repeated item is not ranked in the test either
        super().__init__(batching.size, inputs, np.flatnonzero(new_N & (self.first_N < row_N)))
        self.batching = batching
        self.count_I = np.bincount(train.item_N, minlength=len(train.items))
        self.trained_I = np.flatnonzero(self.count_I)
        # A user with t targets has t + 1 items and more; the first one may have begun in the step before, with a history of its own
        needed = 2 * batching.size + batching.history
        self.capacity = min(needed + batching.negatives, len(self.trained_I))
        self.multiple = max(row_count(self(step).rows) for step in range(32))  # as in SampledBatches

    def _order(self, epoch: int) -> np.ndarray:
        position_U = seeds.generator(self.seed, "order of users", epoch).permutation(len(self.train.users))
        return self.target_N[np.argsort(position_U[self.train.user_N[self.target_N]], kind="stable")]

    def __call__(self, step: int) -> Batch:
        row_B, train = self._targets(step, self.batching.size), self.train
        user_B, target_B = train.user_N[row_B], train.item_N[row_B]
        before_B = np.minimum(row_B - self.first_N[row_B], self.batching.history)
        row_N = np.repeat(np.arange(len(row_B)), before_B)
        position_N = np.arange(len(row_N)) - np.repeat(np.cumsum(before_B) - before_B, before_B) + 1
        history_N = train.item_N[row_B[row_N] - position_N]
        draw = seeds.generator(self.seed, "draw", step)
        more_N = draw.choice(self.trained_I, min(self.batching.negatives, len(self.trained_I)), replace=False)
        item_J = np.unique(np.concatenate([target_B, history_N, more_N]))[: self.capacity]
        user_T, profile_B = np.unique(user_B, return_inverse=True)
        rows, slot_T = self.place_texts(np.concatenate([user_T, len(train.users) + item_J]), self.multiple)

        column_N = np.searchsorted(item_J, history_N)
        history_BJ = np.zeros((self.size, self.capacity), np.float32)
        history_BJ[row_N, column_N] = 1
        seen_BJ = np.zeros((self.size, self.capacity), bool)
        seen_BJ[: len(row_B), : len(item_J)] = train.interaction_UI[user_B][:, item_J].toarray() > 0
        examples = Examples(
            user_B=self._pad(user_B, np.int32),
            profile_B=self._pad(slot_T[profile_B], np.int32),
            length_B=self._pad(self.length_T[user_B], np.int32),
            target_B=self._pad(np.searchsorted(item_J, target_B), np.int32),
            history_BJ=history_BJ,
            seen_BJ=seen_BJ,
            value_B=self._pad(train.value_N[row_B], np.float32),
            weight_B=self._pad(np.ones(len(row_B)), np.float32),
            recent_BK=recent_items(position_N, row_N, column_N, (self.size, self.batching.history)),
        )
        padding = (0, self.capacity - len(item_J))
        items = Items(
            item_J=np.pad(item_J, padding).astype(np.int32),
            slot_J=np.pad(slot_T[len(user_T) :], padding).astype(np.int32),
            length_J=np.pad(self.length_T[len(train.users) + item_J], padding).astype(np.int32),
            valid_J=np.arange(self.capacity) < len(item_J),
            log_q_J=np.pad(np.log(self.count_I[item_J] / len(train.item_N)), padding).astype(np.float32),
        )
        return Batch(rows, examples, items)
