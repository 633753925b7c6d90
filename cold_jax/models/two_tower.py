"""score(u, i) = τ · u·v_i + b_i + a_u; both towers are linear in their features."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax import seeds
from cold_jax.encoders.layers import Buffer
from cold_jax.models.base import (
    DotProductModel,
    ItemEncodings,
    ModelConfig,
    TowerInit,
    attribute_features,
    log_popularity,
    tower_features,
)
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView


class TwoTowerModule(DotProductModel):
    """Inductive on both sides. The towers are linear, so that the model contains the closed forms of models.init."""

    def __init__(
        self,
        encoder: Any,
        config: "TwoTower",
        train: TrainView,
        init: TowerInit,
        residual_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ):
        """`residual_of`: (vectors that warm items start with, the map that predicts them from features) → what is left to the items' own."""
        put = jax.device_put  # as they are; jnp.asarray compiles a program for every shape, outside of compiled ones
        self.encoder = encoder
        self.attribute_IF = Buffer(put(attribute_features(train)))
        self.warm_I = Buffer(put(train.warm_I.astype(np.float32)))
        self.profile_DV = nnx.Param(put(init.profile_DV))
        self.user_V = nnx.Param(put(np.zeros(config.width, np.float32)))
        self.source_FV = nnx.Param(put(init.source_FV))
        self.target_FV = nnx.Param(put(init.target_FV))
        self.bias_F = nnx.Param(put(init.bias_F))
        self.log_scale = nnx.Param(put(np.zeros((), np.float32)))
        residual = lambda wanted, target, map: nnx.Param(put(residual_of(target, map))) if wanted else None  # noqa: E731
        self.item_source_residual_IV = residual(config.item_source_residual, init.source_IV, init.source_FV)
        self.item_target_residual_IV = residual(config.item_target_residual, init.target_IV, init.target_FV)
        self.item_bias_I = residual(config.item_bias, init.bias_I, init.bias_F)
        users = int(np.flatnonzero(train.warm_U).max(initial=0)) + 1  # a new user, appended later, changes no shape
        self.warm_U = Buffer(put(train.warm_U[:users].astype(np.float32)))
        self.user_bias_U = nnx.Param(put(init.user_bias_U[:users])) if config.user_bias else None

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> ItemEncodings:
        feature_JF = self.item_features(vector_JD, item_J)
        warm_J = self.warm_I[...][item_J]
        source_JV, target_JV = feature_JF @ self.source_FV[...], feature_JF @ self.target_FV[...]
        bias_J = feature_JF @ self.bias_F[...]
        if self.item_source_residual_IV is not None:
            source_JV += warm_J[:, None] * self.item_source_residual_IV[...][item_J]
        if self.item_target_residual_IV is not None:
            target_JV += warm_J[:, None] * self.item_target_residual_IV[...][item_J]
        if self.item_bias_I is not None:
            bias_J += warm_J * self.item_bias_I[...][item_J]
        return source_JV, target_JV * jnp.exp(self.log_scale[...]), bias_J

    def user_biases(self, user_B: jax.Array) -> jax.Array:
        if self.user_bias_U is None:
            return super().user_biases(user_B)
        user_bias_U = self.warm_U[...] * self.user_bias_U[...]
        return jnp.where(user_B < len(user_bias_U), user_bias_U[jnp.minimum(user_B, len(user_bias_U) - 1)], 0)

    def users(self, profile_BD: jax.Array, history_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        count_B = jnp.maximum(history_BJ.sum(1), 1.0)
        return profile_BD @ self.profile_DV[...] + self.user_V[...][None] + (history_BJ @ source_JV) / jnp.sqrt(count_B)[:, None]

    def item_features(self, vector_JD: jax.Array, item_J: jax.Array) -> jax.Array:
        """The items' features, of shape (J, F), of the vectors of their texts."""
        return tower_features(vector_JD, self.attribute_IF[...][item_J])

    def scores_of_features(
        self, profile_BD: jax.Array, history_BK: jax.Array, weight_BK: jax.Array, feature_JF: jax.Array
    ) -> jax.Array:
        """`scores` of all items for few users, without the items' vectors: (u·Tᵀ)·fᵀ costs a user's gradient no J × F × V product.

        history_BK holds items, weight_BK their weights in the history; `feature_JF` are the features of all items. Items have no residuals but a bias.
        """
        history_BF = jnp.einsum("bk,bkf->bf", weight_BK, feature_JF[history_BK])
        count_B = jnp.maximum(weight_BK.sum(1), 1.0)
        user_BV = profile_BD @ self.profile_DV[...] + self.user_V[...][None]
        user_BV += (history_BF @ self.source_FV[...]) / jnp.sqrt(count_B)[:, None]
        user_BF = (user_BV @ self.target_FV[...].T) * jnp.exp(self.log_scale[...]) + self.bias_F[...][None]
        bias_J = 0.0 if self.item_bias_I is None else (self.warm_I[...] * self.item_bias_I[...])[None]
        return user_BF @ feature_JF.T + bias_J


@dataclass(frozen=True)
class TwoTower(ModelConfig):
    """width: V. item_target_residual, item_source_residual, item_bias: parameters of each warm item. user_bias: a_u of warm users.

    attributes: whether they are read in addition to the text.
    """

    takes_init: ClassVar[bool] = True
    random_init: ClassVar[bool] = True

    width: int
    item_target_residual: bool
    item_source_residual: bool
    item_bias: bool
    user_bias: bool
    attributes: bool

    def __post_init__(self) -> None:
        require("model", self, at_least_1=["width"])

    def visible(self, train: TrainView) -> TrainView:
        """Without the items' attributes, unless they are read."""
        return train if self.attributes else replace(train, items=replace(train.items, indicators={}))

    def __call__(self, encoder: Any, train: TrainView, init: TowerInit | None, seed: int) -> TwoTowerModule:
        train = self.visible(train)
        vector_ID = next(iter(train.item_vectors.values()))
        feature_IF = np.asarray(tower_features(jnp.asarray(vector_ID), jnp.asarray(attribute_features(train))))
        if init is None:
            init = self._random(train, feature_IF, encoder.width, seed)
        return TwoTowerModule(encoder, self, train, init, lambda target, map: target - feature_IF @ map)

    def _random(self, train: TrainView, feature_IF: np.ndarray, D: int, seed: int) -> TowerInit:
        """Small random maps. Residuals of zero: vectors of zero would be a saddle, where no map and no residual has a gradient."""
        draw, F = seeds.generator(seed, "towers"), feature_IF.shape[1]
        source_FV, target_FV = (draw.normal(0, 0.02, (F, self.width)).astype(np.float32) for _ in range(2))
        return TowerInit(
            feature_IF @ source_FV,
            feature_IF @ target_FV,
            log_popularity(train),
            source_FV,
            target_FV,
            np.zeros(F, np.float32),
            np.zeros((D, self.width), np.float32),
            np.zeros(len(train.users), np.float32),
        )

    def unfilled(self, encoder: Any, train: TrainView, seed: int) -> TwoTowerModule:
        train = self.visible(train)
        I, D, V = len(train.items), encoder.width, self.width
        F = D + attribute_features(train).shape[1] + 1
        shapes = (I, V), (I, V), (I,), (F, V), (F, V), (F,), (D, V), (len(train.users),)
        init = TowerInit(*(np.zeros(shape, np.float32) for shape in shapes))
        return TwoTowerModule(encoder, self, train, init, lambda target, map: target)
