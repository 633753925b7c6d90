"""Scores from texts: what stands on top of the encoder.

    two_tower   score(u, i) = τ · u·v_i + b_i + a_u,   u = P·p(u) + c + Σ_{j in support} s_j / k^½
    linear      score(x) = w·x + b,              x = [profile; mean of the support; item]
    lstm        score(u, i) = w·LSTM(tokens of u, tokens of i) + b
    cosine      score(u, i) = τ · u·v_i,         u = ρ·p(u) + Σ_{j in support} v_j / k^½,   v = φ(text) itself
    text_vectors  the same of whitened vectors, beside a · log c_i: zero-shot, nothing learns

A target vector v_i and a source vector s_i are linear in the item's features f_i = [φ(text); attributes; 1]; a warm item may add a row
of its own, which a cold item lacks, and a warm user a level a_u, which orders no items. Else a user is a function of profile text and shown items.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax import seeds, similarity
from cold_jax.batches import Examples, Items
from cold_jax.parts import Train
from cold_jax.text import Rows

Tree = Any  # a pytree of arrays
Sides = tuple[jax.Array, jax.Array, jax.Array]  # items' sources and targets of shape (J, V), biases of shape (J,)


class Table(nnx.Variable):
    """An array that the model reads and never trains."""


class Start(NamedTuple):
    """A closed form's solution for a two-tower to start at: rows of all items, and the ridge of each on the items' features."""

    source_IV: np.ndarray
    target_IV: np.ndarray
    bias_I: np.ndarray
    source_FV: np.ndarray
    target_FV: np.ndarray
    bias_F: np.ndarray
    profile_DV: np.ndarray  # of users, on their profile's vector
    level_U: np.ndarray  # of users


class Partition(NamedTuple):
    """A model in pieces: only `trainable` has gradients and optimizer state."""

    graph: nnx.GraphDef
    trainable: Tree
    frozen: Tree

    def model(self) -> Any:
        return nnx.merge(self.graph, self.trainable, self.frozen)


def partition(model: nnx.Module, encoder_trains: nnx.filterlib.Filter, head_trains: nnx.filterlib.Filter) -> Partition:
    """Splits a model: the adapter says what of the encoder trains, and what of the rest."""
    inside = nnx.PathContains("encoder")
    trains = nnx.Any(nnx.All(inside, encoder_trains), nnx.All(nnx.Not(inside), head_trains))
    return Partition(*nnx.split(model, trains, ...))


def encode(model: Any, rows: Rows | np.ndarray | jax.Array, rows_at_once: int, key: jax.Array | None = None) -> jax.Array:
    """Vectors (or token states, where the model reads those) of a step's texts, one for each slot of `rows`.

    Packed rows go through the encoder in slices of `rows_at_once`, so that activations stay in the cache. Rows are dealt to slices like
    cards: each slice then holds rows of every device that the rows are spread over. `key` turns dropout on.
    """
    if not isinstance(rows, Rows):
        return (model.encoder.states if model.reads_states else model.encoder)(rows)
    R, L = rows.token_RL.shape
    dealt = jax.tree.map(lambda x_RL: x_RL.reshape(rows_at_once, R // rows_at_once, L).swapaxes(0, 1), rows)
    out = jax.lax.map(lambda piece: encode_slice(model, piece, key), dealt).swapaxes(0, 1)
    return out.reshape(-1, *out.shape[3:])


def encode_slice(model: Any, piece: Rows, key: jax.Array | None = None) -> jax.Array:
    """The same of one slice; a row and its slots have an axis each. A token's noise is a function of (key, text, place) alone."""
    read = model.encoder.states if model.reads_states else model.encoder

    def noise(key: jax.Array, text: Any, place: Any) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(key, text), place)

    each = jax.vmap(jax.vmap(noise, (None, 0, 0)), (None, 0, 0))
    out = read(piece, None if key is None else each(key, piece.text_RL, piece.place_RL))
    return out.reshape(len(piece.token_RL), -1, *out.shape[1:])


class UserTimesItem(nnx.Module):
    """u·v + b of what `users` and `items` give."""

    reads_states = False
    random = False  # has dropout of its own
    history = 0  # how many of the newest shown items are read in their order; 0: all, without one

    def users(self, profile_BD: jax.Array, shown_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        """User vectors of shape (B, V); `shown_BJ` holds the weights of the shown items."""
        raise NotImplementedError

    def levels(self, user_B: jax.Array) -> jax.Array:
        """What is added to all scores of a user; shape (B,)."""
        return jnp.zeros(len(user_B))

    def scores(self, profile_BD: jax.Array, shown: jax.Array, sides: Sides, candidate_J: jax.Array | slice) -> jax.Array:
        """score_BJ of the candidates, positions among the items that `sides` holds."""
        source_JV, target_JV, bias_J = sides
        return self.users(profile_BD, shown, source_JV) @ target_JV[candidate_J].T + bias_J[candidate_J][None]


class Towers(UserTimesItem):
    """u·v + b; inductive on both sides. The towers are linear, so that a closed form is a point of the model."""

    def __init__(self, encoder: Any, config: "TwoTower", train: Train, start: Start | None, seed: int):
        attribute_IF = attributes(train)
        D, V, F = encoder.width, config.width, encoder.width + attribute_IF.shape[1] + 1
        if start is None:
            draw = seeds.generator(seed, "towers")
            source_FV, target_FV = (draw.normal(0, 0.02, (F, V)).astype(np.float32) for _ in range(2))
            zero_IV = np.zeros((len(train.items), V), np.float32)
            start = Start(
                zero_IV,
                zero_IV,
                log_popularity(train),
                source_FV,
                target_FV,
                np.zeros(F, np.float32),
                np.zeros((D, V), np.float32),
                np.zeros(len(train.users), np.float32),
            )
        self.encoder = encoder
        self.attribute_IF = Table(jnp.asarray(attribute_IF))
        self.known_I = Table(jnp.asarray(train.warm_I, jnp.float32))
        self.profile_DV = nnx.Param(jnp.asarray(start.profile_DV))
        self.user_V = nnx.Param(jnp.zeros(V))
        self.source_FV = nnx.Param(jnp.asarray(start.source_FV))
        self.target_FV = nnx.Param(jnp.asarray(start.target_FV))
        self.bias_F = nnx.Param(jnp.asarray(start.bias_F))
        self.log_scale = nnx.Param(jnp.zeros(()))
        # A warm item's own rows hold what its features leave of the closed form.
        feature_IF = np.asarray(features(jnp.asarray(next(iter(train.item_vectors.values()))), jnp.asarray(attribute_IF)))
        own = lambda wanted, whole, mapped: nnx.Param(jnp.asarray(whole - feature_IF @ mapped)) if wanted else None  # noqa: E731
        self.own_source_IV = own(config.own_source, start.source_IV, start.source_FV)
        self.own_target_IV = own(config.own_target, start.target_IV, start.target_FV)
        self.own_bias_I = own(config.own_bias, start.bias_I, start.bias_F)
        users = int(np.flatnonzero(train.warm_U).max(initial=0)) + 1  # one more user, who is asked about later, changes no shape
        self.warm_U = Table(jnp.asarray(train.warm_U[:users], jnp.float32))
        self.own_level_U = nnx.Param(jnp.asarray(start.level_U[:users])) if config.own_level else None

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> Sides:
        feature_JF = features(vector_JD, self.attribute_IF[...][item_J])
        known_J = self.known_I[...][item_J]
        source_JV, target_JV = feature_JF @ self.source_FV[...], feature_JF @ self.target_FV[...]
        bias_J = feature_JF @ self.bias_F[...]
        if self.own_source_IV is not None:
            source_JV += known_J[:, None] * self.own_source_IV[...][item_J]
        if self.own_target_IV is not None:
            target_JV += known_J[:, None] * self.own_target_IV[...][item_J]
        if self.own_bias_I is not None:
            bias_J += known_J * self.own_bias_I[...][item_J]
        return source_JV, target_JV * jnp.exp(self.log_scale[...]), bias_J

    def levels(self, user_B: jax.Array) -> jax.Array:
        if self.own_level_U is None:
            return super().levels(user_B)
        level_U = self.warm_U[...] * self.own_level_U[...]
        return jnp.where(user_B < len(level_U), level_U[jnp.minimum(user_B, len(level_U) - 1)], 0)

    def users(self, profile_BD: jax.Array, shown_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        count_B = jnp.maximum(shown_BJ.sum(1), 1.0)
        return profile_BD @ self.profile_DV[...] + self.user_V[...][None] + (shown_BJ @ source_JV) / jnp.sqrt(count_B)[:, None]


class Alike(UserTimesItem):
    """τ · u·v_i of the vectors as they are, u = ρ·p(u) + Σ_{j in support} v_j / k^½: what trains is the encoder alone."""

    def __init__(self, encoder: Any, config: "Cosine"):
        self.encoder, self.config = encoder, config

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> Sides:
        return vector_JD, vector_JD * self.config.sharpness, jnp.zeros(len(item_J))

    def users(self, profile_BD: jax.Array, shown_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        return self.config.profile * profile_BD + shown_BJ @ source_JV / jnp.sqrt(jnp.maximum(shown_BJ.sum(1), 1.0))[:, None]


class Nearest(UserTimesItem):
    """The cosine of whitened texts. The whitening is of warm items' texts, the mean of profiles that of warm users'."""

    def __init__(self, encoder: Any, config: "TextVectors", train: Train):
        vector_ID, profile_UD = (next(iter(vectors.values())) for vectors in (train.item_vectors, train.user_vectors))
        mean_D, map_DD = similarity.whitening(vector_ID[train.warm_I], config.floor)
        self.encoder, self.config = encoder, config
        self.mean_D, self.map_DD = Table(jnp.asarray(mean_D, jnp.float32)), Table(jnp.asarray(map_DD, jnp.float32))
        self.profile_D = Table(jnp.asarray(profile_UD[train.warm_U].mean(0)))
        self.prior_I = Table(jnp.asarray(config.prior * prior(train)))

    def _white(self, vector_XD: jax.Array, mean_D: jax.Array) -> jax.Array:
        return similarity.unit((vector_XD - mean_D[None]) @ self.map_DD[...])

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> Sides:
        white_JD = self._white(vector_JD, self.mean_D[...])
        return white_JD, self.config.sharpness * white_JD, self.prior_I[...][item_J]

    def users(self, profile_BD: jax.Array, shown_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        sum_BV = self.config.profile * self._white(profile_BD, self.profile_D[...]) + shown_BJ @ source_JV
        return sum_BV / jnp.sqrt(jnp.maximum(shown_BJ.sum(1), 1.0))[:, None]


class WeightedSum(UserTimesItem):
    """w·x + b over x = [profile; mean of the shown items; item]: one order of the items for everybody, as a yardstick."""

    def __init__(self, encoder: Any):
        D = encoder.width
        self.encoder = encoder
        self.profile_D = nnx.Param(jnp.zeros(D))
        self.shown_D = nnx.Param(jnp.zeros(D))
        self.item_D = nnx.Param(jnp.zeros(D))
        self.bias = nnx.Param(jnp.zeros(()))

    def items(self, vector_JD: jax.Array, item_J: jax.Array, key: jax.Array | None = None) -> Sides:
        source_J = vector_JD @ self.shown_D[...]
        return source_J[:, None], jnp.ones_like(source_J)[:, None], vector_JD @ self.item_D[...] + self.bias[...]

    def users(self, profile_BD: jax.Array, shown_BJ: jax.Array, source_JV: jax.Array) -> jax.Array:
        mean_BV = (shown_BJ @ source_JV) / jnp.maximum(shown_BJ.sum(1), 1.0)[:, None]
        return (profile_BD @ self.profile_D[...])[:, None] + mean_BV


class LstmHead(nnx.Module):
    """Token states of the profile, then of the item, through an LSTM and one sigmoid unit (its logit): the published toy."""

    reads_states = True
    random = False

    def __init__(self, encoder: Any, width: int, seed: int):
        rngs = nnx.Rngs(seeds.key(seed, "model"))
        self.encoder = encoder
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(encoder.width, width, rngs=rngs), return_carry=True, rngs=False)
        self.dense = nnx.Linear(width, 1, rngs=rngs)

    def pairs(
        self, state_TLD: jax.Array, profile_B: jax.Array, first_B: jax.Array, item_B: jax.Array, second_B: jax.Array
    ) -> jax.Array:
        """Logits of shape (B,) for the pairs of texts (profile_B, item_B), positions in T, of first_B and second_B tokens."""
        L = state_TLD.shape[1]
        place_BL = jnp.arange(2 * L)[None] - jnp.zeros_like(first_B)[:, None]
        after_BL = place_BL >= first_B[:, None]
        text_BL = jnp.where(after_BL, item_B[:, None], profile_B[:, None])
        within_BL = jnp.minimum(jnp.where(after_BL, place_BL - first_B[:, None], place_BL), L - 1)
        zero_BV = jnp.zeros((len(item_B), self.dense.in_features))
        (_, hidden_BV), _ = self.lstm(
            state_TLD[text_BL, within_BL], initial_carry=(zero_BV, zero_BV), seq_lengths=first_B + second_B
        )
        return self.dense(hidden_BV)[:, 0]


@dataclass(frozen=True)
class TwoTower:
    """width: V. own_target, own_source, own_bias: rows of their own for warm items. own_level: a_u of warm users, for given rows. attributes: read beside the text."""

    width: int
    own_target: bool
    own_source: bool
    own_bias: bool
    own_level: bool
    attributes: bool

    def seen(self, train: Train) -> Train:
        """Without the items' attributes, where these are not read."""
        return train if self.attributes else replace(train, items=replace(train.items, indicators={}))

    def __call__(self, encoder: Any, train: Train, start: Start | None, seed: int) -> Towers:
        return Towers(encoder, self, self.seen(train), start, seed)


@dataclass(frozen=True)
class Cosine:
    """profile: ρ; sharpness: τ."""

    profile: float
    sharpness: float

    def __call__(self, encoder: Any, train: Train, start: Start | None, seed: int) -> Alike:
        return Alike(encoder, self)


@dataclass(frozen=True)
class TextVectors:
    """floor: of whitening; profile: ρ; sharpness: τ; prior: a."""

    floor: float
    profile: float
    sharpness: float
    prior: float

    def __call__(self, encoder: Any, train: Train, start: Start | None, seed: int) -> Nearest:
        return Nearest(encoder, self, train)


@dataclass(frozen=True)
class Linear:
    def __call__(self, encoder: Any, train: Train, start: Start | None, seed: int) -> WeightedSum:
        return WeightedSum(encoder)


@dataclass(frozen=True)
class Lstm:
    width: int

    def __call__(self, encoder: Any, train: Train, start: Start | None, seed: int) -> LstmHead:
        return LstmHead(encoder, self.width, seed)


BEGIN_AT_RANDOM = (TwoTower, Linear, Lstm)  # where no closed form is given


def features(vector_JD: jax.Array, attribute_JF: jax.Array) -> jax.Array:
    """[vector; attributes / 2] at unit length, then a constant 0.3: the reference ridge's features, differentiable in the vectors."""
    both_JF = jnp.concatenate([vector_JD, attribute_JF], 1)
    norm_J = jnp.sqrt(jnp.maximum((both_JF**2).sum(1), 1e-12))
    return jnp.concatenate([both_JF / norm_J[:, None], jnp.full((len(both_JF), 1), 0.3, both_JF.dtype)], 1)


def attributes(train: Train) -> np.ndarray:
    """All indicators of the items side by side, halved, of shape (I, F)."""
    indicators = [0.5 * indicator for indicator in train.items.indicators.values()]
    return np.concatenate([np.zeros((len(train.items), 0)), *indicators], 1).astype(np.float32)


def log_popularity(train: Train) -> np.ndarray:
    """log of the items' share of the training interactions, with half an interaction added to each; shape (I,)."""
    count_I = np.asarray(train.interaction_UI.sum(0)).ravel() + 0.5
    return np.log(count_I / count_I.sum()).astype(np.float32)


def prior(train: Train) -> np.ndarray:
    """log c_i, of shape (I,)."""
    log_c_I = log_popularity(train)
    return np.where(train.warm_I, log_c_I, log_c_I[train.warm_I].mean()).astype(np.float32)


def score(model: Any, vector_TD: jax.Array, examples: Examples, items: Items, key: jax.Array | None = None) -> jax.Array:
    """score_BJ of a step's examples for the items that the step encoded. `key` turns the model's own dropout on."""
    sides = model.items(vector_TD[items.slot_J], items.item_J, key)
    shown = examples.newest_BK if model.history else examples.shown_BJ
    return model.scores(vector_TD[examples.profile_B], shown, sides, slice(None)) + model.levels(examples.user_B)[:, None]


def score_pairs(model: Any, encoded: jax.Array, examples: Examples, items: Items, key: jax.Array | None = None) -> jax.Array:
    """Logits of shape (B,): each example's user with its target."""
    if model.reads_states:
        return model.pairs(
            encoded, examples.profile_B, examples.length_B, items.slot_J[examples.target_B], items.length_J[examples.target_B]
        )
    return jnp.take_along_axis(score(model, encoded, examples, items, key), examples.target_B[:, None], 1)[:, 0]
