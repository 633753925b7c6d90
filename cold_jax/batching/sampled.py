"""In-batch sampling: each example is a user with a target item and a sampled support; other examples' items are negatives."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from cold_jax import seeds
from cold_jax.batching.batch import Batch, Batching, BatchInputs, SomeItemsBatches, row_count
from cold_jax.batching.hard_negatives import draw_hard_negatives, nearest_items
from cold_jax.errors import ConfigError
from cold_jax.ranges import require
from cold_jax.text.packing import Rows

KEPT = 2**26  # bytes of which users have seen which items


@dataclass(frozen=True)
class InBatchSampling(Batching):
    """What a step samples.

    size           examples, each a user with one of their training items as the target
    support        support sizes, one of which is drawn for each example; empty: all of the user's other training items
    history        at most this many items of a support are encoded, scaled up to the support's size; null: all of them
    negatives      items sampled in addition, uniformly from the warm ones
    full_softmax   every step scores every warm item
    group_by_item  an epoch takes the items in random order, each with all of its interactions, so that a step encodes few texts
    hard_negatives  items sampled for each example from the neighbours of its target in θ, whose numbers begin and end at `hard_range`;
                   hard_share: an attribute that these have in common with the target, as its brand; null: any
    user_power     users are drawn in proportion to their number of interactions to this power; 1: every interaction once an epoch. A metric
                   that is a mean over users weighs them equally, as 0 does
    earliest_support  a support is the user's earliest items, as it is for a new user, and the target comes later
    """

    size: int
    support: list[int]
    history: int | None
    negatives: int
    full_softmax: bool
    group_by_item: bool
    hard_negatives: int
    hard_range: list[int]
    hard_share: str | None
    user_power: float
    earliest_support: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "support", tuple(self.support))
        object.__setattr__(self, "hard_range", tuple(self.hard_range))
        require("batching", self, at_least_1=["size", "history"], at_least_0=["support", "negatives", "user_power"])
        require("batching", self, at_least_0=["hard_negatives", "hard_range"])
        if self.group_by_item and self.user_power != 1:
            raise ConfigError("batching.user_power: group_by_item takes every interaction once an epoch; set user_power to 1")
        if len(self.hard_range) != 2 or self.hard_range[0] >= self.hard_range[1]:
            raise ConfigError(
                f"batching.hard_range: {list(self.hard_range)} is not where it begins and where it ends, as in [10,50]"
            )
        if self.full_softmax and self.hard_negatives:
            raise ConfigError(
                "batching.hard_negatives: with full_softmax every item is a negative already; set one of the two to 0 or false"
            )

    def __call__(self, inputs: BatchInputs) -> "SampledBatches":
        return SampledBatches(self, inputs)


class _Drawn(NamedTuple):
    """What a step reads, without the matrices of its users and items."""

    row_B: np.ndarray  # the training interactions that are its targets
    supports: list[tuple[np.ndarray, float]]  # each example's items, and their weight
    item_J: np.ndarray
    user_T: np.ndarray  # each user once
    rows: Rows | np.ndarray
    slot_T: np.ndarray  # of the users' texts, then of the items'


class SampledBatches(SomeItemsBatches):
    """`batches(step)` is the step's batch; an epoch visits every training interaction once, or draws as many (user_power)."""

    def __init__(self, batching: InBatchSampling, inputs: BatchInputs):
        super().__init__(batching.size, inputs, np.arange(len(inputs.train.user_N)))
        self.batching, train = batching, inputs.train
        self.offset_U = np.searchsorted(train.user_N, np.arange(len(train.users) + 1))
        weight_U = np.diff(self.offset_U).astype(np.float64)
        with np.errstate(over="ignore"):
            weight_U[weight_U > 0] **= batching.user_power
        if not np.isfinite(weight_U.sum()):
            raise ConfigError(f"batching.user_power: {batching.user_power:g} is beyond what a float holds; give a smaller one")
        self.share_U = weight_U / weight_U.sum()
        largest = max(batching.support, default=batching.history or len(self.trained_I))
        of_example = 1 + largest + batching.hard_negatives
        wanted = len(self.trained_I) if batching.full_softmax else batching.size * of_example + batching.negatives
        self.near_IK = np.zeros((0, 0), int)
        if batching.hard_negatives:
            first, last = batching.hard_range
            if first >= len(self.trained_I) - 1:
                raise ConfigError(
                    f"batching.hard_range: it begins at {first}, and an item has {len(self.trained_I) - 1} others; begin earlier"
                )
            self.near_IK = nearest_items(train, self.trained_I, first, last, batching.hard_share)
            self.taken_N = np.unique(self._pairs(train.user_N, train.item_N))
        self.capacity = min(wanted, len(self.trained_I))
        # One compiled shape: room for the fullest of 32 batches. A fuller one is padded to twice that, and compiled once more.
        self.multiple = max(self._row_count(step) for step in range(32))

    def __call__(self, step: int) -> Batch:
        row_B, supports, item_J, user_T, rows, slot_T = self._draw(step)
        user_B, target_B = self.train.user_N[row_B], self.train.item_N[row_B]
        history_BJ = np.zeros((self.size, self.capacity), np.float32)
        size_B = [len(items) for items, _ in supports]
        row_N, item_N = np.repeat(np.arange(len(supports)), size_B), np.concatenate([items for items, _ in supports])
        history_BJ[row_N, np.searchsorted(item_J, item_N)] = np.repeat([weight for _, weight in supports], size_B)
        seen_BJ = self._seen(user_B, item_J)
        profile_B = slot_T[np.searchsorted(user_T, user_B)]
        examples = self._examples(row_B, profile_B, np.searchsorted(item_J, target_B), history_BJ, seen_BJ)
        log_q_J = np.zeros(len(item_J)) if self.batching.full_softmax else self._log_q(item_J)
        return Batch(rows, examples, self._padded_items(item_J, slot_T[len(user_T) :], log_q_J))

    @cached_property
    def _seen_UJ(self) -> np.ndarray | None:
        """Of all users, where every step scores the same items; None where it does not, or where that takes more than KEPT."""
        users = len(self.train.users)
        if not self.batching.full_softmax or users * self.capacity > KEPT:
            return None
        seen_UJ = np.zeros((users, self.capacity), bool)
        seen_UJ[self.train.user_N, np.searchsorted(self.trained_I, self.train.item_N)] = True
        return seen_UJ

    def _seen(self, user_B: np.ndarray, item_J: np.ndarray) -> np.ndarray:
        """Looked up where every step scores every trained item, in a fifth of the time."""
        if self._seen_UJ is None:
            return super()._seen(user_B, item_J)
        return np.concatenate([self._seen_UJ[user_B], np.zeros((self.size - len(user_B), self.capacity), bool)])

    def _targets(self, step: int, size: int) -> np.ndarray:
        if self.batching.user_power == 1:
            return super()._targets(step, size)
        draw = seeds.generator(self.seed, "users", step)
        user_B = draw.choice(len(self.share_U), size, p=self.share_U)
        return self.offset_U[user_B] + draw.integers(np.diff(self.offset_U)[user_B])

    def _draw(self, step: int) -> "_Drawn":
        row_B = self._targets(step, self.batching.size)
        draw = seeds.generator(self.seed, "draw", step)
        supports = self._supports(draw, row_B)
        user_B, target_B = self.train.user_N[row_B], self.train.item_N[row_B]
        item_J = self._items(
            draw, np.concatenate([target_B, *(items for items, _ in supports), self._hard(draw, user_B, target_B)])
        )
        return _Drawn(row_B, supports, item_J, *self._texts(user_B, item_J))

    def _texts(self, user_B: np.ndarray, item_J: np.ndarray) -> tuple[np.ndarray, Rows | np.ndarray, np.ndarray]:
        """The last three of what is drawn."""
        user_T = np.unique(user_B)
        return user_T, *self.place_texts(np.concatenate([user_T, len(self.train.users) + item_J]), self.multiple)

    def _row_count(self, step: int) -> int:
        if self.batching.full_softmax:  # whatever the supports
            user_B = self.train.user_N[self._targets(step, self.batching.size)]
            return row_count(self._texts(user_B, self.trained_I)[1])
        return row_count(self._draw(step).rows)

    def _order(self, epoch: int) -> np.ndarray:
        order_N = super()._order(epoch)
        if not self.batching.group_by_item:
            return order_N
        position_I = seeds.generator(self.seed, "order of items", epoch).permutation(len(self.train.items))
        return order_N[np.argsort(position_I[self.train.item_N[order_N]], kind="stable")]

    def _supports(self, draw: np.random.Generator, row_B: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """For each example a sampled support of its user, which never holds the target; and the weight of each of its items."""
        user_B, item_N = self.train.user_N[row_B], self.train.item_N
        earliest, history = self.batching.earliest_support, self.batching.history
        last_B = row_B if earliest else self.offset_U[user_B + 1]
        spans = zip(item_N[row_B].tolist(), self.offset_U[user_B].tolist(), last_B.tolist(), strict=True)
        supports, sizes = [], self.batching.support
        for target, first, last in spans:  # of plain numbers, as NumPy's take twice as long here
            others = item_N[first:last]
            others = others[others != target]
            if earliest:
                sizes = [k for k in self.batching.support if k <= len(others)]
            count = min(sizes[draw.integers(len(sizes))], len(others)) if sizes else len(others)
            kept = count if history is None else min(count, history)
            if not earliest:
                draw.shuffle(others)
            supports.append((others[:kept], count / max(kept, 1)))
        return supports

    def _hard(self, draw: np.random.Generator, user_B: np.ndarray, target_B: np.ndarray) -> np.ndarray:
        """The step's hard negatives, which are negatives of its other examples as well."""
        if not self.batching.hard_negatives:
            return target_B[:0]
        taken_BK = np.isin(self._pairs(user_B[:, None], self.near_IK[target_B]), self.taken_N)
        return draw_hard_negatives(self.near_IK, target_B, taken_BK, self.batching.hard_negatives, draw)

    def _pairs(self, user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
        """A number for each pair of a user and an item."""
        return user_N.astype(np.int64) * len(self.train.items) + item_N

    def _items(self, draw: np.random.Generator, needed: np.ndarray) -> np.ndarray:
        if self.batching.full_softmax:
            return self.trained_I
        room = min(self.batching.negatives, len(self.trained_I))
        return np.unique(np.concatenate([needed, draw.choice(self.trained_I, room, replace=False)]))
