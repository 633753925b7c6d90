"""The texts of one score, packed for the encoder, and which of their tokens belong to which word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cold_jax.encoders import Loaded
from cold_jax.explanations.explanation import Words
from cold_jax.explanations.head import Inputs, Places
from cold_jax.explanations.words import TextWords, mask_token, split_words, sum_by_word
from cold_jax.text.packing import Rows, fit_row_length, pack
from cold_jax.text.tokens import join_tokens


class Passage(NamedTuple):
    """The profile, the item, and items of the history."""

    split: list[TextWords]
    labels: Sequence[tuple[str, str | None]]  # what each text is of: (profile, item or history; the item's id)
    rows: Rows
    masked: Rows  # the same with every word masked
    at_RL: np.ndarray  # place of each token among those of all texts, in their order
    word_RL: np.ndarray  # place of each token's word among the words of all texts; -1: none, it stays
    slot_T: jax.Array  # of each text among the encoder's vectors
    at_T: jax.Array  # 0: the profile, 1: the item, 2 …: the history's
    context: tuple[Places, Inputs]

    @classmethod
    def of(
        cls,
        phi: Loaded,
        profile: str,
        item_texts: Sequence[str],
        labels: Sequence[tuple[str, str | None]],
        at_T: Sequence[int],
        context: tuple[Places, Inputs],
    ) -> Passage:
        """`item_texts` are the item's, then the history's; `labels` and `at_T` have the profile before them."""
        tokens = join_tokens([phi.tokenize([profile], "users", keep=False), phi.tokenize(item_texts, "items", keep=False)])
        split = [*split_words(phi, [profile], "users"), *split_words(phi, item_texts, "items")]
        rows, slot_T = pack(tokens, np.arange(len(split)), fit_row_length(tokens, phi.row_length), phi.encoder.texts_per_row, 1)
        start_T = np.cumsum([0, *(len(text.words) for text in split)])
        word_N = np.concatenate([np.where(text.word_L < 0, -1, text.word_L + n) for text, n in zip(split, start_T, strict=False)])
        at_RL = np.minimum(tokens.offset_T[rows.text_RL] + rows.position_RL, len(word_N) - 1)
        word_RL = np.where(rows.segment_RL > 0, word_N[at_RL], -1)
        masked_RL = np.where(word_RL >= 0, mask_token(phi.tokenizer), rows.token_RL).astype(np.int32)
        masked = rows._replace(token_RL=masked_RL)
        return cls(split, labels, rows, masked, at_RL, word_RL, jnp.asarray(slot_T), jnp.asarray(at_T), context)

    def by_word(self, value_RL: np.ndarray) -> np.ndarray:
        """value_W, the sum of each word's tokens."""
        is_word_RL = self.word_RL >= 0
        return np.bincount(self.word_RL[is_word_RL], value_RL[is_word_RL], minlength=sum(len(text.words) for text in self.split))

    def words_of(self, value_RL: np.ndarray) -> list[Words]:
        """The words of each text that has any, with their values."""
        lengths = [len(text.word_L) for text in self.split]
        value_N = np.zeros(sum(lengths))
        is_real_RL = self.rows.segment_RL > 0
        value_N[self.at_RL[is_real_RL]] = value_RL[is_real_RL]
        values = np.split(value_N, np.cumsum(lengths)[:-1])
        texts = zip(self.labels, self.split, values, strict=True)
        return [Words(kind, item, sum_by_word(text, value_L)) for (kind, item), text, value_L in texts if text.words]  # type: ignore[arg-type]
