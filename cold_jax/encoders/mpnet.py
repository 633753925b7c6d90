"""MPNet: BERT whose attention knows how far apart tokens stand; Song et al. 2020, arXiv 2004.09297, after T5 (arXiv 1910.10683)."""

from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from cold_jax.encoders import bert
from cold_jax.encoders.bert import IMPLIED, Bert, BertConfig
from cold_jax.encoders.layers import ACTIVATIONS, AttentionContext
from cold_jax.encoders.relative_bias import relative_bias
from cold_jax.encoders.weights import Architecture, Table, as_is, read_config, transposed
from cold_jax.text.packing import Rows

BUCKETS, FARTHEST = 32, 128  # the checkpoints' and the library's own


def config(path: Path) -> BertConfig:
    """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this MPNet is not."""
    supported = {
        "model_type": ["mpnet"],
        "hidden_act": list(ACTIVATIONS),
        "relative_attention_num_buckets": [BUCKETS],
    }
    names = {name: key for name, key in bert.NAMES.items() if name != "types"}
    return BertConfig(**read_config(path, supported, names, IMPLIED), offset=2, types=0)


class Mpnet(Bert):
    def __init__(self, config: BertConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        super().__init__(config, dtype, rngs=rngs)
        self.relative_bias = nnx.Embed(BUCKETS, config.heads, dtype=jnp.float32, rngs=rngs)

    def seen(self, rows: Rows) -> AttentionContext:
        return super().seen(rows)._replace(bias_RHLL=relative_bias(self.relative_bias, rows, FARTHEST))


CHECKPOINT: Table = {
    "embeddings.word_embeddings.weight": ("embeddings.word.embedding", as_is),
    "embeddings.position_embeddings.weight": ("embeddings.place.embedding", as_is),
    "embeddings.LayerNorm.weight": ("embeddings.norm.scale", as_is),
    "embeddings.LayerNorm.bias": ("embeddings.norm.bias", as_is),
    "encoder.relative_attention_bias.weight": ("relative_bias.embedding", as_is),
    "encoder.layer.{layer}.attention.attn.q.weight": ("layers.attention.query.kernel", transposed),
    "encoder.layer.{layer}.attention.attn.q.bias": ("layers.attention.query.bias", as_is),
    "encoder.layer.{layer}.attention.attn.k.weight": ("layers.attention.key.kernel", transposed),
    "encoder.layer.{layer}.attention.attn.k.bias": ("layers.attention.key.bias", as_is),
    "encoder.layer.{layer}.attention.attn.v.weight": ("layers.attention.value.kernel", transposed),
    "encoder.layer.{layer}.attention.attn.v.bias": ("layers.attention.value.bias", as_is),
    "encoder.layer.{layer}.attention.attn.o.weight": ("layers.attention.output.kernel", transposed),
    "encoder.layer.{layer}.attention.attn.o.bias": ("layers.attention.output.bias", as_is),
    "encoder.layer.{layer}.attention.LayerNorm.weight": ("layers.attention_norm.scale", as_is),
    "encoder.layer.{layer}.attention.LayerNorm.bias": ("layers.attention_norm.bias", as_is),
    "encoder.layer.{layer}.intermediate.dense.weight": ("layers.mlp.up.kernel", transposed),
    "encoder.layer.{layer}.intermediate.dense.bias": ("layers.mlp.up.bias", as_is),
    "encoder.layer.{layer}.output.dense.weight": ("layers.mlp.down.kernel", transposed),
    "encoder.layer.{layer}.output.dense.bias": ("layers.mlp.down.bias", as_is),
    "encoder.layer.{layer}.output.LayerNorm.weight": ("layers.mlp_norm.scale", as_is),
    "encoder.layer.{layer}.output.LayerNorm.bias": ("layers.mlp_norm.bias", as_is),
}
IGNORED = (r"pooler\..*", r"lm_head\..*", r"embeddings\.position_ids")
RENAMED = ((r"^mpnet\.", ""),)
ARCHITECTURE = Architecture(("mpnet",), config, Mpnet, CHECKPOINT, IGNORED, RENAMED)
