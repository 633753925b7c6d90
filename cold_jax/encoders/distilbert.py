"""DistilBERT: BERT with half of its layers and no types of tokens; Sanh et al. 2019, arXiv 1910.01108."""

from pathlib import Path

from cold_jax.encoders.bert import Bert, BertConfig
from cold_jax.encoders.layers import ACTIVATIONS
from cold_jax.encoders.weights import Architecture, Table, as_is, read_config, transposed

NAMES = {
    "vocabulary": "vocab_size",
    "width": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "ffn_width": "hidden_dim",
    "positions": "max_position_embeddings",
    "activation": "activation",
}


def config(path: Path) -> BertConfig:
    """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this DistilBERT is not."""
    supported = {"model_type": ["distilbert"], "activation": list(ACTIVATIONS)}
    return BertConfig(**read_config(path, supported, NAMES, {}), offset=0, types=0, epsilon=1e-12)


CHECKPOINT: Table = {
    "embeddings.word_embeddings.weight": ("embeddings.word.embedding", as_is),
    "embeddings.position_embeddings.weight": ("embeddings.place.embedding", as_is),
    "embeddings.LayerNorm.weight": ("embeddings.norm.scale", as_is),
    "embeddings.LayerNorm.bias": ("embeddings.norm.bias", as_is),
    "transformer.layer.{layer}.attention.q_lin.weight": ("layers.attention.query.kernel", transposed),
    "transformer.layer.{layer}.attention.q_lin.bias": ("layers.attention.query.bias", as_is),
    "transformer.layer.{layer}.attention.k_lin.weight": ("layers.attention.key.kernel", transposed),
    "transformer.layer.{layer}.attention.k_lin.bias": ("layers.attention.key.bias", as_is),
    "transformer.layer.{layer}.attention.v_lin.weight": ("layers.attention.value.kernel", transposed),
    "transformer.layer.{layer}.attention.v_lin.bias": ("layers.attention.value.bias", as_is),
    "transformer.layer.{layer}.attention.out_lin.weight": ("layers.attention.output.kernel", transposed),
    "transformer.layer.{layer}.attention.out_lin.bias": ("layers.attention.output.bias", as_is),
    "transformer.layer.{layer}.sa_layer_norm.weight": ("layers.attention_norm.scale", as_is),
    "transformer.layer.{layer}.sa_layer_norm.bias": ("layers.attention_norm.bias", as_is),
    "transformer.layer.{layer}.ffn.lin1.weight": ("layers.mlp.up.kernel", transposed),
    "transformer.layer.{layer}.ffn.lin1.bias": ("layers.mlp.up.bias", as_is),
    "transformer.layer.{layer}.ffn.lin2.weight": ("layers.mlp.down.kernel", transposed),
    "transformer.layer.{layer}.ffn.lin2.bias": ("layers.mlp.down.bias", as_is),
    "transformer.layer.{layer}.output_layer_norm.weight": ("layers.mlp_norm.scale", as_is),
    "transformer.layer.{layer}.output_layer_norm.bias": ("layers.mlp_norm.bias", as_is),
}
IGNORED = (r"vocab_(transform|layer_norm|projector)\..*",)
RENAMED = ((r"^distilbert\.", ""),)
ARCHITECTURE = Architecture(("distilbert",), config, Bert, CHECKPOINT, IGNORED, RENAMED)
