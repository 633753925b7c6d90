"""GTE v1.5, whose checkpoints call themselves "new": BERT with rotary positions and gated MLPs; Zhang et al. 2024, arXiv 2407.19669."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cold_jax.encoders.layers import ACTIVATIONS, QUERY_KEY_VALUE
from cold_jax.encoders.nomic_bert import NAMES, RotaryBert, RotaryBertConfig, rope
from cold_jax.encoders.weights import Architecture, Table, as_is, read_config, read_json, transposed
from cold_jax.errors import WeightsError


def config(path: Path) -> RotaryBertConfig:
    """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this GTE is not."""
    supported: dict[str, Any] = {
        "model_type": ["new", "gte"],
        "hidden_act": list(ACTIVATIONS),
        "position_embedding_type": ["rope"],
        "layer_norm_type": ["layer_norm"],
        "logn_attention_scale": [False],
        "pack_qkv": [True],
    }
    implied = {
        "position_embedding_type": "rope",
        "layer_norm_type": "layer_norm",
        "logn_attention_scale": False,
        "pack_qkv": True,
    }
    values = read_config(path, supported, NAMES, implied)
    theta, factor = rope(path, _parameters(path, read_json(path)))
    return RotaryBertConfig(**values, attention_bias=True, down_bias=True, rope_theta=theta, rope_factor=factor)


def _parameters(path: Path, values: Mapping[str, Any]) -> Any:
    """rope_parameters as transformers has them.

    NTK scaling by f (kexue.fm/archives/9706, equation 6) is a base of f times as much, and frequencies over f^(2 / C).
    """
    if (given := values.get("rope_parameters")) is not None:
        return given
    theta, scaling = values.get("rope_theta", 10_000.0), values.get("rope_scaling")
    if scaling is None:
        return {"rope_type": "default", "rope_theta": theta}
    kind, factor, mixed = scaling.get("type", scaling.get("rope_type")), scaling.get("factor"), scaling.get("mixed_b")
    if kind != "ntk" or mixed is not None or not isinstance(factor, int | float):
        raise WeightsError(f"{path}: rope_scaling {scaling!r} is not supported; supported: type 'ntk' with a factor")
    head_width = values["hidden_size"] // values["num_attention_heads"]
    return {"rope_type": "linear", "rope_theta": theta * factor, "factor": factor ** (2 / head_width)}


def exported(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json as transformers has it."""
    left_out = ("rope_theta", "rope_scaling")
    kept = {key: value for key, value in values.items() if key not in left_out}
    return {**kept, "model_type": "gte", "rope_parameters": _parameters(Path("config.json"), values)}


CHECKPOINT: Table = {
    "embeddings.word_embeddings.weight": ("embeddings.word.embedding", as_is),
    "embeddings.token_type_embeddings.weight": ("embeddings.type.embedding", as_is),
    "embeddings.LayerNorm.weight": ("embeddings.norm.scale", as_is),
    "embeddings.LayerNorm.bias": ("embeddings.norm.bias", as_is),
    "encoder.layer.{layer}.attention.qkv_proj.weight": (tuple(f"{path}.kernel" for path in QUERY_KEY_VALUE), transposed),
    "encoder.layer.{layer}.attention.qkv_proj.bias": (tuple(f"{path}.bias" for path in QUERY_KEY_VALUE), as_is),
    "encoder.layer.{layer}.attention.o_proj.weight": ("layers.attention.output.kernel", transposed),
    "encoder.layer.{layer}.attention.o_proj.bias": ("layers.attention.output.bias", as_is),
    "encoder.layer.{layer}.attn_ln.weight": ("layers.attention_norm.scale", as_is),
    "encoder.layer.{layer}.attn_ln.bias": ("layers.attention_norm.bias", as_is),
    "encoder.layer.{layer}.mlp.up_gate_proj.weight": (("layers.mlp.up.kernel", "layers.mlp.gate.kernel"), transposed),
    "encoder.layer.{layer}.mlp.down_proj.weight": ("layers.mlp.down.kernel", transposed),
    "encoder.layer.{layer}.mlp.down_proj.bias": ("layers.mlp.down.bias", as_is),
    "encoder.layer.{layer}.mlp_ln.weight": ("layers.mlp_norm.scale", as_is),
    "encoder.layer.{layer}.mlp_ln.bias": ("layers.mlp_norm.bias", as_is),
}
OPTIONAL = {"types": r"embeddings\.token_type_embeddings\.weight"}
IGNORED = (r"pooler\..*", r"lm_head\..*", r"classifier\..*", r".*rotary_emb\..*", r"embeddings\.position_ids")
RENAMED = ((r"^(new|gte)\.", ""),)
ARCHITECTURE = Architecture(("new", "gte"), config, RotaryBert, CHECKPOINT, IGNORED, RENAMED, OPTIONAL, exported=exported)
