"""Explanations of a run's scores: exact shares, words, and nearest items."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cold_jax.data.dataset import Entities
from cold_jax.encoders import Loaded, TextEncoder, precomputed
from cold_jax.errors import ConfigError
from cold_jax.explanations.explanation import Completeness, Explanation, Neighbour, Share, Words
from cold_jax.explanations.gradients import TOLERANCE, embed, encode_embedded, integrate
from cold_jax.explanations.head import Inputs, Places, places_of, score_inputs
from cold_jax.explanations.words import mask_token, split_words, sum_by_word
from cold_jax.models.base import Partition
from cold_jax.text.packing import Rows, fit_row_length, pack
from cold_jax.text.tokens import join_tokens

EXACT = 1e-4  # of the largest term: by how much a sum of shares may miss the score, which is float32


class Subject(NamedTuple):
    """Whose score of what is explained."""

    name: str | None  # of the user
    number: int  # the user's integer id, beyond those of the data for a new one
    profile: str
    history: Sequence[int]  # the newest first
    item: int


class Explainer:
    """Of one model over one catalogue; compiled once."""

    def __init__(self, partition: Partition, phi: Loaded, items: Entities, vector_ID: np.ndarray, warm_I: np.ndarray):
        """`partition` is the head with its parameters, `warm_I` says which items have training interactions."""
        model = partition.model()
        if model.reads_states:
            raise ConfigError(
                "explain: the score of this run's model is no function of text vectors; models that are: model=two_tower"
            )
        self.partition, self.phi, self.items, self.vector_ID, self.warm_I = partition, phi, items, vector_ID, warm_I
        self.text_I = next(iter(items.texts.values()))
        self.reads = model.history  # how many of the newest; 0: all
        self._all_ID = jnp.asarray(vector_ID) if self.reads else None
        self._score = jax.jit(self._of)

        def kept_each(parts: Partition, places: Places, inputs: Inputs, vector_ID: jax.Array | None) -> jax.Array:
            """The score with each item of the history alone."""
            alone_HH = jnp.eye(len(inputs.keep_H))
            return jax.vmap(lambda keep_H: self._of(parts[1:], places, inputs._replace(keep_H=keep_H), vector_ID))(alone_HH)

        self._alone = jax.jit(
            lambda leaves, places, inputs, vector_ID: kept_each(Partition(partition.graph, *leaves), places, inputs, vector_ID)
        )
        self._gradient = jax.jit(jax.value_and_grad(self._of_embedded))

    def _of(self, leaves: tuple, places: Places, inputs: Inputs, vector_ID: jax.Array | None) -> jax.Array:
        return score_inputs(Partition(self.partition.graph, *leaves), places, inputs, vector_ID)

    def _of_embedded(
        self,
        x_RLD: jax.Array,
        encoder: TextEncoder,
        rows: Rows,
        slot_T: jax.Array,
        at_T: jax.Array,
        leaves: tuple,
        places: Places,
        inputs: Inputs,
        vector_ID: jax.Array | None,
    ) -> jax.Array:
        """As `_of`, with the vectors at `at_T` (0: the profile, 1: the item, 2 …: the history) encoded from embeddings."""
        vector_TD = encode_embedded(encoder, x_RLD, rows)[slot_T]
        all_XD = jnp.concatenate([inputs.profile_D[None], inputs.item_D[None], inputs.history_HD]).at[at_T].set(vector_TD)
        return self._of(leaves, places, Inputs(all_XD[0], all_XD[2:], all_XD[1], inputs.keep_H), vector_ID)

    def __call__(self, subject: Subject, *, texts: int = 5, nearest: int = 5) -> Explanation:
        """`texts`: of how many items of the history, those with the largest shares, the words are looked at."""
        history = list(subject.history[: self.reads] if self.reads else subject.history)
        places = places_of(history, subject.item)
        profile_D, empty_D = precomputed.encode(self.phi, [subject.profile, ""], "users")
        history_HD = self.vector_ID[np.asarray(places.history_H)]
        keep_H = places.weight_H
        inputs = Inputs(jnp.asarray(profile_D), jnp.asarray(history_HD), jnp.asarray(self.vector_ID[subject.item]), keep_H)
        leaves = self.partition[1:]
        score = lambda inputs: float(self._score(leaves, places, inputs, self._all_ID))  # noqa: E731
        whole, without = score(inputs), score(inputs._replace(keep_H=0 * keep_H))
        item = score(inputs._replace(profile_D=jnp.asarray(empty_D), keep_H=0 * keep_H))
        share_H = np.asarray(self._alone(leaves, places, inputs, self._all_ID))[: len(history)] - without
        user_bias = float(self.partition.model().user_biases(jnp.asarray([subject.number]))[0])
        notes = []
        largest = max(abs(whole), abs(without), float(np.abs(share_H).max(initial=0)))
        is_sum = abs(without + share_H.sum() - whole) <= EXACT * largest
        if not is_sum:
            notes.append("the score is not a sum over the items of the history, so they have no shares")
        order = np.argsort(-np.abs(share_H), kind="stable").tolist()
        words, completeness = self._words(subject, history, order[:texts], places, inputs)
        if completeness.error > TOLERANCE:
            notes.append(f"the words are not complete: their sum misses by {completeness.error:.1%}")
        shares = [Share(self.items.ids[history[n]], self.text_I[history[n]], float(share_H[n])) for n in order] if is_sum else []
        return Explanation(
            subject.name,
            self.items.ids[subject.item],
            self.text_I[subject.item],
            whole + user_bias,
            item,
            user_bias,
            without - item,
            whole - without,
            shares,
            words,
            completeness,
            self._nearest(subject, nearest),
            notes,
        )

    def _words(
        self, subject: Subject, history: Sequence[int], chosen: Sequence[int], places: Places, inputs: Inputs
    ) -> tuple[list[Words], Completeness]:
        """(words of the profile, the item and the chosen items of the history; how complete they are)."""
        item_texts = [self.text_I[subject.item], *(self.text_I[history[n]] for n in chosen)]
        tokens = join_tokens(
            [self.phi.tokenize([subject.profile], "users", keep=False), self.phi.tokenize(item_texts, "items", keep=False)]
        )
        split = [*split_words(self.phi, [subject.profile], "users"), *split_words(self.phi, item_texts, "items")]
        length = fit_row_length(tokens, self.phi.row_length)
        rows, slot_T = pack(tokens, np.arange(len(split)), length, self.phi.encoder.texts_per_row, 1)
        word_N = np.concatenate([text.word_L for text in split])
        at_RL = tokens.offset_T[rows.text_RL] + rows.position_RL
        is_word_RL = (rows.segment_RL > 0) & (word_N[np.minimum(at_RL, len(word_N) - 1)] >= 0)
        masked = rows._replace(token_RL=np.where(is_word_RL, mask_token(self.phi.tokenizer), rows.token_RL).astype(np.int32))
        at_T = jnp.asarray([0, 1, *(2 + n for n in chosen)])
        fixed = self.phi.encoder, rows, jnp.asarray(slot_T), at_T, self.partition[1:], places, inputs, self._all_ID
        found = integrate(
            lambda x_RLD: self._gradient(x_RLD, *fixed), embed(self.phi.encoder, rows), embed(self.phi.encoder, masked)
        )
        value_N = np.zeros(len(word_N))
        real_RL = rows.segment_RL > 0
        value_N[at_RL[real_RL]] = found.value_RL[real_RL]
        kinds = [
            ("profile", None),
            ("item", self.items.ids[subject.item]),
            *(("history", self.items.ids[history[n]]) for n in chosen),
        ]
        words = [
            Words(kind, item_id, sum_by_word(text, value_N[start:end]))  # type: ignore[arg-type]
            for (kind, item_id), text, start, end in zip(kinds, split, tokens.offset_T[:-1], tokens.offset_T[1:], strict=True)
            if text.words
        ]
        return words, found.completeness

    @cached_property
    def _unit_ID(self) -> np.ndarray:
        return self.vector_ID / np.maximum(np.linalg.norm(self.vector_ID, axis=1, keepdims=True), 1e-12)

    def _nearest(self, subject: Subject, count: int) -> list[Neighbour]:
        """Items with training interactions, by the cosine of φ's vectors; not the item itself."""
        cosine_I = np.where(self.warm_I, self._unit_ID @ self._unit_ID[subject.item], -np.inf)
        cosine_I[subject.item] = -np.inf
        best = [int(i) for i in np.argsort(-cosine_I, kind="stable")[:count] if np.isfinite(cosine_I[i])]
        return [Neighbour(self.items.ids[i], self.text_I[i], float(cosine_I[i]), i in set(subject.history)) for i in best]
