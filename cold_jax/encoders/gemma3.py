"""Gemma 3's text model: arXiv 2503.19786; without its causal mask, EmbeddingGemma (arXiv 2509.20354). Most layers see only what is near."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from cold_jax.encoders.layers import (
    ACTIVATIONS,
    Attention,
    AttentionContext,
    Buffer,
    Embeddings,
    GatedMlp,
    Linear,
    Transformer,
    causal_mask,
    relative_position,
    rotary_angles,
    segment_mask,
    stack_layers,
)
from cold_jax.encoders.weights import Architecture, Table, as_is, check_number, read_config, transposed
from cold_jax.errors import WeightsError
from cold_jax.text.packing import Rows


@dataclass(frozen=True)
class Gemma3Config:
    """The shape of a Gemma 3 text model."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    ffn_width: int
    max_positions: int
    activation: str
    epsilon: float
    attention_bias: bool
    score_scale: float  # scores are divided by its root
    causal: bool
    window: int  # a local layer sees so many tokens back, itself among them; without a causal mask, half of it to either side
    far: tuple[bool, ...]  # for each layer: it sees the whole text
    far_theta: float  # base of the rotary frequencies of such layers
    far_factor: float  # their frequencies are divided by it
    near_theta: float

    @classmethod
    def from_json(cls, path: Path) -> "Gemma3Config":
        """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this Gemma is not."""
        names = {
            "vocabulary": "vocab_size",
            "width": "hidden_size",
            "layers": "num_hidden_layers",
            "heads": "num_attention_heads",
            "key_heads": "num_key_value_heads",
            "head_width": "head_dim",
            "ffn_width": "intermediate_size",
            "max_positions": "max_position_embeddings",
            "activation": "hidden_activation",
            "epsilon": "rms_norm_eps",
            "attention_bias": "attention_bias",
            "score_scale": "query_pre_attn_scalar",
            "window": "sliding_window",
            "far_theta": "rope_theta",
            "near_theta": "rope_local_base_freq",
            # for what follows
            "bidirectional": "use_bidirectional_attention",
            "kinds": "layer_types",
            "every": "sliding_window_pattern",
            "scaling": "rope_scaling",
            "rope": "rope_parameters",
        }
        implied = {
            "attention_bias": False,
            "attn_logit_softcapping": None,
            "hidden_activation": "gelu_pytorch_tanh",
            "layer_types": None,
            "rope_local_base_freq": 10_000.0,
            "rope_parameters": None,
            "rope_scaling": None,
            "rope_theta": 1_000_000.0,
            "sliding_window_pattern": 6,
            "use_bidirectional_attention": False,
        }
        supported = {
            "model_type": ["gemma3_text"],
            "hidden_activation": list(ACTIVATIONS),
            "attn_logit_softcapping": [None],
            "use_bidirectional_attention": [False, True, None],
        }
        values = read_config(path, supported, names, implied)
        kinds, every, scaling, rope = (values.pop(name) for name in ("kinds", "every", "scaling", "rope"))
        values["far_theta"], values["far_factor"] = _rope(path, rope, "full_attention", values["far_theta"], scaling)
        values["near_theta"], near_factor = _rope(path, rope, "sliding_attention", values["near_theta"], None)
        if near_factor != 1:
            raise WeightsError(f"{path}: a factor {near_factor} of sliding_attention is not supported; supported: 1")
        kinds = kinds or ["full_attention" if (n + 1) % every == 0 else "sliding_attention" for n in range(values["layers"])]
        if odd := set(kinds) - {"full_attention", "sliding_attention"} or len(kinds) != values["layers"]:
            raise WeightsError(
                f"{path}: layer_types {odd!r} is not supported; supported: full_attention or sliding_attention of each layer"
            )
        far = tuple(kind == "full_attention" for kind in kinds)
        return cls(**values | {"far": far, "causal": not values.pop("bidirectional")})


def _rope(path: Path, rope: Any, kind: str, theta: float, scaling: Any) -> tuple[float, float]:
    """(theta, factor) of a kind of layers."""
    own = ((rope or {}).get(kind) or {}) if rope else {"rope_theta": theta, **(scaling or {})}
    wanted, factor, theta = own.get("rope_type", "default"), own.get("factor", 1.0), own.get("rope_theta", theta)
    if wanted not in ("default", "linear"):
        raise WeightsError(f"{path}: rope_type {wanted!r} is not supported; supported: 'default', 'linear'")
    check_number(path, f"rope_theta of {kind}", theta)
    check_number(path, f"factor of {kind}", factor)
    return theta, factor if wanted == "linear" else 1.0


class OffsetRmsNorm(nnx.Module):
    """x / √(mean(x²) + ε) · (1 + scale) in float32; the result has the dtype of x."""

    def __init__(self, width: int, epsilon: float, *, rngs: nnx.Rngs):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.zeros(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        unit = x32 * jax.lax.rsqrt((x32**2).mean(-1, keepdims=True) + self.epsilon)
        return (unit * (1 + self.scale[...].reshape((1,) * (x.ndim - 1) + (-1,)))).astype(x.dtype)


class Layer(nnx.Module):
    """Norms before and after attention and MLP."""

    far: Buffer

    def __init__(self, config: Gemma3Config, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        linear = partial(Linear, dtype=dtype)
        norm = partial(OffsetRmsNorm, epsilon=config.epsilon, rngs=rngs)
        self.attention = Attention(
            config.width,
            config.heads,
            partial(linear, use_bias=config.attention_bias),
            key_heads=config.key_heads,
            head_width=config.head_width,
            norm=partial(OffsetRmsNorm, epsilon=config.epsilon),
            divisor=config.score_scale**0.5,
            rngs=rngs,
        )
        self.mlp = GatedMlp(config.width, config.ffn_width, config.activation, partial(linear, use_bias=False), rngs=rngs)
        self.attention_norm, self.attention_out_norm = norm(config.width), norm(config.width)
        self.mlp_norm, self.mlp_out_norm = norm(config.width), norm(config.width)

    def __call__(
        self, x_RLD: jax.Array, seen: tuple[AttentionContext, AttentionContext], noise_RL: jax.Array | None = None
    ) -> jax.Array:
        own = jax.tree.map(lambda far, near: jnp.where(self.far[...], far, near), *seen)
        x_RLD = x_RLD + self.attention_out_norm(self.attention(self.attention_norm(x_RLD), own, noise_RL))
        return x_RLD + self.mlp_out_norm(self.mlp(self.mlp_norm(x_RLD), noise_RL))


class Gemma3(Transformer):
    def __init__(self, config: Gemma3Config, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.config = config
        self.dtype = dtype
        self.causal = config.causal
        self.embeddings = Embeddings(config.vocabulary, config.width, dtype, factor=config.width**0.5, rngs=rngs)
        self.layers = stack_layers(lambda rngs: Layer(config, dtype, rngs=rngs), config.layers, rngs)
        self.layers.far = Buffer(jnp.asarray(config.far), values=config.far)
        self.norm = OffsetRmsNorm(config.width, config.epsilon, rngs=rngs)

    def seen(self, rows: Rows) -> tuple[AttentionContext, AttentionContext]:
        """What layers see that see the whole text, and the others."""
        config, ahead_RLL = self.config, relative_position(rows)
        whole_RLL = causal_mask(rows) if config.causal else segment_mask(rows)
        near_RLL = whole_RLL & (ahead_RLL > -config.window if config.causal else jnp.abs(ahead_RLL) <= config.window // 2)
        far = rotary_angles(rows, config.head_width, config.far_theta, config.far_factor)
        near = rotary_angles(rows, config.head_width, config.near_theta)
        return AttentionContext(whole_RLL, turn_RLC=far), AttentionContext(near_RLL, turn_RLC=near)


CHECKPOINT: Table = {
    "embed_tokens.weight": ("embeddings.word.embedding", as_is),
    **{
        f"layers.{{layer}}.self_attn.{theirs}_proj.{kind}": (f"layers.attention.{ours}.{own}", change)
        for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output"))
        for kind, own, change in (("weight", "kernel", transposed), ("bias", "bias", as_is))
    },
    "layers.{layer}.self_attn.q_norm.weight": ("layers.attention.query_norm.scale", as_is),
    "layers.{layer}.self_attn.k_norm.weight": ("layers.attention.key_norm.scale", as_is),
    "layers.{layer}.mlp.gate_proj.weight": ("layers.mlp.gate.kernel", transposed),
    "layers.{layer}.mlp.up_proj.weight": ("layers.mlp.up.kernel", transposed),
    "layers.{layer}.mlp.down_proj.weight": ("layers.mlp.down.kernel", transposed),
    "layers.{layer}.input_layernorm.weight": ("layers.attention_norm.scale", as_is),
    "layers.{layer}.post_attention_layernorm.weight": ("layers.attention_out_norm.scale", as_is),
    "layers.{layer}.pre_feedforward_layernorm.weight": ("layers.mlp_norm.scale", as_is),
    "layers.{layer}.post_feedforward_layernorm.weight": ("layers.mlp_out_norm.scale", as_is),
    "norm.weight": ("norm.scale", as_is),
}
OPTIONAL = {"attention_bias": r"layers\.\{layer\}\.self_attn\..*\.bias"}
IGNORED = (r"lm_head\..*", r"score\..*", r".*rotary_emb\..*")
RENAMED = ((r"^model\.", ""),)
ARCHITECTURE = Architecture(("gemma3_text",), Gemma3Config.from_json, Gemma3, CHECKPOINT, IGNORED, RENAMED, OPTIONAL)
