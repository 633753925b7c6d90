"""In-batch sampling: users with one of their items as the target, and the support, the negatives beside it."""

from dataclasses import dataclass

import numpy as np

from cold_jax import seeds
from cold_jax.batching.batch import Batch, Examples, Items, TargetBatches, TextPlacer, _row_count
from cold_jax.splits.tasks import TrainView


@dataclass(frozen=True)
class InBatchSampling:
    """What a step draws.

    size       examples, each a user with one of his training items as the target
    support    sizes of the support, of which one is drawn for each example; empty: all his other training items
    history    at most so many items of a support are encoded, weighted up to the whole; null: all of them
    negatives  items drawn in addition, uniformly over the warm ones
    full_softmax  every warm item stands in every step
    group_by_item    an epoch deals out items with all that they have, so that a step encodes few texts
    """

    size: int
    support: list[int]
    history: int | None
    negatives: int
    full_softmax: bool
    group_by_item: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "support", tuple(self.support))
        if self.size < 1:
            raise ValueError(f"batching.size: {self.size} is not a batch size; give 1 or more")

    def __call__(
        self, train: TrainView, length_T: np.ndarray, place: TextPlacer, seed: int, multiple: int, devices: int
    ) -> "SampledBatches":
        return SampledBatches(self, train, length_T, place, seed, multiple, devices)


class SampledBatches(TargetBatches):
    """`batches(step)` is the step's batch. An epoch is a permutation of all training interactions."""

    def __init__(
        self,
        batching: InBatchSampling,
        train: TrainView,
        length_T: np.ndarray,
        place: TextPlacer,
        seed: int,
        multiple: int,
        devices: int,
    ):
        """`length_T` counts the tokens of the users' texts, then of the items'; rows come in multiples of `multiple`, examples of `devices`."""
        super().__init__(batching.size, train, length_T, place, seed, devices, np.arange(len(train.user_N)))
        self.batching = batching
        self.offset_U = np.searchsorted(train.user_N, np.arange(len(train.users) + 1))
        self.count_I = np.bincount(train.item_N, minlength=len(train.items))
        self.trained_I = np.flatnonzero(self.count_I)
        shown = max(batching.support, default=batching.history or len(self.trained_I))
        wanted = len(self.trained_I) if batching.full_softmax else batching.size * (1 + shown) + batching.negatives
        self.capacity = min(wanted, len(self.trained_I))
        # One compiled shape: room for the fullest of some batches. A fuller one gets twice the room, and is compiled once more.
        self.multiple = multiple
        self.multiple = max(_row_count(self(step).rows) for step in range(32))

    def __call__(self, step: int) -> Batch:
        row_B = self._rows(step, self.batching.size)
        user_B, target_B = self.train.user_N[row_B], self.train.item_N[row_B]
        draw = seeds.generator(self.seed, "draw", step)
        supports = [self._support(draw, row) for row in row_B]
        item_J = self._items(draw, np.concatenate([target_B, *(items for items, _ in supports)]))
        user_T, profile_B = np.unique(user_B, return_inverse=True)
        rows, slot_T = self.place(np.concatenate([user_T, len(self.train.users) + item_J]), self.multiple)

        history_BJ = np.zeros((self.size, self.capacity), np.float32)
        for b, (items, weight) in enumerate(supports):
            history_BJ[b, np.searchsorted(item_J, items)] = weight
        seen_BJ = np.zeros((self.size, self.capacity), bool)
        seen_BJ[: len(row_B), : len(item_J)] = self.train.interaction_UI[user_B][:, item_J].toarray() > 0
        examples = Examples(
            user_B=self._fill(user_B, np.int32),
            profile_B=self._fill(slot_T[profile_B], np.int32),
            length_B=self._fill(self.length_T[user_B], np.int32),
            target_B=self._fill(np.searchsorted(item_J, target_B), np.int32),
            history_BJ=history_BJ,
            seen_BJ=seen_BJ,
            value_B=self._fill(self.train.value_N[row_B], np.float32),
            weight_B=self._fill(np.ones(len(row_B)), np.float32),
        )
        log_q_J = np.zeros(len(item_J)) if self.batching.full_softmax else np.log(self.count_I[item_J] / len(self.train.item_N))
        at = (0, self.capacity - len(item_J))
        items = Items(
            item_J=np.pad(item_J, at).astype(np.int32),
            slot_J=np.pad(slot_T[len(user_T) :], at).astype(np.int32),
            length_J=np.pad(self.length_T[len(self.train.users) + item_J], at).astype(np.int32),
            valid_J=np.arange(self.capacity) < len(item_J),
            log_q_J=np.pad(log_q_J, at).astype(np.float32),
        )
        return Batch(rows, examples, items)

    def _order(self, epoch: int) -> np.ndarray:
        order_N = super()._order(epoch)
        if not self.batching.group_by_item:
            return order_N
        position_I = seeds.generator(self.seed, "order of items", epoch).permutation(len(self.train.items))
        return order_N[np.argsort(position_I[self.train.item_N[order_N]], kind="stable")]

    def _support(self, draw: np.random.Generator, row: int) -> tuple[np.ndarray, float]:
        """Items that the example shows of its user, less the target, and the weight of each."""
        first, last = self.offset_U[self.train.user_N[row] : self.train.user_N[row] + 2]
        others = self.train.item_N[first:last]
        others = others[others != self.train.item_N[row]]
        sizes = self.batching.support
        count = min(sizes[draw.integers(len(sizes))], len(others)) if sizes else len(others)
        kept = count if self.batching.history is None else min(count, self.batching.history)
        return draw.permutation(others)[:kept], count / max(kept, 1)

    def _items(self, draw: np.random.Generator, needed: np.ndarray) -> np.ndarray:
        if self.batching.full_softmax:
            return self.trained_I
        room = min(self.batching.negatives, len(self.trained_I))
        return np.unique(np.concatenate([needed, draw.choice(self.trained_I, room, replace=False)]))
