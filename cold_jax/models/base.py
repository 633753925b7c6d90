"""Scores from texts: what stands on top of the encoder.

    two_tower   score(u, i) = τ · u·v_i + b_i + a_u,   u = P·p(u) + c + Σ_{j in support} s_j / k^½
    linear      score(x) = w·x + b,              x = [profile; mean of the support; item]
    lstm        score(u, i) = w·LSTM(tokens of u, tokens of i) + b
    cosine      score(u, i) = τ · u·v_i,         u = ρ·p(u) + Σ_{j in support} v_j / k^½,   v = φ(text) itself
    text_vectors  the same of whitened vectors, beside a · log c_i: zero-shot, nothing learns

A target vector v_i and a source vector s_i are linear in the item's features f_i = [φ(text); attributes; 1]; a warm item may add a row
of its own, which a cold item lacks, and a warm user a level a_u, which orders no items. Else a user is a function of profile text and shown items.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax.batching.batch import Examples, Items
from cold_jax.encoders import Loaded
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.splits.tasks import TrainView
from cold_jax.text.packing import Rows

Tree = Any  # a pytree of arrays


ItemEncodings = tuple[jax.Array, jax.Array, jax.Array]  # items' sources and targets of shape (J, V), biases of shape (J,)


class TowerInit(NamedTuple):
    """A closed form's solution for a two-tower to start at: rows of all items, and the ridge of each on the items' features."""

    source_IV: np.ndarray
    target_IV: np.ndarray
    bias_I: np.ndarray
    source_FV: np.ndarray
    target_FV: np.ndarray
    bias_F: np.ndarray
    profile_DV: np.ndarray  # of users, on their profile's vector
    user_bias_U: np.ndarray  # of users


class Model(nnx.Module):
    """What is on top of an encoder, and the encoder within."""

    reads_states = False
    random = False  # has dropout of its own
    history = 0  # how many of the most recent items are read in their order; 0: all, without one


class ModelConfig:
    """What assembly asks of a model's settings. Each choice of conf/model derives from it and says what it needs."""

    reads_states: ClassVar[bool] = False  # token states of the texts, rather than a vector of each
    row_per_text: ClassVar[bool] = False  # each text has a packed row of its own
    takes_init: ClassVar[bool] = False  # begins at what conf/init chooses
    random_init: ClassVar[bool] = False  # begins at random where no closed form is given, so that it must train
    trains: ClassVar[bool] = True  # False: a scorer as it is, of `scorer`
    predicts_tokens: ClassVar[bool] = False  # a language model, which ranks nothing
    width: int

    def __call__(self, encoder: nnx.Module, train: TrainView, init: TowerInit | None, seed: int) -> Model:
        """The model on an encoder."""
        raise NotImplementedError

    def scorer(self, loaded: Loaded, train: TrainView, profile_of: Callable[[int], str]) -> Scorer:
        """Of a model that does not train: its scores, of users whose main text is `profile_of(user)`."""
        raise NotImplementedError

    def visible(self, train: TrainView) -> TrainView:
        """What the model may read of the training data."""
        return train


class Partition(NamedTuple):
    """A model in pieces: only `trainable` has gradients and optimizer state."""

    graph: nnx.GraphDef
    trainable: Tree
    frozen: Tree

    def model(self) -> Any:
        return nnx.merge(self.graph, self.trainable, self.frozen)


def partition_model(model: nnx.Module, encoder_trains: nnx.filterlib.Filter, head_trains: nnx.filterlib.Filter) -> Partition:
    """Splits a model: the adapter says what of the encoder trains, and what of the rest."""
    inside = nnx.PathContains("encoder")
    trains = nnx.Any(nnx.All(inside, encoder_trains), nnx.All(nnx.Not(inside), head_trains))
    return Partition(*nnx.split(model, trains, ...))


def encode_texts(
    model: Any, rows: Rows | np.ndarray | jax.Array, microbatch_rows: int, key: jax.Array | None = None
) -> jax.Array:
    """Vectors (or token states, where the model reads those) of a step's texts, one for each slot of `rows`.

    Packed rows go through the encoder in slices of `microbatch_rows`, so that activations stay in the cache. Rows are dealt to slices like
    cards: each slice then holds rows of every device that the rows are spread over. `key` turns dropout on.
    """
    if not isinstance(rows, Rows):
        return (model.encoder.states if model.reads_states else model.encoder)(rows)
    R, L = rows.token_RL.shape
    dealt = jax.tree.map(lambda x_RL: x_RL.reshape(microbatch_rows, R // microbatch_rows, L).swapaxes(0, 1), rows)
    out = jax.lax.map(lambda piece: encode_rows(model, piece, key), dealt).swapaxes(0, 1)
    return out.reshape(-1, *out.shape[3:])


def encode_rows(model: Any, piece: Rows, key: jax.Array | None = None) -> jax.Array:
    """The same of one slice; a row and its slots have an axis each. A token's noise is a function of (key, text, place) alone."""
    read = model.encoder.states if model.reads_states else model.encoder

    def noise(key: jax.Array, text: Any, place: Any) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(key, text), place)

    each = jax.vmap(jax.vmap(noise, (None, 0, 0)), (None, 0, 0))
    out = read(piece, None if key is None else each(key, piece.text_RL, piece.position_RL))
    return out.reshape(len(piece.token_RL), -1, *out.shape[1:])


class DotProductModel(Model):
    """u·v + b of what `users` and `items` give."""

    def users(self, profile_BD: jax.Array, history_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        """User vectors of shape (B, V); `history_BJ` holds the weights of the shown items."""
        raise NotImplementedError

    def levels(self, user_B: jax.Array) -> jax.Array:
        """What is added to all scores of a user; shape (B,)."""
        return jnp.zeros(len(user_B))

    def scores(self, profile_BD: jax.Array, shown: jax.Array, sides: ItemEncodings, candidate_J: jax.Array | slice) -> jax.Array:
        """score_BJ of the candidates, positions among the items that `sides` holds."""
        source_JV, target_JV, bias_J = sides
        return self.users(profile_BD, shown, source_JV) @ target_JV[candidate_J].T + bias_J[candidate_J][None]


def tower_features(vector_JD: jax.Array, attribute_JF: jax.Array) -> jax.Array:
    """[vector; attributes / 2] at unit length, then a constant 0.3: the reference ridge's features, differentiable in the vectors."""
    both_JF = jnp.concatenate([vector_JD, attribute_JF], 1)
    norm_J = jnp.sqrt(jnp.maximum((both_JF**2).sum(1), 1e-12))
    return jnp.concatenate([both_JF / norm_J[:, None], jnp.full((len(both_JF), 1), 0.3, both_JF.dtype)], 1)


def attribute_features(train: TrainView) -> np.ndarray:
    """All indicators of the items side by side, halved, of shape (I, F)."""
    indicators = [0.5 * indicator for indicator in train.items.indicators.values()]
    return np.concatenate([np.zeros((len(train.items), 0)), *indicators], 1).astype(np.float32)


def log_popularity(train: TrainView) -> np.ndarray:
    """log of the items' share of the training interactions, with half an interaction added to each; shape (I,)."""
    count_I = np.asarray(train.interaction_UI.sum(0)).ravel() + 0.5
    return np.log(count_I / count_I.sum()).astype(np.float32)


def popularity_prior(train: TrainView) -> np.ndarray:
    """log c_i, of shape (I,)."""
    log_c_I = log_popularity(train)
    return np.where(train.warm_I, log_c_I, log_c_I[train.warm_I].mean()).astype(np.float32)


def score_candidates(
    model: Any, vector_TD: jax.Array, examples: Examples, items: Items, key: jax.Array | None = None
) -> jax.Array:
    """score_BJ of a step's examples for the items that the step encoded. `key` turns the model's own dropout on."""
    sides = model.items(vector_TD[items.slot_J], items.item_J, key)
    shown = examples.recent_BK if model.history else examples.history_BJ
    return model.scores(vector_TD[examples.profile_B], shown, sides, slice(None)) + model.levels(examples.user_B)[:, None]


def score_pairs(model: Any, encoded: jax.Array, examples: Examples, items: Items, key: jax.Array | None = None) -> jax.Array:
    """Logits of shape (B,): each example's user with its target."""
    if model.reads_states:
        return model.pairs(
            encoded, examples.profile_B, examples.length_B, items.slot_J[examples.target_B], items.length_J[examples.target_B]
        )
    return jnp.take_along_axis(score_candidates(model, encoded, examples, items, key), examples.target_B[:, None], 1)[:, 0]
