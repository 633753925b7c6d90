"""Explanations of a run's scores: exact shares, words, and nearest items."""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cold_jax.data.dataset import Entities
from cold_jax.data.matrices import normalize_rows
from cold_jax.encoders import Loaded, TextEncoder, precomputed
from cold_jax.errors import ConfigError
from cold_jax.explanations.explanation import Explanation, Share
from cold_jax.explanations.gradients import STEPS, TOLERANCE, Integral, embed, encode_embedded, integrate
from cold_jax.explanations.head import Inputs, Places, places_of, score_inputs
from cold_jax.explanations.nearest import nearest_items
from cold_jax.explanations.passage import Passage
from cold_jax.models.base import Partition
from cold_jax.text.packing import Rows

EXACT = 1e-4  # of the largest term: by how much a sum of shares may miss the score, which is float32


class Subject(NamedTuple):
    """Whose score of what is explained."""

    name: str | None  # of the user
    number: int  # the user's integer id, beyond those of the data for a new one
    profile: str
    history: Sequence[int]  # the newest first
    item: int


class _Read(NamedTuple):
    """A score, and the terms of its sum."""

    places: Places
    inputs: Inputs
    whole: float
    without: float  # the history
    item: float  # without the profile too
    share_H: np.ndarray
    is_sum: bool
    by_share: list[tuple[int, int]]  # (position in the history, item), the largest share first


class Explainer:
    """Of one model over one catalogue; compiled once."""

    def __init__(self, partition: Partition, phi: Loaded, items: Entities, vector_ID: np.ndarray, warm_I: np.ndarray):
        """`partition` is the head with its parameters, `warm_I` says which items have training interactions."""
        model = partition.model()
        if model.reads_states:
            raise ConfigError(
                f"explain: {type(model).__name__.removesuffix('Module')} reads token states, of which there is no explanation; explain a "
                "baseline of the run, as in method=popularity, or train model=two_tower"
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
        self._embedded = jax.jit(self._of_embedded)

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
        read = self._read(subject)
        whole, without, item = read.whole, read.without, read.item
        notes = []
        if not read.is_sum:
            notes.append("the score is not a sum over the items of the history, so they have no shares")
        passage = self._passage(subject, read, read.by_share[:texts])
        integral = self._integral(passage, STEPS)
        completeness = integral.completeness
        if completeness.error > TOLERANCE:
            notes.append(f"the words are not complete: their sum misses by {completeness.error:.1%}")
        shares = (
            [Share(self.items.ids[i], self.text_I[i], float(read.share_H[n])) for n, i in read.by_share] if read.is_sum else []
        )
        user_bias = float(self.partition.model().user_biases(jnp.asarray([subject.number]))[0])
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
            passage.words_of(integral.value_RL),
            completeness,
            nearest_items(self.items, self._unit_ID, self.warm_I, subject.item, subject.history, nearest),
            notes,
        )

    def with_weights(self, partition: Partition, phi: Loaded) -> "Explainer":
        """Of the same model with other weights, whose texts are encoded anew; what is compiled stays."""
        other = copy.copy(self)
        other.partition, other.phi = partition, phi
        return other

    def word_values(self, subject: Subject, *, texts: int, steps: int) -> np.ndarray:
        """value_W of all words of the profile, the item and the newest texts of the history, whatever their shares; by so many steps."""
        passage = self._newest(subject, texts)
        return passage.by_word(self._integral(passage, (steps,)).value_RL)

    def kept_score(self, subject: Subject, *, texts: int) -> Callable[[np.ndarray], float]:
        """keep_W → the score without the user's bias, with the other words masked. Words are those of `word_values`."""
        passage = self._newest(subject, texts)
        x_RLD, masked_RLD = (np.asarray(embed(self.phi.encoder, rows)) for rows in (passage.rows, passage.masked))

        def score(keep_W: np.ndarray) -> float:
            keep_RL = (passage.word_RL < 0) | keep_W[passage.word_RL]
            return float(self._embedded(jnp.asarray(np.where(keep_RL[:, :, None], x_RLD, masked_RLD)), *self._fixed(passage)))

        return score

    def _read(self, subject: Subject) -> "_Read":
        """The score, and what the items of the history add to it."""
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
        largest = max(abs(whole), abs(without), float(np.abs(share_H).max(initial=0)))
        is_sum = abs(without + share_H.sum() - whole) <= EXACT * largest
        by_share = [(n, history[n]) for n in np.argsort(-np.abs(share_H), kind="stable").tolist()]
        return _Read(places, inputs, whole, without, item, share_H, is_sum, by_share)

    def _newest(self, subject: Subject, texts: int) -> Passage:
        read = self._read(subject)
        return self._passage(subject, read, sorted(read.by_share)[:texts])

    def _passage(self, subject: Subject, read: "_Read", chosen: Sequence[tuple[int, int]]) -> Passage:
        """The profile, the item, and the chosen items of the history, (position in it, item)."""
        items = [subject.item, *(i for _, i in chosen)]
        labels = [("profile", None), ("item", self.items.ids[subject.item]), *(("history", self.items.ids[i]) for _, i in chosen)]
        at_T = [0, 1, *(2 + n for n, _ in chosen)]
        return Passage.of(self.phi, subject.profile, [self.text_I[i] for i in items], labels, at_T, (read.places, read.inputs))

    def _fixed(self, passage: Passage) -> tuple:
        return self.phi.encoder, passage.rows, passage.slot_T, passage.at_T, self.partition[1:], *passage.context, self._all_ID

    def _integral(self, passage: Passage, steps: Sequence[int]) -> Integral:
        fixed, encoder = self._fixed(passage), self.phi.encoder
        ends = embed(encoder, passage.rows), embed(encoder, passage.masked)
        return integrate(lambda x_RLD: self._gradient(x_RLD, *fixed), *ends, steps)

    @cached_property
    def _unit_ID(self) -> np.ndarray:
        return normalize_rows(self.vector_ID)
