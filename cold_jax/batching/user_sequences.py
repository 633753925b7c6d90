"""Batches of whole users: every prefix of a sequence predicts what comes next, among the items of the step's users."""

from dataclasses import dataclass

import numpy as np

from cold_jax import seeds
from cold_jax.batching.batch import Batch, Batching, BatchInputs, SomeItemsBatches, recent_items, row_count
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


class UserSequenceBatches(SomeItemsBatches):
    """`batches(step)` is the step's batch; an epoch visits every target once."""

    def __init__(self, batching: UserSequences, inputs: BatchInputs):
        train = inputs.train
        self.first_N = np.searchsorted(train.user_N, train.user_N)
        row_N = np.arange(len(train.user_N))
        pair_N = train.user_N.astype(np.int64) * len(train.items) + train.item_N
        new_N = np.isin(row_N, np.unique(pair_N, return_index=True)[1])  # a repeated item is not ranked in the test either
        super().__init__(batching.size, inputs, np.flatnonzero(new_N & (self.first_N < row_N)))
        self.batching = batching
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
        row_N, position_N, history_N = self._earlier(row_B, before_B)
        draw = seeds.generator(self.seed, "draw", step)
        more_N = draw.choice(self.trained_I, min(self.batching.negatives, len(self.trained_I)), replace=False)
        item_J = np.unique(np.concatenate([target_B, history_N, more_N]))[: self.capacity]
        user_T, profile_B = np.unique(user_B, return_inverse=True)
        rows, slot_T = self.place_texts(np.concatenate([user_T, len(train.users) + item_J]), self.multiple)

        column_N = np.searchsorted(item_J, history_N)
        history_BJ = np.zeros((self.size, self.capacity), np.float32)
        history_BJ[row_N, column_N] = 1
        seen_BJ = self._seen(user_B, item_J)
        recent_BK = recent_items(position_N, row_N, column_N, (self.size, self.batching.history))
        examples = self._examples(row_B, slot_T[profile_B], np.searchsorted(item_J, target_B), history_BJ, seen_BJ, recent_BK)
        return Batch(rows, examples, self._padded_items(item_J, slot_T[len(user_T) :], self._log_q(item_J)))
