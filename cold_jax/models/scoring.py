"""A trained model as a scorer: every text encoded once, then users in chunks against the candidates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from cold_jax.batching.batch import TextPlacer, recent_items
from cold_jax.data.matrices import binarize
from cold_jax.evaluation.evaluate import PointwiseScorer, Scorer
from cold_jax.models.base import Partition, encode_texts

Tree = Any


TEXTS_AT_ONCE = 2048


PAIRS_AT_ONCE = 4096


class ModelScorer:
    """Scores of users who show items, at given trainable leaves. It is compiled once for all the validations of a run."""

    def __init__(self, partition: Partition, place: TextPlacer, length_T: np.ndarray, users: int, microbatch_rows: int):
        """`length_T` counts the tokens of the texts of `users` users, then of the items."""
        self.frozen, self.length_T, self.users = jax.device_put(partition.frozen), length_T.astype(np.int32), users
        self.reads_states = partition.model().reads_states
        self.history = 0 if self.reads_states else partition.model().history
        chunks = [np.arange(t, min(t + TEXTS_AT_ONCE, len(length_T))) for t in range(0, len(length_T), TEXTS_AT_ONCE)]
        self.placed = [place(text_T, microbatch_rows) for text_T in chunks]
        model = lambda trainable, frozen: Partition(partition.graph, trainable, frozen).model()  # noqa: E731

        def scores(
            trainable: Tree,
            frozen: Tree,
            user_U: jax.Array,
            profile_UD: jax.Array,
            shown: jax.Array,
            sides: Tree,
            candidate_I: jax.Array,
        ) -> jax.Array:
            of_users = model(trainable, frozen)
            return of_users.scores(profile_UD, shown, sides, candidate_I) + of_users.levels(user_U)[:, None]

        self._encode = jax.jit(lambda trainable, frozen, rows: encode_texts(model(trainable, frozen), rows, microbatch_rows))
        self._items = jax.jit(
            lambda trainable, frozen, vector_ID: model(trainable, frozen).items(vector_ID, jnp.arange(len(vector_ID)))
        )
        self._pairs = jax.jit(lambda trainable, frozen, *pairs: model(trainable, frozen).pairs(*pairs))
        self._scores = jax.jit(scores)

    def encode(self, trainable: Tree) -> jax.Array:
        """What the model reads of every text, users' then items': (T, D) vectors, or (T, L, D) token states."""
        return jnp.concatenate([self._encode(trainable, self.frozen, rows)[slot_T] for rows, slot_T in self.placed])

    def __call__(self, trainable: Tree) -> Scorer:
        encoded = self.encode(trainable)
        if self.reads_states:
            return PointwiseScorer(
                lambda part: self._score_pairs(trainable, encoded, part.user_N, part.item_N),
                lambda user_U, history_UI, candidate_I: self._cross(trainable, encoded, user_U, candidate_I),
            )
        sides = self._items(trainable, self.frozen, encoded[self.users :])

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> jax.Array:
            if self.history:
                user_N, item_N = history_UI.tocoo().coords
                shown = recent_items(history_UI.data.astype(np.int64), user_N, item_N, (len(user_U), self.history))
            else:
                shown = binarize(history_UI).toarray().astype(np.float32)
            asked = jnp.asarray(user_U), encoded[user_U], shown, sides, jnp.asarray(candidate_I)
            return self._scores(trainable, self.frozen, *asked)

        return scorer

    def _cross(self, trainable: Tree, state_TLD: jax.Array, user_U: np.ndarray, candidate_I: np.ndarray) -> np.ndarray:
        """Every user with every candidate, pair by pair: for short lists."""
        pairs = np.repeat(user_U, len(candidate_I)), np.tile(candidate_I, len(user_U))
        return self._score_pairs(trainable, state_TLD, *pairs).reshape(len(user_U), len(candidate_I))

    def _score_pairs(self, trainable: Tree, state_TLD: jax.Array, user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
        score_N = np.empty(len(user_N), np.float32)
        for n in range(0, len(user_N), PAIRS_AT_ONCE):
            first, second = (np.resize(text_N[n : n + PAIRS_AT_ONCE], PAIRS_AT_ONCE) for text_N in (user_N, self.users + item_N))
            score_B = self._pairs(trainable, self.frozen, state_TLD, first, self.length_T[first], second, self.length_T[second])
            score_N[n : n + PAIRS_AT_ONCE] = np.asarray(score_B)[: len(user_N) - n]
        return score_N
