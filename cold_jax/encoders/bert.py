"""BERT: Devlin et al. 2018, arXiv 1810.04805. Its mathematics, then the names that checkpoints give to its parameters."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from cold_jax.encoders.layers import (
    ACTIVATIONS,
    Attention,
    AttentionContext,
    Embeddings,
    LayerNorm,
    Linear,
    Mlp,
    PostNormLayer,
    Transformer,
    segment_mask,
    stack_layers,
)
from cold_jax.encoders.weights import Architecture, Table, as_is, read_config, transposed
from cold_jax.errors import WeightsError
from cold_jax.text.packing import Rows


@dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    ffn_width: int  # width of the MLP
    positions: int
    offset: int  # the position of a text's first token
    types: int  # 0: tokens have none
    activation: str
    epsilon: float

    @classmethod
    def from_json(cls, path: Path) -> "BertConfig":
        """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this BERT is not."""
        supported = {
            "model_type": ["bert"],
            "position_embedding_type": ["absolute"],
            "hidden_act": list(ACTIVATIONS),
            "is_decoder": [False],
        }
        return cls(**read_config(path, supported, NAMES, IMPLIED), offset=0)

    @property
    def max_positions(self) -> int:
        """Tokens of the longest text."""
        return self.positions - self.offset

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise WeightsError(
                f"a width (hidden_size) of {self.width} cannot be shared by {self.heads} heads (num_attention_heads)"
            )


# The keys of a config.json, and what those are that an older one leaves out
NAMES = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn_width": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
}
IMPLIED = {"position_embedding_type": "absolute", "is_decoder": False}


class Layer(PostNormLayer):
    def __init__(self, config: BertConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        linear = partial(Linear, dtype=dtype)
        self.attention = Attention(config.width, config.heads, linear, rngs=rngs)
        self.attention_norm = LayerNorm(config.width, config.epsilon, rngs=rngs)
        self.mlp = Mlp(config.width, config.ffn_width, config.activation, linear, rngs=rngs)
        self.mlp_norm = LayerNorm(config.width, config.epsilon, rngs=rngs)


class Bert(Transformer):
    def __init__(self, config: BertConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.config = config
        self.dtype = dtype
        self.embeddings = Embeddings(
            config.vocabulary,
            config.width,
            dtype,
            places=config.positions,
            offset=config.offset,
            types=config.types,
            norm=LayerNorm(config.width, config.epsilon, rngs=rngs),
            rngs=rngs,
        )
        self.layers = stack_layers(lambda rngs: Layer(config, dtype, rngs=rngs), config.layers, rngs)

    def seen(self, rows: Rows) -> AttentionContext:
        return AttentionContext(segment_mask(rows))


# {layer} stands for the number of a layer, the place on the leading axis of the variable
CHECKPOINT: Table = {
    "embeddings.word_embeddings.weight": ("embeddings.word.embedding", as_is),
    "embeddings.position_embeddings.weight": ("embeddings.place.embedding", as_is),
    "embeddings.token_type_embeddings.weight": ("embeddings.type.embedding", as_is),
    "embeddings.LayerNorm.weight": ("embeddings.norm.scale", as_is),
    "embeddings.LayerNorm.bias": ("embeddings.norm.bias", as_is),
    "encoder.layer.{layer}.attention.self.query.weight": ("layers.attention.query.kernel", transposed),
    "encoder.layer.{layer}.attention.self.query.bias": ("layers.attention.query.bias", as_is),
    "encoder.layer.{layer}.attention.self.key.weight": ("layers.attention.key.kernel", transposed),
    "encoder.layer.{layer}.attention.self.key.bias": ("layers.attention.key.bias", as_is),
    "encoder.layer.{layer}.attention.self.value.weight": ("layers.attention.value.kernel", transposed),
    "encoder.layer.{layer}.attention.self.value.bias": ("layers.attention.value.bias", as_is),
    "encoder.layer.{layer}.attention.output.dense.weight": ("layers.attention.output.kernel", transposed),
    "encoder.layer.{layer}.attention.output.dense.bias": ("layers.attention.output.bias", as_is),
    "encoder.layer.{layer}.attention.output.LayerNorm.weight": ("layers.attention_norm.scale", as_is),
    "encoder.layer.{layer}.attention.output.LayerNorm.bias": ("layers.attention_norm.bias", as_is),
    "encoder.layer.{layer}.intermediate.dense.weight": ("layers.mlp.up.kernel", transposed),
    "encoder.layer.{layer}.intermediate.dense.bias": ("layers.mlp.up.bias", as_is),
    "encoder.layer.{layer}.output.dense.weight": ("layers.mlp.down.kernel", transposed),
    "encoder.layer.{layer}.output.dense.bias": ("layers.mlp.down.bias", as_is),
    "encoder.layer.{layer}.output.LayerNorm.weight": ("layers.mlp_norm.scale", as_is),
    "encoder.layer.{layer}.output.LayerNorm.bias": ("layers.mlp_norm.bias", as_is),
}
# regular expressions: the heads of pre-training, a constant
IGNORED = (r"pooler\..*", r"cls\..*", r"embeddings\.position_ids")
# older checkpoints, bert-base-uncased among them, have these; pairs for re.sub
RENAMED = ((r"^bert\.", ""), (r"\.LayerNorm\.gamma$", ".LayerNorm.weight"), (r"\.LayerNorm\.beta$", ".LayerNorm.bias"))
ARCHITECTURE = Architecture(("bert",), BertConfig.from_json, Bert, CHECKPOINT, IGNORED, RENAMED)
