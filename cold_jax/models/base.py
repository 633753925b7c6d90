"""What all models share. A model scores from texts: it is the head on top of the encoder, and the encoder within.

    two_tower   score(u, i) = τ · u·v_i + b_i + a_u,   u = P·p(u) + c + Σ_{j in support} s_j / k^½
    linear      score(x) = w·x + b,              x = [profile; mean of the support; item]
    lstm        score(u, i) = w·LSTM(tokens of u, tokens of i) + b
    cosine      score(u, i) = τ · u·v_i,         u = ρ·p(u) + Σ_{j in support} v_j / k^½,   v = φ(text) itself
    sequence    score(u, i) = τ · û·v_i + b_i,    û the vectors of the latest items, pooled in order
    text_vectors  the same of whitened vectors, plus a · log c_i: zero-shot, without a parameter to train

The target vector v_i and the source vector s_i are linear in the item's features f_i = [φ(text); attributes; 1]. A warm item may add
residuals of its own, which a cold item lacks, and a warm user a bias a_u, which changes no order of items. Otherwise a user is a
function of the profile text and the items in the support.
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


ItemEncodings = tuple[jax.Array, ...]  # source_JV, target_JV, bias_J; and what else `scores` reads of an item


class TowerInit(NamedTuple):
    """A closed form's solution to initialise a two-tower from: vectors of all items, and their ridge regressions on the items' features."""

    source_IV: np.ndarray
    target_IV: np.ndarray
    bias_I: np.ndarray
    source_FV: np.ndarray
    target_FV: np.ndarray
    bias_F: np.ndarray
    profile_DV: np.ndarray  # the regression of users on their profile's vector
    user_bias_U: np.ndarray


class Model(nnx.Module):
    """An encoder and the head on top of it."""

    reads_states = False
    random = False  # whether it has dropout of its own
    history = 0  # how many of the newest items are read in order; 0: all, as a set


class ModelConfig:
    """The settings of a model, and what it needs from the assembly. Each choice of conf/model derives from it."""

    reads_states: ClassVar[bool] = False  # of texts it reads token states, rather than vectors
    row_per_text: ClassVar[bool] = False  # each text needs a packed row of its own
    takes_init: ClassVar[bool] = False  # it is initialised by conf/init's choice
    random_init: ClassVar[bool] = False  # without such a choice it starts from random numbers, so that it must train
    trains: ClassVar[bool] = True  # False: `scorer` gives its scores as they are
    predicts_tokens: ClassVar[bool] = False  # a language model, which ranks nothing
    width: int

    def __call__(self, encoder: nnx.Module, train: TrainView, init: TowerInit | None, seed: int) -> Model:
        """The model on an encoder."""
        raise NotImplementedError

    def unfilled(self, encoder: nnx.Module, train: TrainView, seed: int) -> Model:
        """The model whose parameters are about to be read from a file; what they are until then is of no account."""
        return self(encoder, train, None, seed)

    def scorer(self, loaded: Loaded, train: TrainView, profile_of: Callable[[int], str]) -> Scorer:
        """The scorer of a model that does not train; `profile_of(user)` is a user's main text."""
        raise NotImplementedError

    def visible(self, train: TrainView) -> TrainView:
        """What the model may read of the training data."""
        return train


class Partition(NamedTuple):
    """A model in parts: only `trainable` has gradients and optimizer state."""

    graph: nnx.GraphDef
    trainable: Tree
    frozen: Tree

    def model(self) -> Any:
        return nnx.merge(self.graph, self.trainable, self.frozen)


def partition_model(model: nnx.Module, encoder_trains: nnx.filterlib.Filter, head_trains: nnx.filterlib.Filter) -> Partition:
    """Splits a model by two filters: which of the encoder's variables train, and which of the head's."""
    inside = nnx.PathContains("encoder")
    trains = nnx.Any(nnx.All(inside, encoder_trains), nnx.All(nnx.Not(inside), head_trains))
    return Partition(*nnx.split(model, trains, ...))


def encode_texts(
    model: Any, rows: Rows | np.ndarray | jax.Array, microbatch_rows: int, key: jax.Array | None = None
) -> jax.Array:
    """Vectors (or token states, where the model reads those) of a step's texts, one per slot of `rows`.

    Packed rows are encoded in equal microbatches of `microbatch_rows` at most, so that activations stay in the cache. Rows are dealt out to
    the microbatches in turn: each then holds rows of every device that the rows are sharded over. `key` turns dropout on.
    """
    if not isinstance(rows, Rows):
        return (model.encoder.states if model.reads_states else model.encoder)(rows)
    R, L = rows.token_RL.shape
    count = next(count for count in range(-(-R // microbatch_rows), R + 1) if R % count == 0)
    dealt = jax.tree.map(lambda x_RL: x_RL.reshape(R // count, count, L).swapaxes(0, 1), rows)
    out = jax.lax.map(lambda microbatch: encode_rows(model, microbatch, key), dealt).swapaxes(0, 1)
    return out.reshape(-1, *out.shape[3:])


def encode_rows(model: Any, rows: Rows, key: jax.Array | None = None) -> jax.Array:
    """The same of one microbatch, with an axis for rows and one for slots. A token's noise depends on (key, text, position) alone."""
    read = model.encoder.states if model.reads_states else model.encoder

    def noise(key: jax.Array, text: Any, position: Any) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(key, text), position)

    each = jax.vmap(jax.vmap(noise, (None, 0, 0)), (None, 0, 0))
    out = read(rows, None if key is None else each(key, rows.text_RL, rows.position_RL))
    return out.reshape(len(rows.token_RL), -1, *out.shape[1:])


class DotProductModel(Model):
    """u·v + b of the vectors that `users` and `items` compute."""

    def users(self, profile_BD: jax.Array, history_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        """User vectors of shape (B, V); `history_BJ` holds the items' weights in the history."""
        raise NotImplementedError

    def user_biases(self, user_B: jax.Array) -> jax.Array:
        """What is added to all scores of a user, of shape (B,)."""
        return jnp.zeros(len(user_B))

    def scores(
        self, profile_BD: jax.Array, history: jax.Array, encodings: ItemEncodings, candidate_J: jax.Array | slice
    ) -> jax.Array:
        """score_BJ of the candidates, given as positions among the items of `encodings`; `history` is history_BJ or recent_BK."""
        source_JV, target_JV, bias_J = encodings
        return self.users(profile_BD, history, source_JV) @ target_JV[candidate_J].T + bias_J[candidate_J][None]


def tower_features(vector_JD: jax.Array, attribute_JF: jax.Array) -> jax.Array:
    """[vector; attributes / 2] scaled to unit length, then a constant 0.3: the features of baselines.ridge, differentiable in the vectors."""
    both_JF = jnp.concatenate([vector_JD, attribute_JF], 1)
    norm_J = jnp.sqrt(jnp.maximum((both_JF**2).sum(1), 1e-12))
    return jnp.concatenate([both_JF / norm_J[:, None], jnp.full((len(both_JF), 1), 0.3, both_JF.dtype)], 1)


def attribute_features(train: TrainView) -> np.ndarray:
    """All indicators of the items, halved, of shape (I, F)."""
    indicators = [0.5 * indicator for indicator in train.items.indicators.values()]
    return np.concatenate([np.zeros((len(train.items), 0)), *indicators], 1).astype(np.float32)


def log_popularity(train: TrainView) -> np.ndarray:
    """log of the items' share of the training interactions, with half an interaction added to each; shape (I,)."""
    count_I = np.asarray(train.interaction_UI.sum(0)).ravel() + 0.5
    return np.log(count_I / count_I.sum()).astype(np.float32)


def popularity_prior(train: TrainView) -> np.ndarray:
    """log c_i of warm items, and their mean for cold ones; shape (I,)."""
    log_c_I = log_popularity(train)
    return np.where(train.warm_I, log_c_I, log_c_I[train.warm_I].mean()).astype(np.float32)


def score_candidates(
    model: Any, vector_TD: jax.Array, examples: Examples, items: Items, key: jax.Array | None = None
) -> jax.Array:
    """score_BJ of a step's examples and items. `key` turns the model's own dropout on."""
    encodings = model.items(vector_TD[items.slot_J], items.item_J, key)
    history = examples.recent_BK if model.history else examples.history_BJ
    return (
        model.scores(vector_TD[examples.profile_B], history, encodings, slice(None)) + model.user_biases(examples.user_B)[:, None]
    )


def score_pairs(model: Any, encoded: jax.Array, examples: Examples, items: Items, key: jax.Array | None = None) -> jax.Array:
    """Logits of shape (B,): each example's user with their target."""
    if model.reads_states:
        return model.pairs(
            encoded, examples.profile_B, examples.length_B, items.slot_J[examples.target_B], items.length_J[examples.target_B]
        )
    return jnp.take_along_axis(score_candidates(model, encoded, examples, items, key), examples.target_B[:, None], 1)[:, 0]
