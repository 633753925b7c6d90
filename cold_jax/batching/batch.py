"""A step's batch is a pure function of (seed, step): there is no iterator, so a checkpoint holds nothing of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from cold_jax import seeds
from cold_jax.errors import ConfigError
from cold_jax.splits.tasks import TrainView
from cold_jax.text.packing import Rows, pack
from cold_jax.text.tokens import Tokens

TextPlacer = Callable[[np.ndarray, int], tuple[Rows | np.ndarray, np.ndarray]]  # (text_T, multiple of rows) -> (rows, slot_T)


class Examples(NamedTuple):
    """One row per example; sharded over the devices."""

    user_B: np.ndarray
    profile_B: np.ndarray  # slot of the user's profile text among the step's encoded texts
    length_B: np.ndarray  # number of its tokens
    target_B: np.ndarray  # position of the target among the step's items
    history_BJ: np.ndarray  # weight of each of the step's items in the user's history; 0: not in it
    seen_BJ: np.ndarray  # the user's training positives, which are never negatives
    value_B: np.ndarray  # rating of the target
    weight_B: np.ndarray  # 0 in the padding of an epoch's last batch
    recent_BK: np.ndarray | None = None  # sequences only: positions of the items before the target, newest first, -1 for none


class Items(NamedTuple):
    """The items that a step encodes and scores; replicated on every device."""

    item_J: np.ndarray
    slot_J: np.ndarray  # slot of the item's text
    length_J: np.ndarray  # number of its tokens
    valid_J: np.ndarray  # False in the padding
    log_q_J: np.ndarray  # log probability that an item is sampled into a batch, up to a constant


class Batch(NamedTuple):
    rows: Rows | np.ndarray  # the encoder's input; sharded over the devices
    examples: Examples
    items: Items


def row_count(rows: Rows | np.ndarray) -> int:
    return len(rows.token_RL) if isinstance(rows, Rows) else len(rows)


@dataclass(frozen=True)
class PackedTexts:
    """A TextPlacer for an encoder that runs in the step: packed rows, with texts of equal tokens encoded once."""

    tokens: Tokens
    row_length: int
    texts_per_row: int

    def __call__(self, text_T: np.ndarray, multiple: int) -> tuple[Rows, np.ndarray]:
        distinct_T, position_T = np.unique(self._representative_T[text_T], return_inverse=True)
        rows, slot_T = pack(self.tokens, distinct_T, self.row_length, self.texts_per_row, multiple)
        return rows, slot_T[position_T]

    @cached_property
    def _representative_T(self) -> np.ndarray:
        """For each text the first one with the same tokens."""
        first: dict[bytes, int] = {}
        spans = enumerate(pairwise(self.tokens.offset_T))
        return np.array([first.setdefault(self.tokens.token_N[start:end].tobytes(), t) for t, (start, end) in spans])


class BatchInputs(NamedTuple):
    """What batches are made from, besides their settings."""

    train: TrainView
    length_T: np.ndarray  # number of tokens of the users' texts, then of the items'
    place_texts: TextPlacer
    tokenizer: Path
    vocabulary: int  # tokens that the encoder's embedding has
    causal: bool  # whether the encoder is a decoder, which predicts the next token
    seed: int
    multiple: int  # of rows
    devices: int  # the multiple of examples


class Batches(Protocol):
    """`batches(step)` is the step's batch, a pure function of (seed, step)."""

    steps_per_epoch: int
    devices: int
    packed: bool  # whether texts are encoded in the step

    @property
    def batching(self) -> "Batching": ...

    def __call__(self, step: int) -> "Batch": ...

    def describe(self, batch: "Batch") -> str:
        """What is in a batch, for error messages."""
        ...


class Batching:
    """The settings of a choice of conf/batching."""

    predicts_tokens: ClassVar[bool] = False  # batches of texts alone, from which nothing is ranked
    size: int  # examples, or texts, of a step

    def __call__(self, inputs: BatchInputs) -> Batches:
        raise NotImplementedError


def table_rows(text_T: np.ndarray, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """The TextPlacer for an encoder that is a table of vectors: a text's slot is its place in the list, padded to a `multiple`."""
    padding = math.ceil(len(text_T) / multiple) * multiple - len(text_T)
    return np.pad(text_T, (0, padding)).astype(np.int32), np.arange(len(text_T), dtype=np.int32)


class TargetBatches:
    """What all batches share: an epoch is a permutation of the training interactions that serve as targets."""

    def __init__(self, size: int, inputs: BatchInputs, target_N: np.ndarray):
        """`target_N` indexes train's interactions. Raises ConfigError where there is none."""
        if not len(target_N):
            raise ConfigError(
                "batching: there is no example: nobody has an interaction to predict besides one to predict it from"
            )
        self.train, self.length_T, self.place_texts = inputs.train, inputs.length_T, inputs.place_texts
        self.seed, self.devices, self.target_N = inputs.seed, inputs.devices, target_N
        self.packed = isinstance(inputs.place_texts, PackedTexts)
        self.multiple = inputs.multiple
        self.steps_per_epoch = math.ceil(len(target_N) / size)
        self.size = math.ceil(size / inputs.devices) * inputs.devices
        self._newest: tuple[int, np.ndarray] | None = None  # an epoch and its order, which all of its steps share

    def _targets(self, step: int, size: int) -> np.ndarray:
        """The training interactions whose items the step's examples have as targets; indices of shape (B,)."""
        epoch, within = divmod(step, self.steps_per_epoch)
        newest = self._newest
        if newest is None or newest[0] != epoch:
            self._newest = newest = epoch, self._order(epoch)
        return newest[1][within * size : (within + 1) * size]

    def _order(self, epoch: int) -> np.ndarray:
        return seeds.generator(self.seed, "order", epoch).permutation(self.target_N)

    def _examples(
        self,
        row_B: np.ndarray,
        profile_B: np.ndarray,
        target_B: np.ndarray,
        history_BJ: np.ndarray,
        seen_BJ: np.ndarray,
        recent_BK: np.ndarray | None = None,
    ) -> Examples:
        """Of the training interactions `row_B`; vectors are padded to the size, matrices have it. The fields are those of Examples."""
        user_B = self.train.user_N[row_B]
        return Examples(
            user_B=self._pad(user_B, np.int32),
            profile_B=self._pad(profile_B, np.int32),
            length_B=self._pad(self.length_T[user_B], np.int32),
            target_B=self._pad(target_B, np.int32),
            history_BJ=history_BJ,
            seen_BJ=seen_BJ,
            value_B=self._pad(self.train.value_N[row_B], np.float32),
            weight_B=self._pad(np.ones(len(row_B)), np.float32),
            recent_BK=recent_BK,
        )

    def _earlier(self, row_B: np.ndarray, before_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(example, position from the end, 1 for the newest, item) of the `before_B` interactions right before each example's own."""
        row_N = np.repeat(np.arange(len(row_B)), before_B)
        position_N = np.arange(len(row_N)) - np.repeat(np.cumsum(before_B) - before_B, before_B) + 1
        return row_N, position_N, self.train.item_N[row_B[row_N] - position_N]

    def _pad(self, value_B: np.ndarray, dtype: type) -> np.ndarray:
        return np.pad(value_B, (0, self.size - len(value_B))).astype(dtype)

    def describe(self, batch: "Batch") -> str:
        """The users and the target items of a batch, for error messages."""
        users = [self.train.users.ids[u] for u in np.unique(batch.examples.user_B)[:20]]
        items = [self.train.items.ids[i] for i in np.unique(batch.items.item_J[batch.examples.target_B])[:20]]
        return f"Users of the batch: {users}; items: {items}"


class SomeItemsBatches(TargetBatches):
    """Batches whose steps score some of the items, padded to `capacity`, which a subclass sets before its first batch."""

    capacity: int

    def __init__(self, size: int, inputs: BatchInputs, target_N: np.ndarray):
        super().__init__(size, inputs, target_N)
        self.count_I = np.bincount(self.train.item_N, minlength=len(self.train.items))
        self.trained_I = np.flatnonzero(self.count_I)

    def _seen(self, user_B: np.ndarray, item_J: np.ndarray) -> np.ndarray:
        seen_BJ = np.zeros((self.size, self.capacity), bool)
        column_I = np.full(len(self.count_I), -1, np.int32)
        column_I[item_J] = np.arange(len(item_J))
        own_UI = self.train.interaction_UI[user_B]
        row_N, column_N = np.repeat(np.arange(len(user_B)), np.diff(own_UI.indptr)), column_I[own_UI.indices]
        seen_BJ[row_N[column_N >= 0], column_N[column_N >= 0]] = True
        return seen_BJ

    def _padded_items(self, item_J: np.ndarray, slot_J: np.ndarray, log_q_J: np.ndarray) -> Items:
        padding = (0, self.capacity - len(item_J))
        return Items(
            item_J=np.pad(item_J, padding).astype(np.int32),
            slot_J=np.pad(slot_J, padding).astype(np.int32),
            length_J=np.pad(self.length_T[len(self.train.users) + item_J], padding).astype(np.int32),
            valid_J=np.arange(self.capacity) < len(item_J),
            log_q_J=np.pad(log_q_J, padding).astype(np.float32),
        )

    def _log_q(self, item_J: np.ndarray) -> np.ndarray:
        return np.log(self.count_I[item_J] / len(self.train.item_N))


def recent_items(position_N: np.ndarray, row_N: np.ndarray, item_N: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """recent_BK from (position from the end, 1 for the newest; row; item); -1 where a history is shorter than K."""
    recent_BK = np.full(shape, -1, np.int32)
    kept_N = position_N <= shape[1]
    recent_BK[row_N[kept_N], position_N[kept_N] - 1] = item_N[kept_N]
    return recent_BK
