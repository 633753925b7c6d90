"""score(x) = w·x + b."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from cold_jax.models.base import DotProductModel, ItemEncodings, ModelConfig, TowerInit
from cold_jax.splits.tasks import TrainView


class LinearModule(DotProductModel):
    """w·x + b over x = [profile; mean of the support; item]: one order of the items for all users, as a yardstick."""

    def __init__(self, encoder: Any):
        D = encoder.width
        self.encoder = encoder
        self.profile_D = nnx.Param(jnp.zeros(D))
        self.support_D = nnx.Param(jnp.zeros(D))
        self.item_D = nnx.Param(jnp.zeros(D))
        self.bias = nnx.Param(jnp.zeros(()))

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> ItemEncodings:
        source_J = vector_JD @ self.support_D[...]
        return source_J[:, None], jnp.ones_like(source_J)[:, None], vector_JD @ self.item_D[...] + self.bias[...]

    def users(self, profile_BD: jax.Array, history_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        mean_BV = (history_BJ @ source_JV) / jnp.maximum(history_BJ.sum(1), 1.0)[:, None]
        return (profile_BD @ self.profile_D[...])[:, None] + mean_BV


@dataclass(frozen=True)
class LinearModel(ModelConfig):
    random_init: ClassVar[bool] = True

    def __call__(self, encoder: Any, train: TrainView, init: TowerInit | None, seed: int) -> LinearModule:
        return LinearModule(encoder)
