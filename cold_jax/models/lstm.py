"""score(u, i) = w·LSTM(tokens of u, tokens of i) + b: a published toy model, for pointwise tasks."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from cold_jax import seeds
from cold_jax.models.base import Model, ModelConfig, TowerInit
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView


class LstmModule(Model):
    """An LSTM over the token states of the profile, then of the item, and one sigmoid unit, of which this is the logit."""

    reads_states = True

    def __init__(self, encoder: Any, width: int, seed: int):
        rngs = nnx.Rngs(seeds.key(seed, "model"))
        self.encoder = encoder
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(encoder.state_width, width, rngs=rngs), return_carry=True, rngs=False)
        self.dense = nnx.Linear(width, 1, rngs=rngs)

    def pairs(
        self, state_TLD: jax.Array, profile_B: jax.Array, first_B: jax.Array, item_B: jax.Array, second_B: jax.Array
    ) -> jax.Array:
        """Logits of shape (B,) for the pairs of texts (profile_B, item_B), indices into T, of first_B and second_B tokens."""
        L = state_TLD.shape[1]
        position_BL = jnp.arange(2 * L)[None] - jnp.zeros_like(first_B)[:, None]
        after_BL = position_BL >= first_B[:, None]
        text_BL = jnp.where(after_BL, item_B[:, None], profile_B[:, None])
        within_BL = jnp.minimum(jnp.where(after_BL, position_BL - first_B[:, None], position_BL), L - 1)
        zero_BV = jnp.zeros((len(item_B), self.dense.in_features))
        (_, hidden_BV), _ = self.lstm(
            state_TLD[text_BL, within_BL], initial_carry=(zero_BV, zero_BV), seq_lengths=first_B + second_B
        )
        return self.dense(hidden_BV)[:, 0]


@dataclass(frozen=True)
class Lstm(ModelConfig):
    reads_states: ClassVar[bool] = True
    row_per_text: ClassVar[bool] = True
    random_init: ClassVar[bool] = True

    width: int

    def __post_init__(self) -> None:
        require("model", self, at_least_1=["width"])

    def __call__(self, encoder: Any, train: TrainView, init: TowerInit | None, seed: int) -> LstmModule:
        return LstmModule(encoder, self.width, seed)
