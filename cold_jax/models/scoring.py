"""A model's scores, for evaluation: every text is encoded once, then users are scored against the candidates in chunks."""

from collections.abc import Callable
from functools import partial
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


_rows = jax.jit(lambda x_TD, row_N: x_TD[row_N])  # uncompiled, picking rows takes a millisecond, and six programs for each shape


class HeadScorer:
    """Scores from encoded texts: the model's head, compiled once."""

    def __init__(self, partition: Partition):
        self.frozen = jax.device_put(partition.frozen)
        model = lambda trainable, frozen: Partition(partition.graph, trainable, frozen).model()  # noqa: E731
        self.reads_states = partition.model().reads_states
        self.history = 0 if self.reads_states else partition.model().history

        def scores(
            trainable: Tree,
            frozen: Tree,
            user_U: jax.Array,
            profile_UD: jax.Array,
            history: jax.Array,
            encodings: Tree,
            candidate_I: jax.Array,
        ) -> jax.Array:
            head = model(trainable, frozen)
            return head.scores(profile_UD, history, encodings, candidate_I) + head.user_biases(user_U)[:, None]

        self._items = jax.jit(
            lambda trainable, frozen, vector_ID: model(trainable, frozen).items(vector_ID, jnp.arange(len(vector_ID)))
        )
        self._pairs = jax.jit(lambda trainable, frozen, *pairs: model(trainable, frozen).pairs(*pairs))
        self._scores = jax.jit(scores)

    def of_vectors(self, trainable: Tree, profile_of: Callable[[np.ndarray], jax.Array], vector_ID: jax.Array) -> Scorer:
        """The scorer of a model that reads a vector per text.

        Args:
            profile_of: user_U → vectors of their main texts, of shape (U, D).
            vector_ID: vectors of all items' main texts.
        """
        encodings = self._items(trainable, self.frozen, vector_ID)

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> jax.Array:
            if self.history:
                user_N, item_N = history_UI.tocoo().coords
                history = recent_items(history_UI.data.astype(np.int64), user_N, item_N, (len(user_U), self.history))
            else:
                history = binarize(history_UI).toarray().astype(np.float32)
            inputs = jax.device_put(user_U), profile_of(user_U), history, encodings, jax.device_put(candidate_I)
            return self._scores(trainable, self.frozen, *inputs)

        return scorer

    def of_states(self, trainable: Tree, state_TLD: jax.Array, length_T: np.ndarray, users: int) -> PointwiseScorer:
        """The scorer of a model that reads token states, of `users` users' texts and then of all items'; length_T holds their lengths."""

        def pairs(user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
            score_N = np.empty(len(user_N), np.float32)
            for n in range(0, len(user_N), PAIRS_AT_ONCE):
                first, second = (np.resize(text_N[n : n + PAIRS_AT_ONCE], PAIRS_AT_ONCE) for text_N in (user_N, users + item_N))
                score_B = self._pairs(trainable, self.frozen, state_TLD, first, length_T[first], second, length_T[second])
                score_N[n : n + PAIRS_AT_ONCE] = np.asarray(score_B)[: len(user_N) - n]
            return score_N

        def candidates(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            """Every user with every candidate, pair by pair: slow, for short lists only."""
            all_pairs = np.repeat(user_U, len(candidate_I)), np.tile(candidate_I, len(user_U))
            return pairs(*all_pairs).reshape(len(user_U), len(candidate_I))

        return PointwiseScorer(lambda task: pairs(task.user_N, task.item_N), candidates)


class ModelScorer:
    """Scores at given trainable leaves; every text is encoded anew for each. It is compiled once for all validations of a run."""

    def __init__(self, partition: Partition, place_texts: TextPlacer, length_T: np.ndarray, users: int, microbatch_rows: int):
        """`length_T` holds the number of tokens of `users` users' texts, then of the items'."""
        self.head, self.length_T, self.users = HeadScorer(partition), length_T.astype(np.int32), users
        chunks = [np.arange(t, min(t + TEXTS_AT_ONCE, len(length_T))) for t in range(0, len(length_T), TEXTS_AT_ONCE)]
        self.placed = [place_texts(text_T, microbatch_rows) for text_T in chunks]
        model = lambda trainable, frozen: Partition(partition.graph, trainable, frozen).model()  # noqa: E731
        self._encode = jax.jit(lambda trainable, frozen, rows: encode_texts(model(trainable, frozen), rows, microbatch_rows))

    def encode(self, trainable: Tree) -> jax.Array:
        """The encodings of every text, users' then items': vectors of shape (T, D), or token states of shape (T, L, D)."""
        return jnp.concatenate([_rows(self._encode(trainable, self.head.frozen, rows), slot_T) for rows, slot_T in self.placed])

    def __call__(self, trainable: Tree) -> Scorer:
        encoded = self.encode(trainable)
        if self.head.reads_states:
            return self.head.of_states(trainable, encoded, self.length_T, self.users)
        return self.head.of_vectors(trainable, partial(_rows, encoded), encoded[self.users :])
