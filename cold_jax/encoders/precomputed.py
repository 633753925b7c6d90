"""A frozen encoder as a table: each text is encoded once, kept in the cache, and looked up behind an encoder's signature.

So are the frozen layers below adapted ones: they give a text the same states in every step.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax.encoders.layers import Transformer
from cold_jax.encoders.text_encoder import Loaded, TextEncoder
from cold_jax.errors import ConfigError
from cold_jax.progress import stage
from cold_jax.storage import cache
from cold_jax.text.packing import Rows, fit_row_length, pack, row_slices
from cold_jax.text.tokens import Tokens, without_repetitions
from cold_jax.timing import timed

Encoder = TypeVar("Encoder", bound=nnx.Module)


_REPEATED = 2  # texts for each that differs, from which each is encoded once
ROWS = 16  # rows of a slice: with 64 tokens a row, its activations fit a core's share of the cache
ACCELERATOR_ROWS = 256  # of a slice on a GPU or TPU, which fewer leave idle (experiments/benchmarks)
AHEAD = 8  # slices that may wait for the device


class VectorTable(nnx.Module):
    """The vectors of all texts; nothing of it learns."""

    def __init__(self, vector_TD: np.ndarray):
        self.width = vector_TD.shape[1]
        self.vector = nnx.Variable(jax.device_put(vector_TD))

    def __call__(self, text_T: jax.Array, noise_T: jax.Array | None = None) -> jax.Array:
        """The vectors of the texts with these indices; NaN for an index beyond the table."""
        return jnp.take(self.vector[...], text_T, axis=0)


class TokenStateTable(nnx.Module):
    """The token states of all texts, padded to the longest; nothing of it learns."""

    def __init__(self, state_TLD: np.ndarray, length_T: np.ndarray):
        self.state_width = state_TLD.shape[2]
        self.state = nnx.Variable(jnp.asarray(state_TLD))
        self.length = nnx.Variable(jnp.asarray(length_T, jnp.int32))

    def states(self, text_T: jax.Array, noise_T: jax.Array | None = None) -> jax.Array:
        """Their states, of shape (T, L, D), 0 beyond a text's end; NaN for an index beyond the table."""
        return jnp.take(self.state[...], text_T, axis=0)


class FrozenPrefix(nnx.Module):
    """The states of all tokens under the first layer that learns, in the place of the embeddings; nothing of it learns."""

    def __init__(self, state_ND: np.ndarray, offset_T: np.ndarray, dtype: jnp.dtype):
        self.state = nnx.Variable(jnp.asarray(state_ND, dtype))
        self.offset = nnx.Variable(jnp.asarray(offset_T[:-1], jnp.int32))

    def __call__(self, rows: Rows) -> jax.Array:
        text_RL, position_RL = jnp.asarray(rows.text_RL), jnp.asarray(rows.position_RL)
        return self.state[...][self.offset[...][text_RL] + position_RL]


def with_frozen_prefix(loaded: Loaded, tokens: Tokens, last: int) -> TextEncoder:
    """The encoder's last layers on a table of what the frozen ones below make of these texts, from the cache as above.

    Raises ConfigError where it has fewer layers.
    """
    backbone = loaded.encoder.backbone
    layers = len(jax.tree.leaves(nnx.state(backbone.layers))[0])
    if last > layers:
        raise ConfigError(f"adapter.layers: last_{last} of an encoder of {layers} layers")

    def only(which: slice) -> Transformer:
        part = nnx.clone(backbone)
        part.layers = jax.tree.map(lambda stacked: stacked[which], backbone.layers)
        return part

    def build() -> dict[str, np.ndarray]:
        lower, (rows, _) = only(slice(layers - last)), _pack(loaded, tokens)
        state_ND = np.zeros((len(tokens.token_N), loaded.encoder.state_width), np.float32)
        for part, x_RLD in _slices(_below, lower, rows):
            real_RL = part.segment_RL > 0
            state_ND[tokens.offset_T[part.text_RL[real_RL]] + part.position_RL[real_RL]] = np.asarray(x_RLD, np.float32)[real_RL]
        return {"state_ND": state_ND}

    key = _key(loaded, tokens) | {"layers": layers - last}
    top = only(slice(layers - last, None))
    top.embeddings = FrozenPrefix(cache.arrays("below", key, build)["state_ND"], tokens.offset_T, backbone.dtype)
    return loaded.encoder.with_backbone(top)


class NoEncoder(nnx.Module):
    """In the place of an encoder, for a head that reads vectors made elsewhere."""

    def __init__(self, width: int):
        self.width = width


class LazyVectors(Mapping[str, np.ndarray]):
    """Name of a text → θ's vector_TD of it for all entities, made when it is first read: what no method reads is never encoded."""

    def __init__(self, loaded: Loaded, tokens: Mapping[str, Tokens]):
        self.loaded, self.tokens = loaded, tokens
        self.made: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.made:
            with timed("encode"):
                self.made[name] = vectors(self.loaded, self.tokens[name])
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)


class ExtendedVectors(Mapping[str, np.ndarray]):
    """The vectors of `base`, and after them those of more texts by the same names, made when they are first read; the cache has no trace of these."""

    def __init__(self, base: Mapping[str, np.ndarray], loaded: Loaded, texts: Mapping[str, Sequence[str]], side: str):
        self.base, self.loaded, self.texts, self.side = base, loaded, texts, side
        self.made: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.made:
            self.made[name] = np.concatenate([self.base[name], encode(self.loaded, self.texts[name], self.side)])
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.base)

    def __len__(self) -> int:
        return len(self.base)


def vectors(loaded: Loaded, tokens: Tokens) -> np.ndarray:
    """float32 vector_TD of all texts, in their order; from the cache if they were encoded before.

    Where most texts are repetitions, each is encoded once. Where few are, they share rows as in a step, and so have its last bits.
    """
    once, at_T = without_repetitions(tokens)
    repetitive = len(tokens.length_T) > _REPEATED * len(once.length_T)
    own = once if repetitive else tokens

    build = lambda: {"vector_TD": _all_vectors(loaded, own, rows_at_once())}  # noqa: E731
    vector_TD = cache.arrays("vectors", _key(loaded, own), build)["vector_TD"]
    return vector_TD[at_T] if repetitive else vector_TD


def encode(loaded: Loaded, texts: Sequence[str], side: str) -> np.ndarray:
    """float32 vector_TD of a side's texts (users, items or queries), which leave no trace in the cache."""
    return _all_vectors(loaded, loaded.tokenize(texts, side, keep=False), min(len(texts), rows_at_once()))


def _all_vectors(loaded: Loaded, tokens: Tokens, multiple: int) -> np.ndarray:
    rows, slot_T = _pack(loaded, tokens, multiple)
    vector_TD = np.empty((len(slot_T), loaded.encoder.width), np.float32)
    slice_T, place_T = np.divmod(slot_T, min(len(rows.segment_RL), rows_at_once()) * loaded.encoder.texts_per_row)
    of_slice = np.split(np.argsort(slice_T, kind="stable"), np.cumsum(np.bincount(slice_T))[:-1]) if len(slot_T) else []
    most, waiting = max(map(len, of_slice), default=0), deque[tuple[np.ndarray, jax.Array]]()

    def fetch() -> None:
        at_T, found_TD = waiting.popleft()
        vector_TD[at_T] = np.asarray(found_TD)[: len(at_T)]

    for at_T, (_, slice_TD) in zip(of_slice, _slices(_vectors, loaded.encoder, rows), strict=False):
        if jax.default_backend() == "cpu":
            vector_TD[at_T] = np.asarray(slice_TD)[place_T[at_T]]
            continue
        # places that hold no text are left on the device, which encodes the next slices meanwhile
        waiting.append((at_T, slice_TD[np.pad(place_T[at_T], (0, most - len(at_T)))]))
        if len(waiting) > AHEAD:
            fetch()
    while waiting:
        fetch()
    return vector_TD


def encode_states(loaded: Loaded, texts: Sequence[str], side: str) -> tuple[np.ndarray, np.ndarray]:
    """(float32 state_TLD, length_T) of texts that leave no trace in the cache."""
    tokens = loaded.tokenize(texts, side, keep=False)
    return _token_states(loaded, tokens, min(len(texts), rows_at_once())), tokens.length_T


def states(loaded: Loaded, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """float32 state_TLD of the tokens of all texts, 0 beyond a text's end, and length_T; from the cache as above."""
    build = lambda: {"state_TLD": _token_states(loaded, tokens, rows_at_once())}  # noqa: E731
    return cache.arrays("states", _key(loaded, tokens), build)["state_TLD"], tokens.length_T


def _token_states(loaded: Loaded, tokens: Tokens, multiple: int) -> np.ndarray:
    rows, _ = _pack(loaded, tokens, multiple)
    state_TLD = np.zeros((len(tokens.length_T), tokens.length_T.max(initial=0), loaded.encoder.state_width), np.float32)
    for part, x_RLD in _slices(_states, loaded.encoder, rows):
        real_RL = part.segment_RL > 0
        state_TLD[part.text_RL[real_RL], part.position_RL[real_RL]] = np.asarray(x_RLD, np.float32)[real_RL]
    return state_TLD


def _pack(loaded: Loaded, tokens: Tokens, multiple: int | None = None) -> tuple[Rows, np.ndarray]:
    length = fit_row_length(tokens, loaded.row_length)
    return pack(tokens, np.arange(len(tokens.length_T)), length, loaded.encoder.texts_per_row, multiple or rows_at_once())


def rows_at_once() -> int:
    return ROWS if jax.default_backend() == "cpu" else ACCELERATOR_ROWS


def _key(loaded: Loaded, tokens: Tokens) -> dict[str, object]:
    """All that the last bit depends on: how texts share rows and what machine computes decide the order of sums."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "encoder": loaded.digest,
        "tokens": tokens.digest,
        "pooling": [loaded.shape.pooling.name, loaded.shape.normalize],
        "dtype": loaded.shape.dtype,
        "rows": [loaded.row_length, loaded.shape.texts_per_row, rows_at_once()],
        "by": [jax.__version__, jax.devices()[0].device_kind, threads],
    }


def _slices(encode: Callable[[Encoder, Rows], jax.Array], encoder: Encoder, rows: Rows) -> Iterator[tuple[Rows, jax.Array]]:
    count_R = rows.segment_RL.max(1, initial=0)
    with stage("encoding", int(count_R.sum()), "texts") as advance:
        for part in row_slices(rows, rows_at_once()):
            yield part, encode(encoder, part)
            advance(int(part.segment_RL.max(1, initial=0).sum()))


@jax.jit
def _below(backbone: Transformer, rows: Rows) -> jax.Array:
    return backbone.through(backbone.embeddings(rows), rows)


@jax.jit
def _vectors(encoder: TextEncoder, rows: Rows) -> jax.Array:
    return encoder(rows)


@jax.jit
def _states(encoder: TextEncoder, rows: Rows) -> jax.Array:
    return encoder.states(rows)
