"""Poisson sampling of users: a step takes each training user with the same public probability, whoever else is in the data.

What a step draws, and its noise, follow from a secret of the run, not from `seed`: who knew which users a step took would know more of
them than ε says.
"""

import math
from copy import copy
from typing import NamedTuple

import numpy as np

from cold_jax import seeds
from cold_jax.batching.batch import Batch, BatchInputs, Items, PackedTexts
from cold_jax.batching.sampled import InBatchSampling
from cold_jax.text.packing import Rows, pack

OVERFLOW = 1e-6  # probability that a step has more users than the compiled shape; it then has a larger one


class UserExamples(NamedTuple):
    """One row per user of the step; sharded over the devices. Every row depends on its own user alone."""

    profile_B: np.ndarray  # index of the user's text
    absent_B: np.ndarray  # True in the padding
    history_BK: np.ndarray  # items of the history
    weight_BK: np.ndarray  # their weights; 0: none
    target_BP: np.ndarray  # items to be ranked first, given the history
    weight_BP: np.ndarray  # 1, or 0 in the padding
    value_BP: np.ndarray  # ratings of the targets
    seen_BJ: np.ndarray  # the user's training positives, which are never negatives
    rows: Rows | None  # the user's text alone, each field of shape (B, 1, L); None: the encoder is a table


class PublicItems(NamedTuple):
    """All items, and what the step's noise is drawn from; the same on every device."""

    items: Items
    noise_2: np.ndarray  # of a threefry key, uint32
    rows: Rows | None  # the items' texts, packed; None: the encoder is a table


class PrivateBatches:
    """`batches(step)` is the step's batch, a pure function of (secret, step)."""

    packed = False  # a user's gradient needs a user's loss: texts are never encoded for the whole batch at once

    def __init__(self, batching: InBatchSampling, inputs: BatchInputs, users: int, pairs: int, microbatch: int | None):
        """`users` is public, and near the number of training users; a step has at most `pairs` targets of a user.

        Where the encoder learns, a step holds texts: the items', packed, and each of its users' in a row of its own.
        """
        from scipy.stats import binom  # heavy

        train = inputs.train
        self.batching, self.train, self.pairs, self.devices = batching, train, pairs, inputs.devices
        self.sampling_rate = batching.size / users
        self.steps_per_epoch = math.ceil(users / batching.size)
        self.user_U = np.unique(train.user_N)
        self.first_U = np.searchsorted(train.user_N, np.arange(len(train.users) + 1))
        self.multiple = inputs.devices * (microbatch or 1)
        self.capacity = self._padded(max(int(binom.isf(OVERFLOW, users, self.sampling_rate)), 1))
        I = len(train.items)
        item_I = np.arange(I, dtype=np.int32)
        length_I = inputs.length_T[len(train.users) :].astype(np.int32)
        self.texts, self.rows = inputs.place_texts if isinstance(inputs.place_texts, PackedTexts) else None, None
        slot_I = item_I + np.int32(len(train.users))
        if self.texts is not None:
            self.rows, slot_I = self.texts(slot_I, inputs.multiple)
            slot_I = slot_I.astype(np.int32)
        self.items = Items(item_I, slot_I, length_I, np.ones(I, bool), np.zeros(I, np.float32))
        self.secret: bytes | None = None

    def with_secret(self, secret: bytes) -> "PrivateBatches":
        """The same batches, drawn by a run's secret."""
        bound = copy(self)
        bound.secret = secret
        return bound

    def _padded(self, users: int) -> int:
        return math.ceil(users / self.multiple) * self.multiple

    def users(self, step: int) -> np.ndarray:
        """The step's users, of shape (B,): each training user independently with the sampling rate."""
        from jax_privacy.batch_selection import CyclicPoissonSampling  # pyright: ignore[reportMissingImports]

        draw = seeds.secret_generator(self._known_secret(), "users", step)
        [index_B] = CyclicPoissonSampling(self.sampling_rate, iterations=1).batch_iterator(len(self.user_U), draw)
        return np.sort(self.user_U[index_B])

    def __call__(self, step: int) -> Batch:
        user_B = self.users(step)
        size = self.capacity
        while size < len(user_B):
            size *= 2
        examples, draw = self._empty(size), seeds.secret_generator(self._known_secret(), "pairs", step)
        for b, user in enumerate(user_B):
            self._fill(examples, b, int(user), draw)
        noise_2 = np.frombuffer(seeds.secret_bits(self._known_secret(), "noise", step)[:8], np.uint32)
        return Batch(None, examples, PublicItems(self.items, noise_2, self.rows))  # type: ignore[arg-type]

    def _known_secret(self) -> bytes:
        if self.secret is None:
            raise RuntimeError("private batches are drawn by the secret of a run: with_secret first")
        return self.secret

    def _empty(self, size: int) -> UserExamples:
        longest = max(self.batching.support)
        K = max(longest if self.batching.history is None else min(longest, self.batching.history), 1)
        P, J = self.pairs, len(self.train.items)
        return UserExamples(
            profile_B=np.zeros(size, np.int32),
            absent_B=np.ones(size, bool),
            history_BK=np.zeros((size, K), np.int32),
            weight_BK=np.zeros((size, K), np.float32),
            target_BP=np.zeros((size, P), np.int32),
            weight_BP=np.zeros((size, P), np.float32),
            value_BP=np.zeros((size, P), np.float32),
            seen_BJ=np.zeros((size, J), bool),
            rows=None if self.texts is None else Rows(*np.zeros((6, size, 1, self.texts.row_length), np.int32)),
        )

    def _fill(self, examples: UserExamples, b: int, user: int, draw: np.random.Generator) -> None:
        """Row b: a support of one of batching.support's sizes, and targets among the user's other items."""
        rows = slice(self.first_U[user], self.first_U[user + 1])
        item_N, first_N = np.unique(self.train.item_N[rows], return_index=True)
        value_N, order_N = self.train.value_N[rows][first_N], draw.permutation(len(item_N))
        count = min(self.batching.support[draw.integers(len(self.batching.support))], len(item_N) - 1)
        kept = min(count, examples.history_BK.shape[1])
        target_N = order_N[count : count + self.pairs]
        examples.profile_B[b], examples.absent_B[b] = user, False
        examples.history_BK[b, :kept] = item_N[order_N[:kept]]
        examples.weight_BK[b, :kept] = count / max(kept, 1)
        examples.target_BP[b, : len(target_N)] = item_N[target_N]
        examples.value_BP[b, : len(target_N)] = value_N[target_N]
        examples.weight_BP[b, : len(target_N)] = 1
        examples.seen_BJ[b, item_N] = True
        if examples.rows is not None and self.texts is not None:
            own, _ = pack(self.texts.tokens, np.array([user]), self.texts.row_length, self.texts.texts_per_row, 1)
            for all_BRL, own_RL in zip(examples.rows, own, strict=True):
                all_BRL[b] = own_RL

    def describe(self, batch: Batch) -> str:
        """Names nobody: who was in a batch is private."""
        return "Which users the step took is private"
