"""The encoder of T5: Raffel et al. 2019, arXiv 1910.10683; with gated MLPs, T5 1.1 and Flan-T5 (arXiv 2210.11416). Sentence-T5: arXiv 2108.08877."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from cold_jax.encoders.layers import (
    Attention,
    AttentionContext,
    Embeddings,
    GatedMlp,
    Linear,
    Mlp,
    PreNormLayer,
    RmsNorm,
    Transformer,
    segment_mask,
    stack_layers,
)
from cold_jax.encoders.relative_bias import relative_bias
from cold_jax.encoders.weights import Architecture, Table, as_is, read_config, transposed
from cold_jax.text.packing import Rows

UNLIMITED = 2**31 - 1  # positions count by their distance alone
MODEL_TYPES = ("t5", "mt5")
_ACTIVATIONS = {"relu": "relu", "gated-gelu": "gelu_new", "gated-silu": "silu", "gated-gelu_new": "gelu_new"}


@dataclass(frozen=True)
class T5Config:
    """The shape of a T5 encoder."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    head_width: int
    ffn_width: int
    activation: str
    gated: bool
    epsilon: float
    buckets: int  # of distances
    farthest: int  # the distance from which on all are alike
    max_positions: int = UNLIMITED

    @property
    def ungated(self) -> bool:
        return not self.gated

    @classmethod
    def from_json(cls, path: Path) -> "T5Config":
        """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this T5 is not."""
        names = {
            "vocabulary": "vocab_size",
            "width": "d_model",
            "layers": "num_layers",
            "heads": "num_heads",
            "head_width": "d_kv",
            "ffn_width": "d_ff",
            "activation": "feed_forward_proj",
            "epsilon": "layer_norm_epsilon",
            "buckets": "relative_attention_num_buckets",
            "farthest": "relative_attention_max_distance",
        }
        implied = {
            "feed_forward_proj": "relu",
            "relative_attention_num_buckets": 32,
            "relative_attention_max_distance": 128,
            "is_decoder": False,
        }
        supported = {"model_type": MODEL_TYPES, "feed_forward_proj": list(_ACTIVATIONS), "is_decoder": [False]}
        values = read_config(path, supported, names, implied)
        projection = values.pop("activation")
        return cls(**values, activation=_ACTIVATIONS[projection], gated=projection.startswith("gated"))


class Layer(PreNormLayer):
    def __init__(self, config: T5Config, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        linear = partial(Linear, dtype=dtype, use_bias=False)
        norm = partial(RmsNorm, config.width, config.epsilon)
        mlp = GatedMlp if config.gated else Mlp
        # the scores are not scaled: what would be is in the initialisation of the queries' weights
        self.attention = Attention(config.width, config.heads, linear, head_width=config.head_width, divisor=1.0, rngs=rngs)
        self.attention_norm = norm(rngs=rngs)
        self.mlp = mlp(config.width, config.ffn_width, config.activation, linear, rngs=rngs)
        self.mlp_norm = norm(rngs=rngs)


class T5(Transformer):
    def __init__(self, config: T5Config, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.config = config
        self.dtype = dtype
        self.embeddings = Embeddings(config.vocabulary, config.width, dtype, rngs=rngs)
        self.relative_bias = nnx.Embed(config.buckets, config.heads, dtype=jnp.float32, rngs=rngs)
        self.layers = stack_layers(lambda rngs: Layer(config, dtype, rngs=rngs), config.layers, rngs)
        self.norm = RmsNorm(config.width, config.epsilon, rngs=rngs)

    def seen(self, rows: Rows) -> AttentionContext:
        return AttentionContext(segment_mask(rows), bias_RHLL=relative_bias(self.relative_bias, rows, self.config.farthest))


_ATTENTION, _MLP = "encoder.block.{layer}.layer.0.", "encoder.block.{layer}.layer.1."
CHECKPOINT: Table = {
    "shared.weight": ("embeddings.word.embedding", as_is),
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": ("relative_bias.embedding", as_is),
    _ATTENTION + "SelfAttention.q.weight": ("layers.attention.query.kernel", transposed),
    _ATTENTION + "SelfAttention.k.weight": ("layers.attention.key.kernel", transposed),
    _ATTENTION + "SelfAttention.v.weight": ("layers.attention.value.kernel", transposed),
    _ATTENTION + "SelfAttention.o.weight": ("layers.attention.output.kernel", transposed),
    _ATTENTION + "layer_norm.weight": ("layers.attention_norm.scale", as_is),
    _MLP + "DenseReluDense.wi.weight": ("layers.mlp.up.kernel", transposed),
    _MLP + "DenseReluDense.wi_0.weight": ("layers.mlp.gate.kernel", transposed),
    _MLP + "DenseReluDense.wi_1.weight": ("layers.mlp.up.kernel", transposed),
    _MLP + "DenseReluDense.wo.weight": ("layers.mlp.down.kernel", transposed),
    _MLP + "layer_norm.weight": ("layers.mlp_norm.scale", as_is),
    "encoder.final_layer_norm.weight": ("norm.scale", as_is),
}
OPTIONAL = {"gated": r".*\.wi_[01]\.weight", "ungated": r".*\.wi\.weight"}
IGNORED = (r"decoder\..*", r"lm_head\..*")
RENAMED = ((r"^encoder\.embed_tokens\.", "shared."),)
ARCHITECTURE = Architecture(MODEL_TYPES, T5Config.from_json, T5, CHECKPOINT, IGNORED, RENAMED, OPTIONAL)
