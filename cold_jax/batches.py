"""A step's batch as a pure function of (seed, step): there is no iterator, so nothing of it has to be saved."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cold_jax import seeds, text
from cold_jax.parts import Train

Place = Callable[[np.ndarray, int], tuple[text.Rows | np.ndarray, np.ndarray]]  # (text_T, multiple of rows) -> (rows, slot_T)


class Examples(NamedTuple):
    """A row for each example; spread over the devices."""

    user_B: np.ndarray
    profile_B: np.ndarray  # slot of the user's profile text
    length_B: np.ndarray  # its tokens
    target_B: np.ndarray  # position of the target among the step's items
    shown_BJ: np.ndarray  # weight of each of the step's items in the user's support
    known_BJ: np.ndarray  # training positives of the user: never negatives
    value_B: np.ndarray
    weight_B: np.ndarray  # 0 in the rows that fill up an epoch's last batch
    newest_BK: np.ndarray | None = None  # of a sequence: positions of the items before the target, newest first, -1 for none


class Items(NamedTuple):
    """The items that a step encodes and scores; the same on every device."""

    item_J: np.ndarray
    slot_J: np.ndarray  # slot of the item's text
    length_J: np.ndarray  # its tokens
    valid_J: np.ndarray  # False where J is filled up
    log_q_J: np.ndarray  # log of the probability of standing in a batch, up to a constant


class Batch(NamedTuple):
    rows: text.Rows | np.ndarray  # what the encoder reads; spread over the devices
    examples: Examples
    items: Items


def _row_count(rows: text.Rows | np.ndarray) -> int:
    return len(rows.token_RL) if isinstance(rows, text.Rows) else len(rows)


@dataclass(frozen=True)
class Packed:
    """Places texts in packed rows, for an encoder that computes; texts of the same tokens once."""

    tokens: text.Tokens
    row_length: int
    texts_per_row: int

    def __call__(self, text_T: np.ndarray, multiple: int) -> tuple[text.Rows, np.ndarray]:
        unlike_T, place_T = np.unique(self._first_T[text_T], return_inverse=True)
        rows, slot_T = text.pack(self.tokens, unlike_T, self.row_length, self.texts_per_row, multiple)
        return rows, slot_T[place_T]

    @cached_property
    def _first_T(self) -> np.ndarray:
        """The first text with the same tokens."""
        first: dict[bytes, int] = {}
        spans = enumerate(pairwise(self.tokens.offset_T))
        return np.array([first.setdefault(self.tokens.token_N[start:end].tobytes(), t) for t, (start, end) in spans])


def lookup(text_T: np.ndarray, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """Places texts one after the other, for an encoder that is a table."""
    filled = math.ceil(len(text_T) / multiple) * multiple - len(text_T)
    return np.pad(text_T, (0, filled)).astype(np.int32), np.arange(len(text_T), dtype=np.int32)


@dataclass(frozen=True)
class Batching:
    """What a step draws.

    size       examples, each a user with one of his training items as the target
    support    sizes of the support, of which one is drawn for each example; empty: all his other training items
    history    at most so many items of a support are encoded, weighted up to the whole; null: all of them
    negatives  items drawn in addition, uniformly over the warm ones
    catalogue  every warm item stands in every step
    by_item    an epoch deals out items with all that they have, so that a step encodes few texts
    """

    size: int
    support: list[int]
    history: int | None
    negatives: int
    catalogue: bool
    by_item: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "support", tuple(self.support))
        if self.size < 1:
            raise ValueError(f"batching.size: {self.size} is not a batch size; give 1 or more")

    def __call__(self, train: Train, length_T: np.ndarray, place: Place, seed: int, multiple: int, devices: int) -> "Batches":
        return Batches(self, train, length_T, place, seed, multiple, devices)


@dataclass(frozen=True)
class Prefixes:
    """Sequences: every training interaction but a user's first is a target, and shows all that came before it.

    A step's items are all there are. history: how many of the newest stand in their order. untrained: items without a training interaction
    are negatives like any other; else they are no part of the softmax.
    """

    size: int
    history: int
    untrained: bool

    def __post_init__(self) -> None:
        for key in ("size", "history"):
            if getattr(self, key) < 1:
                raise ValueError(f"batching.{key}: {getattr(self, key)} must be 1 or more")

    def __call__(
        self, train: Train, length_T: np.ndarray, place: Place, seed: int, multiple: int, devices: int
    ) -> "PrefixBatches":
        return PrefixBatches(self, train, length_T, place, seed, multiple, devices)


class _Targets:
    """What all batches share: an epoch is a permutation of the training interactions that are its targets."""

    def __init__(
        self,
        batching: Batching | Prefixes,
        train: Train,
        length_T: np.ndarray,
        place: Place,
        seed: int,
        devices: int,
        target_N: np.ndarray,
    ):
        """`length_T` counts the tokens of the users' texts, then of the items'; `target_N` are positions among train's interactions."""
        self.train, self.length_T, self.place, self.seed, self.target_N = train, length_T, place, seed, target_N
        self.devices, self.packed = devices, isinstance(place, Packed)
        self.steps_per_epoch = math.ceil(len(target_N) / batching.size)
        self.size = math.ceil(batching.size / devices) * devices

    def _rows(self, step: int, size: int) -> np.ndarray:
        """The training interactions that the step's examples ask for."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[within * size : (within + 1) * size]

    def _order(self, epoch: int) -> np.ndarray:
        return seeds.generator(self.seed, "order", epoch).permutation(self.target_N)

    def _fill(self, value_B: np.ndarray, dtype: type) -> np.ndarray:
        return np.pad(value_B, (0, self.size - len(value_B))).astype(dtype)

    def told(self, batch: "Batch") -> str:
        """Whom and what a batch is about, for an error's message."""
        users = [self.train.users.ids[u] for u in np.unique(batch.examples.user_B)[:20]]
        items = [self.train.items.ids[i] for i in np.unique(batch.items.item_J[batch.examples.target_B])[:20]]
        return f"Users of the batch: {users}; items: {items}"


class Batches(_Targets):
    """`batches(step)` is the step's batch. An epoch is a permutation of all training interactions."""

    def __init__(
        self, batching: Batching, train: Train, length_T: np.ndarray, place: Place, seed: int, multiple: int, devices: int
    ):
        """`length_T` counts the tokens of the users' texts, then of the items'; rows come in multiples of `multiple`, examples of `devices`."""
        super().__init__(batching, train, length_T, place, seed, devices, np.arange(len(train.user_N)))
        self.batching = batching
        self.offset_U = np.searchsorted(train.user_N, np.arange(len(train.users) + 1))
        self.count_I = np.bincount(train.item_N, minlength=len(train.items))
        self.trained_I = np.flatnonzero(self.count_I)
        shown = max(batching.support, default=batching.history or len(self.trained_I))
        wanted = len(self.trained_I) if batching.catalogue else batching.size * (1 + shown) + batching.negatives
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

        shown_BJ = np.zeros((self.size, self.capacity), np.float32)
        for b, (items, weight) in enumerate(supports):
            shown_BJ[b, np.searchsorted(item_J, items)] = weight
        known_BJ = np.zeros((self.size, self.capacity), bool)
        known_BJ[: len(row_B), : len(item_J)] = self.train.interaction_UI[user_B][:, item_J].toarray() > 0
        examples = Examples(
            user_B=self._fill(user_B, np.int32),
            profile_B=self._fill(slot_T[profile_B], np.int32),
            length_B=self._fill(self.length_T[user_B], np.int32),
            target_B=self._fill(np.searchsorted(item_J, target_B), np.int32),
            shown_BJ=shown_BJ,
            known_BJ=known_BJ,
            value_B=self._fill(self.train.value_N[row_B], np.float32),
            weight_B=self._fill(np.ones(len(row_B)), np.float32),
        )
        log_q_J = np.zeros(len(item_J)) if self.batching.catalogue else np.log(self.count_I[item_J] / len(self.train.item_N))
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
        if not self.batching.by_item:
            return order_N
        place_I = seeds.generator(self.seed, "order of items", epoch).permutation(len(self.train.items))
        return order_N[np.argsort(place_I[self.train.item_N[order_N]], kind="stable")]

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
        if self.batching.catalogue:
            return self.trained_I
        room = min(self.batching.negatives, len(self.trained_I))
        return np.unique(np.concatenate([needed, draw.choice(self.trained_I, room, replace=False)]))


def newest(place_N: np.ndarray, row_N: np.ndarray, item_N: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """newest_BK of (row, item, place from the end, 1 for the newest); -1 where there is none."""
    newest_BK = np.full(shape, -1, np.int32)
    near_N = place_N <= shape[1]
    newest_BK[row_N[near_N], place_N[near_N] - 1] = item_N[near_N]
    return newest_BK


class PrefixBatches(_Targets):
    """`batches(step)` is the step's batch. An epoch is a permutation of all training interactions that have one before them."""

    def __init__(
        self, batching: Prefixes, train: Train, length_T: np.ndarray, place: Place, seed: int, multiple: int, devices: int
    ):
        """As `Batches`."""
        self.first_N = np.searchsorted(train.user_N, train.user_N)
        later_N = np.flatnonzero(self.first_N < np.arange(len(train.user_N)))
        super().__init__(batching, train, length_T, place, seed, devices, later_N)
        self.batching = batching
        self.multiple = multiple
        self.multiple = max(_row_count(self._texts(self._rows(step, batching.size))[0]) for step in range(32))  # as in `Batches`

    def _texts(self, row_B: np.ndarray) -> tuple[text.Rows | np.ndarray, np.ndarray, np.ndarray]:
        """(rows of the users' texts and all items', the slots of the users', of the items')."""
        user_T, profile_B = np.unique(self.train.user_N[row_B], return_inverse=True)
        item_T = len(self.train.users) + np.arange(len(self.train.items))
        rows, slot_T = self.place(np.concatenate([user_T, item_T]), self.multiple)
        return rows, slot_T[profile_B], slot_T[len(user_T) :]

    def __call__(self, step: int) -> Batch:
        row_B, I = self._rows(step, self.batching.size), len(self.train.items)
        rows, profile_B, slot_I = self._texts(row_B)
        user_B, target_B, before_B = self.train.user_N[row_B], self.train.item_N[row_B], row_B - self.first_N[row_B]

        of_N = np.repeat(np.arange(len(row_B)), before_B)
        place_N = np.arange(len(of_N)) - np.repeat(np.cumsum(before_B) - before_B, before_B) + 1
        item_N = self.train.item_N[row_B[of_N] - place_N]
        shown_BI = np.zeros((self.size, I), np.float32)
        shown_BI[of_N, item_N] = 1
        examples = Examples(
            user_B=self._fill(user_B, np.int32),
            profile_B=self._fill(profile_B, np.int32),
            length_B=self._fill(self.length_T[user_B], np.int32),
            target_B=self._fill(target_B, np.int32),
            shown_BJ=shown_BI,
            known_BJ=shown_BI > 0,
            value_B=self._fill(self.train.value_N[row_B], np.float32),
            weight_B=self._fill(np.ones(len(row_B)), np.float32),
            newest_BK=newest(place_N, of_N, item_N, (self.size, self.batching.history)),
        )
        all_I = np.arange(I)
        items = Items(
            item_J=all_I.astype(np.int32),
            slot_J=slot_I.astype(np.int32),
            length_J=self.length_T[len(self.train.users) + all_I].astype(np.int32),
            valid_J=np.full(I, True) if self.batching.untrained else self.train.warm_I,
            log_q_J=np.zeros(I, np.float32),
        )
        return Batch(rows, examples, items)
