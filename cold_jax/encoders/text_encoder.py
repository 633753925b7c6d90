"""A pre-trained encoder θ: packed texts → a vector of each text; and what is needed to feed it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax.encoders.dense import Dense
from cold_jax.encoders.layers import Transformer
from cold_jax.encoders.pooling import Pooling, pool, unit_vectors, used_slots
from cold_jax.errors import WeightsError
from cold_jax.ranges import require
from cold_jax.text.packing import Rows
from cold_jax.text.tokens import Tokens, read_tokenizer, tokenize

SIDES = ("users", "items", "queries")


class TextEncoder(nnx.Module):
    """Backbone, pooling, linear maps and normalisation: rows of packed texts → a vector for each of the R·S slots."""

    def __init__(
        self,
        backbone: Transformer,
        pooling: Pooling,
        texts_per_row: int,
        dense: Sequence[Dense] = (),
        normalize: bool = True,
    ):
        self.backbone = backbone
        self.pooling = pooling
        self.texts_per_row = texts_per_row
        self.dense = nnx.List(dense)
        self.normalize = normalize

    @property
    def state_width(self) -> int:
        """Of a token's state."""
        return self.backbone.config.width

    @property
    def width(self) -> int:
        """Of a text's vector."""
        return self.dense[-1].kernel.shape[-1] if self.dense else self.state_width

    def states(self, rows: Rows, noise_RL: jax.Array | None = None) -> jax.Array:
        """The state of each token, of shape (R, L, D) and the backbone's dtype."""
        return self.backbone(rows, noise_RL)

    def __call__(self, rows: Rows, noise_RL: jax.Array | None = None) -> jax.Array:
        """float32 vectors of shape (R·S, D): segment s of row r has slot r·S + s − 1. Empty slots have zeros."""
        last = not self.dense
        vector_TD = pool(self.states(rows, noise_RL), rows, self.pooling, self.texts_per_row, self.normalize and last)
        if last:
            return vector_TD
        for dense in self.dense:
            vector_TD = dense(vector_TD)
        used_T = used_slots(rows, self.texts_per_row)
        return unit_vectors(vector_TD, used_T) if self.normalize else jnp.where(used_T, vector_TD, 0)

    def with_backbone(self, backbone: Transformer) -> "TextEncoder":
        """The same encoder on another backbone."""
        return TextEncoder(backbone, self.pooling, self.texts_per_row, tuple(self.dense), self.normalize)


class EncoderShape(NamedTuple):
    """What is known of an encoder before its weights are read."""

    width: int  # of a text's vector
    vocabulary: int
    causal: bool
    dtype: str
    pooling: Pooling
    normalize: bool
    texts_per_row: int

    @classmethod
    def of(cls, encoder: TextEncoder) -> "EncoderShape":
        """Of an encoder with its weights."""
        backbone, how = encoder.backbone, (encoder.pooling, encoder.normalize, encoder.texts_per_row)
        return cls(encoder.width, backbone.config.vocabulary, backbone.causal, backbone.dtype.name, *how)


@dataclass(frozen=True)
class Loaded:
    """An encoder with what is needed to feed it. Weights are read when they are first used: vectors from the cache need none."""

    read: Callable[[], TextEncoder]  # gives the same encoder whenever it is called
    shape: EncoderShape
    tokenizer: Path  # a tokenizer.json
    max_length: int  # tokens of a text, at most
    row_length: int  # tokens of a row, at least; longer texts make longer rows
    digest: str  # sha256 of all that a vector depends on besides its text
    config: Mapping[str, Any]  # the contents of a config.json
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)  # side → what its texts begin with
    left_out: Mapping[str, int] = dataclasses.field(
        default_factory=dict
    )  # side → tokens of its prompt, where pooling leaves them out
    name: str | None = None  # the checkpoint's: a repository of the hub, or an absolute path

    @cached_property
    def encoder(self) -> TextEncoder:
        """Raises WeightsError where the files' tensors do not fit."""
        return self.read()

    def with_encoder(self, encoder: TextEncoder, digest: str) -> "Loaded":
        """The same texts and tokens of another encoder, of which `digest` is the sha256."""
        return dataclasses.replace(self, read=lambda: encoder, shape=EncoderShape.of(encoder), digest=digest)

    def tokenize(self, texts: Sequence[str], side: str, *, keep: bool = True) -> Tokens:
        """The tokens of texts of a side (users, items or queries), each after the side's prompt; kept in the cache if `keep`.

        Raises:
          WeightsError: the tokenizer has a token that the embedding lacks.
        """
        prompt, vocabulary = self.prompts.get(side, ""), self.shape.vocabulary
        tokens = tokenize(self.tokenizer, [prompt + text for text in texts] if prompt else texts, self.max_length, keep=keep)
        if (largest := tokens.token_N.max(initial=0)) >= vocabulary:
            token = read_tokenizer(self.tokenizer).id_to_token(int(largest))
            raise WeightsError(
                f"{self.tokenizer}: token {token!r} has id {largest}, and the encoder's embedding has {vocabulary} rows"
            )
        if side not in self.left_out:
            return tokens
        return tokens._replace(prompt_T=np.full(len(texts), self.left_out[side], np.int32))


@dataclass(frozen=True)
class EncoderConfig:
    """What all encoders have.

    max_length: tokens of a text, at most; a checkpoint's own limit holds too. None: that limit alone.
    row_length: tokens of a row of packed texts, at least. texts_per_row: texts of a row, at most.
    normalize: vectors of unit length; None: as the checkpoint does, and where it says nothing, yes.
    prompts: users, items, queries → what their texts begin with; None: the checkpoint's own.
    """

    max_length: int | None
    row_length: int
    texts_per_row: int
    pooling: Pooling
    normalize: bool | None
    prompts: dict[str, str | None]
    dtype: str

    def __post_init__(self) -> None:
        require("encoder", self, at_least_1=["max_length", "row_length", "texts_per_row"])
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"encoder.dtype: {self.dtype!r} is not one of float32, bfloat16")
        if unknown := sorted(set(self.prompts) - set(SIDES)):
            raise ValueError(f"encoder.prompts: {', '.join(unknown)}: prompts are for {', '.join(SIDES)}")

    def __call__(self) -> Loaded:
        """The encoder θ with its tokenizer."""
        raise NotImplementedError
