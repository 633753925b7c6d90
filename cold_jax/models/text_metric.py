"""A learned similarity of texts, to predict the next item of a sequence.

    score(u, i) = Σ_k a_k (f(h_k)·g(i) + α K[h_k, i]) + b(i),   h_k the k-th newest item of u's history

f, g and b are linear in an item's words; K is a fixed similarity of two texts.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy import sparse

from cold_jax import seeds
from cold_jax.encoders.layers import Buffer
from cold_jax.errors import ConfigError
from cold_jax.models.base import DotProductModel, ItemEncodings, ModelConfig, TowerInit
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView
from cold_jax.text import similarity

LR_MULTIPLIER = 5.0  # of α and a_k, which must move far in few steps


class TextMetricModule(DotProductModel):
    """A learned similarity of an item's text to the newest texts of a history, plus a fixed one.

    x_i = [TF-IDF of words and pairs of words; ½ attributes; whitened φ(text)], each of unit length; f = x·A, g = x·B, b = x·c. A key turns
    dropout on: of words, the same ones in f, g and b, and of f's coordinates.
    """

    def __init__(self, encoder: Any, config: "TextMetric", train: TrainView, seed: int):
        draw = seeds.generator(seed, "metric")
        title_I = train.items.text(config.title, "model.title")
        word_IF, every_IF = similarity.of_words(title_I, least=2), similarity.of_words(title_I)
        blocks = [sparse.csr_array(indicator_IF) for indicator_IF in train.items.indicators.values()]
        half_IF = [0.5 * similarity.unit_rows(block_IF) for block_IF in blocks]
        text_IF: Any = sparse.csr_array(sparse.hstack([word_IF, *half_IF]))
        vector_ID = next(iter(train.item_vectors.values()))
        mean_D, map_DD = similarity.whitening(vector_ID, config.floor)
        white_ID = similarity.unit((vector_ID - mean_D) @ map_DD)
        kernel_II = (every_IF @ every_IF.T).toarray() + config.vectors * white_ID @ white_ID.T
        np.fill_diagonal(kernel_II, 0)  # an item is no evidence for itself
        self.encoder, self.config, self.history = encoder, config, config.history
        self.random = max(config.word_dropout, config.dropout) > 0
        self.kernel_II = Buffer(jnp.asarray(kernel_II, jnp.float32))
        self.mean_D, self.map_DD = Buffer(jnp.asarray(mean_D, jnp.float32)), Buffer(jnp.asarray(map_DD, jnp.float32))
        self.item_N, self.word_N = (Buffer(jnp.asarray(at_N, jnp.int32)) for at_N in text_IF.tocoo().coords)
        self.value_N = Buffer(jnp.asarray(text_IF.data, jnp.float32))
        rows = text_IF.shape[1], encoder.width
        self.map_word_FV, self.map_vector_DV = (
            nnx.Param(jnp.asarray(draw.normal(0, config.initial, (count, 2 * config.width + 1)), jnp.float32)) for count in rows
        )
        # Adam moves a number by at most its learning rate per step: as logarithms, LR_MULTIPLIER times faster, α and a_k get far enough
        self.kernel = nnx.Param(jnp.asarray(np.log(config.kernel) / LR_MULTIPLIER, jnp.float32))
        self.position_K = nnx.Param(jnp.asarray(np.log(config.decay) / LR_MULTIPLIER * np.arange(config.history), jnp.float32))

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> ItemEncodings:
        value_N, I, V = self.value_N[...], len(self.kernel_II[...]), self.config.width
        word_key, vector_key = (None, None) if key is None else jax.random.split(key)
        value_N = _dropped(word_key, value_N, self.config.word_dropout)
        mapped_NV = value_N[:, None] * self.map_word_FV[...][self.word_N[...]]
        text_IV = jax.ops.segment_sum(mapped_NV, self.item_N[...], I, indices_are_sorted=True)
        white_JD = similarity.unit((vector_JD - self.mean_D[...][None]) @ self.map_DD[...])
        source_JV, target_JV, bias_J1 = jnp.split(text_IV[item_J] + white_JD @ self.map_vector_DV[...], (V, 2 * V), axis=1)
        source_JV = _dropped(vector_key, source_JV, self.config.dropout)
        return source_JV, target_JV, bias_J1[:, 0]

    def scores(
        self, profile_BD: jax.Array, history: jax.Array, encodings: ItemEncodings, candidate_J: jax.Array | slice
    ) -> jax.Array:
        """`history` is recent_BK, −1 for none. `encodings` must hold all items, in order."""
        source_JV, target_JV, bias_J = encodings
        kernel_II = self.kernel_II[...]
        if len(source_JV) != len(kernel_II):
            raise ConfigError("model=text_metric scores all items in every step: use batching=sequences")
        history_BK = history[:, : self.history]
        weight_BK = jnp.where(history_BK >= 0, jnp.exp(LR_MULTIPLIER * self.position_K[...])[None, : history_BK.shape[1]], 0)
        user_BV = jnp.einsum("bk,bkv->bv", weight_BK, source_JV[history_BK])
        similarity_BI = sum(weight_BK[:, k, None] * kernel_II[history_BK[:, k]] for k in range(history_BK.shape[1]))
        score_BI = user_BV @ target_JV.T + jnp.exp(LR_MULTIPLIER * self.kernel[...]) * similarity_BI + bias_J[None]
        return score_BI[:, candidate_J]


@dataclass(frozen=True)
class TextMetric(ModelConfig):
    """The metric's sizes and its initial values.

    title: name of the text whose words are read. history: K; decay: a_{k+1} / a_k. kernel: α; vectors: weight of whitened vectors in K,
    where TF-IDF has 1. floor: of whitening. initial: standard deviation of A, B and c. word_dropout, dropout: probabilities.
    """

    title: str
    width: int
    history: int
    decay: float
    kernel: float
    vectors: float
    floor: float
    initial: float
    word_dropout: float
    dropout: float

    def __post_init__(self) -> None:
        require("model", self, above_0=["history", "decay", "kernel"], fractions=["word_dropout", "dropout"])
        require("model", self, at_least_1=["width"], at_least_0=["vectors", "floor", "initial"])

    def __call__(self, encoder: Any, train: TrainView, init: TowerInit | None, seed: int) -> TextMetricModule:
        return TextMetricModule(encoder, self, train, seed)


def _dropped(key: jax.Array | None, value: jax.Array, share: float) -> jax.Array:
    """Dropout. The items are the same on every device, and so are the entries dropped."""
    if key is None:
        return value
    return jnp.where(jax.random.bernoulli(key, 1 - share, value.shape), value / (1 - share), 0)
