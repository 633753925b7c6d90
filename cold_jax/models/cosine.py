"""Cosine similarity of text vectors, as they are or whitened."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from cold_jax.encoders.layers import Buffer
from cold_jax.models.base import DotProductModel, ItemEncodings, ModelConfig, TowerInit, popularity_prior
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView
from cold_jax.text import similarity


class CosineModule(DotProductModel):
    """τ · u·v_i of the vectors as they are, u = ρ·p(u) + Σ_{j in support} v_j / k^½; only the encoder trains."""

    def __init__(self, encoder: Any, config: "Cosine"):
        self.encoder, self.config = encoder, config

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> ItemEncodings:
        return vector_JD, vector_JD * self.config.logit_scale, jnp.zeros(len(item_J))

    def users(self, profile_BD: jax.Array, history_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        return (
            self.config.profile_weight * profile_BD
            + history_BJ @ source_JV / jnp.sqrt(jnp.maximum(history_BJ.sum(1), 1.0))[:, None]
        )


class WhitenedCosine(DotProductModel):
    """The cosine of whitened texts. The whitening is fitted on warm items' texts, the mean of profiles on warm users'."""

    def __init__(self, encoder: Any, config: "TextVectors", train: TrainView):
        vector_ID, profile_UD = (next(iter(vectors.values())) for vectors in (train.item_vectors, train.user_vectors))
        mean_D, map_DD = similarity.whitening(vector_ID[train.warm_I], config.floor)
        self.encoder, self.config = encoder, config
        self.mean_D, self.map_DD = Buffer(jnp.asarray(mean_D, jnp.float32)), Buffer(jnp.asarray(map_DD, jnp.float32))
        self.profile_D = Buffer(jnp.asarray(profile_UD[train.warm_U].mean(0)))
        self.prior_I = Buffer(jnp.asarray(config.popularity_weight * popularity_prior(train)))

    def _white(self, vector_XD: jax.Array, mean_D: jax.Array) -> jax.Array:
        return similarity.unit((vector_XD - mean_D[None]) @ self.map_DD[...])

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> ItemEncodings:
        white_JD = self._white(vector_JD, self.mean_D[...])
        return white_JD, self.config.logit_scale * white_JD, self.prior_I[...][item_J]

    def users(self, profile_BD: jax.Array, history_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        sum_BV = self.config.profile_weight * self._white(profile_BD, self.profile_D[...]) + history_BJ @ source_JV
        return sum_BV / jnp.sqrt(jnp.maximum(history_BJ.sum(1), 1.0))[:, None]


@dataclass(frozen=True)
class Cosine(ModelConfig):
    """profile_weight: ρ; logit_scale: τ."""

    profile_weight: float
    logit_scale: float

    def __post_init__(self) -> None:
        require("model", self, above_0=["logit_scale"], at_least_0=["profile_weight"])

    def __call__(self, encoder: Any, train: TrainView, init: TowerInit | None, seed: int) -> CosineModule:
        return CosineModule(encoder, self)


@dataclass(frozen=True)
class TextVectors(ModelConfig):
    """floor: of whitening; profile_weight: ρ; logit_scale: τ; popularity_weight: a."""

    floor: float
    profile_weight: float
    logit_scale: float
    popularity_weight: float

    def __post_init__(self) -> None:
        require("model", self, above_0=["logit_scale"], at_least_0=["floor", "profile_weight"])

    def __call__(self, encoder: Any, train: TrainView, init: TowerInit | None, seed: int) -> WhitenedCosine:
        return WhitenedCosine(encoder, self, train)
