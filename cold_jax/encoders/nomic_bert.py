"""NomicBERT: BERT with rotary positions and gated MLPs; Nussbaum et al. 2024, arXiv 2402.01613."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx

from cold_jax.encoders.layers import (
    ACTIVATIONS,
    QUERY_KEY_VALUE,
    Attention,
    AttentionContext,
    Embeddings,
    GatedMlp,
    LayerNorm,
    Linear,
    PostNormLayer,
    Transformer,
    rotary_angles,
    segment_mask,
    stack_layers,
)
from cold_jax.encoders.weights import Architecture, Table, as_is, check_number, read_config, read_json, transposed
from cold_jax.errors import WeightsError
from cold_jax.text.packing import Rows


@dataclass(frozen=True)
class RotaryBertConfig:
    """The shape of a BERT with rotary positions and gated MLPs."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    ffn_width: int
    max_positions: int
    types: int
    activation: str
    epsilon: float
    attention_bias: bool
    down_bias: bool  # of the MLP's second map; the first has none
    rope_theta: float  # base of the rotary frequencies
    rope_factor: float  # they are divided by it


def rope(path: Path, parameters: Any) -> tuple[float, float]:
    """(theta, factor) of rope_parameters."""
    kind = parameters.get("rope_type", "default") if isinstance(parameters, dict) else parameters
    if kind not in ("default", "linear"):
        raise WeightsError(f"{path}: rope_type {kind!r} is not supported; supported: 'default', 'linear'")
    theta: Any = parameters.get("rope_theta")
    factor: Any = parameters.get("factor", 1.0)
    check_number(path, "rope_theta", theta)
    check_number(path, "factor", factor)
    return float(theta), float(factor) if kind == "linear" else 1.0


NAMES = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn_width": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "types": "type_vocab_size",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
}
# the names of the checkpoints' own code, before transformers had the model
OLDER = {
    "vocabulary": "vocab_size",
    "width": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "ffn_width": "n_inner",
    "max_positions": "n_positions",
    "types": "type_vocab_size",
    "epsilon": "layer_norm_epsilon",
    "rope_theta": "rotary_emb_base",
    # for what follows
    "trained": "max_trained_positions",
}


def config(path: Path) -> RotaryBertConfig:
    """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this NomicBERT is not."""
    fixed: dict[str, Any] = {"attention_bias": False, "down_bias": False, "rope_factor": 1.0}
    if "n_embd" in read_json(path):
        off = {"qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "prenorm", "parallel_block", "use_rms_norm", "causal"}
        off |= {"rotary_emb_interleaved", "moe_every_n_layers", "num_experts"}
        supported: dict[str, Any] = {key: [False, None, 0] for key in off}
        supported |= {"model_type": ["nomic_bert"], "activation_function": ["swiglu"], "rotary_emb_fraction": [1.0]}
        implied = {key: False for key in off} | {"max_trained_positions": None, "rotary_emb_fraction": 1.0}
        values = read_config(path, supported, OLDER, implied)
        if values["max_positions"] > (trained := values.pop("trained") or values["max_positions"]):
            values["max_positions"] = trained  # beyond, other frequencies
        return RotaryBertConfig(**values, **fixed, activation="silu")
    supported = {"model_type": ["nomic_bert"], "hidden_act": list(ACTIVATIONS)}
    values = read_config(path, supported, {**NAMES, "rope": "rope_parameters"}, {})
    fixed["rope_theta"], fixed["rope_factor"] = rope(path, values.pop("rope"))
    return RotaryBertConfig(**values, **fixed)


class Layer(PostNormLayer):
    def __init__(self, config: RotaryBertConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        linear = partial(Linear, dtype=dtype)
        attention = partial(linear, use_bias=config.attention_bias)
        self.attention = Attention(config.width, config.heads, attention, rngs=rngs)
        self.attention_norm = LayerNorm(config.width, config.epsilon, rngs=rngs)
        down = partial(linear, use_bias=config.down_bias)
        without = partial(linear, use_bias=False)
        self.mlp = GatedMlp(config.width, config.ffn_width, config.activation, without, down=down, rngs=rngs)
        self.mlp_norm = LayerNorm(config.width, config.epsilon, rngs=rngs)


class RotaryBert(Transformer):
    def __init__(self, config: RotaryBertConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.config = config
        self.dtype = dtype
        norm = LayerNorm(config.width, config.epsilon, rngs=rngs)
        self.embeddings = Embeddings(config.vocabulary, config.width, dtype, types=config.types, norm=norm, rngs=rngs)
        self.layers = stack_layers(lambda rngs: Layer(config, dtype, rngs=rngs), config.layers, rngs)

    def seen(self, rows: Rows) -> AttentionContext:
        config = self.config
        angles = rotary_angles(rows, config.width // config.heads, config.rope_theta, config.rope_factor)
        return AttentionContext(segment_mask(rows), turn_RLC=angles)


def exported(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json in transformers' names."""
    if "n_embd" not in values:
        return dict(values)
    named = {NAMES[name]: values[key] for name, key in OLDER.items() if name in NAMES}
    rotary = {"rope_type": "default", "rope_theta": values["rotary_emb_base"]}
    return {**named, "model_type": "nomic_bert", "hidden_act": "silu", "rope_parameters": rotary, "pad_token_id": 0}


CHECKPOINT: Table = {
    "embeddings.word_embeddings.weight": ("embeddings.word.embedding", as_is),
    "embeddings.token_type_embeddings.weight": ("embeddings.type.embedding", as_is),
    "emb_ln.weight": ("embeddings.norm.scale", as_is),
    "emb_ln.bias": ("embeddings.norm.bias", as_is),
    "encoder.layers.{layer}.attn.Wqkv.weight": (tuple(f"{path}.kernel" for path in QUERY_KEY_VALUE), transposed),
    "encoder.layers.{layer}.attn.out_proj.weight": ("layers.attention.output.kernel", transposed),
    "encoder.layers.{layer}.norm1.weight": ("layers.attention_norm.scale", as_is),
    "encoder.layers.{layer}.norm1.bias": ("layers.attention_norm.bias", as_is),
    "encoder.layers.{layer}.mlp.fc11.weight": ("layers.mlp.up.kernel", transposed),
    "encoder.layers.{layer}.mlp.fc12.weight": ("layers.mlp.gate.kernel", transposed),
    "encoder.layers.{layer}.mlp.fc2.weight": ("layers.mlp.down.kernel", transposed),
    "encoder.layers.{layer}.norm2.weight": ("layers.mlp_norm.scale", as_is),
    "encoder.layers.{layer}.norm2.bias": ("layers.mlp_norm.bias", as_is),
}
OPTIONAL = {"types": r"embeddings\.token_type_embeddings\.weight"}
IGNORED = (r"pooler\..*", r"cls\..*", r".*rotary_emb\..*", r"embeddings\.position_ids")
RENAMED = ((r"^(bert|nomic_bert)\.", ""),)
ARCHITECTURE = Architecture(("nomic_bert",), config, RotaryBert, CHECKPOINT, IGNORED, RENAMED, OPTIONAL, exported=exported)
