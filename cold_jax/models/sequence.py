"""What comes next in a sequence, by its texts.

    score(u, i) = τ û·v_i + c·v_i + Σ_k α_k K[h_k, i],   û = unit(Σ_k a_k v_{h_k} + correction),   v = φ(text)

h_k is the k-th newest item of u's history, K a fixed similarity of words (TF-IDF). At first a_k = decay^(k−1), α_k = words · decay^(k−1),
and c and the correction, of a GRU (GRU4Rec; Hidasi et al., ICLR 2016) or a transformer (SASRec; Kang & McAuley, ICDM 2018), are 0:
a model starts at the closed form of θ's cosines, and an item without interactions is scored like any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax import seeds
from cold_jax.encoders.layers import Buffer
from cold_jax.errors import ConfigError
from cold_jax.models.base import DotProductModel, ItemEncodings, ModelConfig, TowerInit
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView
from cold_jax.text import similarity

LR_MULTIPLIER = 5.0  # of τ, a_k and α_k, as in text_metric


class Pooling(Enum):
    """How a history becomes a vector: its decayed mean, or that and a correction."""

    decay = "decay"
    gru = "gru"
    transformer = "transformer"


class Block(nnx.Module):
    """A layer of attention and a layer of two products, each after a norm and beside an identity."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
        self.norm, self.norm_ffn = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(width, 4 * width, rngs=rngs), nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x_BKV: jax.Array, mask_B1KK: jax.Array) -> jax.Array:
        x_BKV = x_BKV + self.attention(self.norm(x_BKV), mask=mask_B1KK)
        return x_BKV + self.down(nnx.gelu(self.up(self.norm_ffn(x_BKV))))


class TransformerCorrection(nnx.Module):
    """Self-attention over the history; the newest item's state, through a map that begins at 0."""

    def __init__(self, width: int, config: "Sequence", rngs: nnx.Rngs):
        self.position_KV = nnx.Param(0.02 * jax.random.normal(rngs.params(), (config.history, width)))
        self.blocks = nnx.List([Block(width, config.heads, rngs) for _ in range(config.layers)])
        self.out = nnx.Linear(width, width, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, x_BKV: jax.Array, known_BK: jax.Array) -> jax.Array:
        x_BKV = x_BKV + self.position_KV[...][None, : x_BKV.shape[1]]
        for block in self.blocks:
            x_BKV = block(x_BKV, known_BK[:, None, None, :] | jnp.eye(x_BKV.shape[1], dtype=bool)[None, None])
        return self.out(x_BKV[:, 0])


class GruCorrection(nnx.Module):
    """A GRU from the oldest item to the newest; its last state, through a map that begins at 0."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.gru = nnx.RNN(nnx.GRUCell(width, width, rngs=rngs), return_carry=True, reverse=True, rngs=False)
        self.out = nnx.Linear(width, width, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, x_BKV: jax.Array, known_BK: jax.Array) -> jax.Array:
        count_B = known_BK.sum(1)
        hidden_BV, _ = self.gru(x_BKV, initial_carry=jnp.zeros_like(x_BKV[:, 0]), seq_lengths=count_B)
        return jnp.where(count_B[:, None] > 0, self.out(hidden_BV), 0)


class SequenceModule(DotProductModel):
    """The score above."""

    def __init__(self, encoder: Any, config: "Sequence", train: TrainView, seed: int):
        rngs, width = nnx.Rngs(seeds.key(seed, "sequence")), encoder.width
        self.encoder, self.config, self.history = encoder, config, config.history
        logarithm = lambda value: jnp.asarray(np.log(value) / LR_MULTIPLIER, jnp.float32)  # noqa: E731
        self.position_K = nnx.Param(logarithm(config.decay) * jnp.arange(config.history))
        self.scale = nnx.Param(logarithm(config.logit_scale))
        self.bias_D = nnx.Param(jnp.zeros(width))
        self.correction = (
            TransformerCorrection(width, config, rngs)
            if config.pooling is Pooling.transformer
            else GruCorrection(width, rngs)
            if config.pooling is Pooling.gru
            else None
        )
        if config.words:
            word_IF = similarity.of_words(train.items.text(config.title, "model.title"))
            kernel_II = (word_IF @ word_IF.T).toarray().astype(np.float32)
            np.fill_diagonal(kernel_II, 0)  # an item is no evidence for itself
            self.kernel_II = Buffer(jnp.asarray(kernel_II))
            self.word_position_K = nnx.Param(logarithm(config.words) + logarithm(config.decay) * jnp.arange(config.history))

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> ItemEncodings:
        return vector_JD, vector_JD * jnp.exp(LR_MULTIPLIER * self.scale[...]), vector_JD @ self.bias_D[...], item_J

    def scores(
        self, profile_BD: jax.Array, history: jax.Array, encodings: ItemEncodings, candidate_J: jax.Array | slice
    ) -> jax.Array:
        """`history` is recent_BK, −1 for none."""
        source_JV, target_JV, bias_J, item_J = encodings
        recent_BK = history[:, : self.history]
        known_BK = recent_BK >= 0
        source_BKV = jnp.where(known_BK[:, :, None], source_JV[recent_BK], 0)
        user_BV = jnp.einsum("k,bkv->bv", self._weights(self.position_K, recent_BK), source_BKV)
        if self.correction is not None:
            user_BV = user_BV + self.correction(source_BKV, known_BK)
        score_BJ = similarity.unit(user_BV) @ target_JV[candidate_J].T + bias_J[candidate_J][None]
        if not self.config.words:
            return score_BJ
        weight_BK = jnp.where(known_BK, self._weights(self.word_position_K, recent_BK)[None], 0)
        rows = enumerate(self._kernel_rows(recent_BK, item_J))
        words_BJ = sum((weight_BK[:, k, None] * row_BJ for k, row_BJ in rows), jnp.zeros(()))
        return score_BJ + words_BJ[:, candidate_J]

    def _kernel_rows(self, recent_BK: jax.Array, item_J: jax.Array) -> Iterator[jax.Array]:
        """For each place of a history the similarity of its items to the J, of shape (B, J)."""
        kernel_II = self.kernel_II[...]
        if len(item_J) < len(kernel_II):  # a step's items are few, and its examples many
            kernel_JJ = kernel_II[item_J[:, None], item_J[None]]
            return (kernel_JJ[recent_K] for recent_K in recent_BK.T)
        return (kernel_II[item_J[recent_K]][:, item_J] for recent_K in recent_BK.T)

    def _weights(self, log_K: nnx.Param[jax.Array], recent_BK: jax.Array) -> jax.Array:
        return jnp.exp(LR_MULTIPLIER * log_K[...])[: recent_BK.shape[1]]


@dataclass(frozen=True)
class Sequence(ModelConfig):
    """pooling: of a history. history: K. decay: a_{k+1} / a_k. logit_scale: τ; words: α_1, both at first; title: what K reads.

    heads, layers: of the transformer.
    """

    pooling: Pooling
    history: int
    decay: float
    logit_scale: float
    words: float
    title: str
    heads: int
    layers: int

    def __post_init__(self) -> None:
        require("model", self, at_least_1=["history", "heads", "layers"], at_least_0=["words"], above_0=["decay", "logit_scale"])

    def __call__(self, encoder: Any, train: TrainView, init: TowerInit | None, seed: int) -> SequenceModule:
        if self.pooling is Pooling.transformer and encoder.width % self.heads:
            raise ConfigError(f"model.heads: {self.heads} does not divide the encoder's width {encoder.width}")
        return SequenceModule(encoder, self, train, seed)
