"""Llama and its like: Touvron et al. 2023, arXiv 2302.13971; Qwen2 and Qwen3, arXiv 2407.10671, 2505.09388."""

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
    GatedMlp,
    Linear,
    PreNormLayer,
    RmsNorm,
    Transformer,
    causal_mask,
    rotary_angles,
    segment_mask,
    stack_layers,
)
from cold_jax.encoders.weights import Architecture, Table, as_is, check_number, read_config, transposed
from cold_jax.errors import WeightsError
from cold_jax.text.packing import Rows

MODEL_TYPES = ("llama", "qwen2", "qwen3")


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a Llama."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    ffn_width: int
    max_positions: int  # tokens of the longest text
    activation: str
    epsilon: float
    rope_theta: float  # base of the rotary frequencies
    attention_bias: bool  # of queries, keys and values
    output_bias: bool
    mlp_bias: bool
    head_norm: bool
    causal: bool

    @classmethod
    def from_json(cls, path: Path) -> "LlamaConfig":
        """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this Llama is not."""
        supported = {
            "model_type": MODEL_TYPES,
            "hidden_act": list(ACTIVATIONS),
            "use_sliding_window": [False],
            "is_causal": [True, False],
        }
        names = {
            "vocabulary": "vocab_size",
            "width": "hidden_size",
            "layers": "num_hidden_layers",
            "heads": "num_attention_heads",
            "key_heads": "num_key_value_heads",
            "head_width": "head_dim",
            "ffn_width": "intermediate_size",
            "max_positions": "max_position_embeddings",
            "activation": "hidden_act",
            "epsilon": "rms_norm_eps",
            "attention_bias": "attention_bias",
            "mlp_bias": "mlp_bias",
            "causal": "is_causal",
            # for what follows
            "kind": "model_type",
            "rope_theta": "rope_theta",
            "scaling": "rope_scaling",
            "rope": "rope_parameters",
        }
        implied = {
            "num_key_value_heads": None,
            "head_dim": None,
            "attention_bias": False,
            "mlp_bias": False,
            "use_sliding_window": False,
            "is_causal": True,
            "rope_theta": 1e4,
            "rope_scaling": None,
            "rope_parameters": None,
        }
        values = read_config(path, supported, names, implied)
        kind, scaling, rope = (values.pop(name) for name in ("kind", "scaling", "rope"))
        rope = rope or {"rope_theta": values["rope_theta"], **(scaling or {})}
        if (wanted := rope.get("rope_type", rope.get("type", "default"))) != "default":
            raise WeightsError(f"{path}: rope_type {wanted!r} is not supported; supported: 'default'")
        values["rope_theta"] = rope.get("rope_theta")
        check_number(path, "rope_theta", values["rope_theta"])
        values["key_heads"] = values["key_heads"] or values["heads"]
        values["head_width"] = values["head_width"] or values["width"] // values["heads"]
        values["output_bias"] = values["attention_bias"]
        values["attention_bias"] |= kind == "qwen2"
        return cls(**values, head_norm=kind == "qwen3")


class Layer(PreNormLayer):
    def __init__(self, config: LlamaConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        linear = partial(Linear, dtype=dtype)
        norm = partial(RmsNorm, epsilon=config.epsilon)
        self.attention = Attention(
            config.width,
            config.heads,
            partial(linear, use_bias=config.attention_bias),
            output=partial(linear, use_bias=config.output_bias),
            key_heads=config.key_heads,
            head_width=config.head_width,
            norm=norm if config.head_norm else None,
            rngs=rngs,
        )
        self.attention_norm = norm(config.width, rngs=rngs)
        with_bias = partial(linear, use_bias=config.mlp_bias)
        self.mlp = GatedMlp(config.width, config.ffn_width, config.activation, with_bias, rngs=rngs)
        self.mlp_norm = norm(config.width, rngs=rngs)


class Llama(Transformer):
    def __init__(self, config: LlamaConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.config = config
        self.causal = config.causal
        self.dtype = dtype
        self.embeddings = Embeddings(config.vocabulary, config.width, dtype, rngs=rngs)
        self.layers = stack_layers(lambda rngs: Layer(config, dtype, rngs=rngs), config.layers, rngs)
        self.norm = RmsNorm(config.width, config.epsilon, rngs=rngs)

    def seen(self, rows: Rows) -> AttentionContext:
        visible_RLL = causal_mask(rows) if self.causal else segment_mask(rows)
        return AttentionContext(visible_RLL, turn_RLC=rotary_angles(rows, self.config.head_width, self.config.rope_theta))


CHECKPOINT: Table = {
    "embed_tokens.weight": ("embeddings.word.embedding", as_is),
    "layers.{layer}.self_attn.q_proj.weight": ("layers.attention.query.kernel", transposed),
    "layers.{layer}.self_attn.q_proj.bias": ("layers.attention.query.bias", as_is),
    "layers.{layer}.self_attn.k_proj.weight": ("layers.attention.key.kernel", transposed),
    "layers.{layer}.self_attn.k_proj.bias": ("layers.attention.key.bias", as_is),
    "layers.{layer}.self_attn.v_proj.weight": ("layers.attention.value.kernel", transposed),
    "layers.{layer}.self_attn.v_proj.bias": ("layers.attention.value.bias", as_is),
    "layers.{layer}.self_attn.o_proj.weight": ("layers.attention.output.kernel", transposed),
    "layers.{layer}.self_attn.o_proj.bias": ("layers.attention.output.bias", as_is),
    "layers.{layer}.mlp.gate_proj.weight": ("layers.mlp.gate.kernel", transposed),
    "layers.{layer}.mlp.gate_proj.bias": ("layers.mlp.gate.bias", as_is),
    "layers.{layer}.mlp.up_proj.weight": ("layers.mlp.up.kernel", transposed),
    "layers.{layer}.mlp.up_proj.bias": ("layers.mlp.up.bias", as_is),
    "layers.{layer}.mlp.down_proj.weight": ("layers.mlp.down.kernel", transposed),
    "layers.{layer}.mlp.down_proj.bias": ("layers.mlp.down.bias", as_is),
    "norm.weight": ("norm.scale", as_is),
    "layers.{layer}.input_layernorm.weight": ("layers.attention_norm.scale", as_is),
    "layers.{layer}.post_attention_layernorm.weight": ("layers.mlp_norm.scale", as_is),
    "layers.{layer}.self_attn.q_norm.weight": ("layers.attention.query_norm.scale", as_is),
    "layers.{layer}.self_attn.k_norm.weight": ("layers.attention.key_norm.scale", as_is),
}
OPTIONAL = {
    "attention_bias": r"layers\.\{layer\}\.self_attn\.[qkv]_proj\.bias",
    "output_bias": r"layers\.\{layer\}\.self_attn\.o_proj\.bias",
    "mlp_bias": r"layers\.\{layer\}\.mlp\..*\.bias",
    "head_norm": r"layers\.\{layer\}\.self_attn\.[qk]_norm\.weight",
}
IGNORED = (r"lm_head\..*", r"score\..*", r".*rotary_emb\.inv_freq")
RENAMED = ((r"^model\.", ""),)
ARCHITECTURE = Architecture(MODEL_TYPES, LlamaConfig.from_json, Llama, CHECKPOINT, IGNORED, RENAMED, OPTIONAL)
