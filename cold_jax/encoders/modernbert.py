"""ModernBERT: Warner et al. 2024, arXiv 2412.13663. Rotary places, gated MLPs, norms first; most layers see only what is near."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from cold_jax.encoders.layers import (
    ACTIVATIONS,
    QUERY_KEY_VALUE,
    Attention,
    AttentionContext,
    Buffer,
    Embeddings,
    GatedMlp,
    LayerNorm,
    Linear,
    PreNormLayer,
    Transformer,
    relative_position,
    rotary_angles,
    segment_mask,
    stack_layers,
)
from cold_jax.encoders.weights import Architecture, Table, as_is, check_number, read_config, transposed
from cold_jax.errors import WeightsError
from cold_jax.text.packing import Rows


@dataclass(frozen=True)
class ModernBertConfig:
    """The shape of a ModernBERT."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    ffn_width: int
    max_positions: int  # tokens of the longest text
    activation: str
    epsilon: float
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    window: int  # a layer that sees what is near sees half of it to either side
    far: tuple[bool, ...]  # for each layer: it sees the whole text
    far_theta: float  # of the rotary places of such layers
    near_theta: float

    @classmethod
    def from_json(cls, path: Path) -> "ModernBertConfig":
        """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this ModernBERT is not."""
        names = {
            "vocabulary": "vocab_size",
            "width": "hidden_size",
            "layers": "num_hidden_layers",
            "heads": "num_attention_heads",
            "ffn_width": "intermediate_size",
            "max_positions": "max_position_embeddings",
            "activation": "hidden_activation",
            "epsilon": "norm_eps",
            "norm_bias": "norm_bias",
            "attention_bias": "attention_bias",
            "mlp_bias": "mlp_bias",
            "window": "local_attention",
            "far_theta": "global_rope_theta",
            "near_theta": "local_rope_theta",
            # for what follows
            "kinds": "layer_types",
            "every": "global_attn_every_n_layers",
            "rope": "rope_parameters",
        }
        implied = {
            "global_rope_theta": 160_000.0,
            "local_rope_theta": 10_000.0,
            "layer_types": None,
            "global_attn_every_n_layers": 3,
            "rope_parameters": None,
        }
        supported = {"model_type": ["modernbert"], "hidden_activation": list(ACTIVATIONS)}
        values = read_config(path, supported, names, implied)
        kinds, every, rope = (values.pop(name) for name in ("kinds", "every", "rope"))
        for name, kind in (("far_theta", "full_attention"), ("near_theta", "sliding_attention")):
            own = (rope or {}).get(kind) or {}
            if (wanted := own.get("rope_type", "default")) != "default":
                raise WeightsError(f"{path}: rope_type {wanted!r} is not supported; supported: 'default'")
            values[name] = own.get("rope_theta", values[name])
            check_number(path, f"rope_theta of {kind}", values[name])
        kinds = kinds or ["sliding_attention" if layer % every else "full_attention" for layer in range(values["layers"])]
        return cls(**values, far=tuple(kind == "full_attention" for kind in kinds))


class Layer(PreNormLayer):
    far: Buffer
    first: Buffer

    def __init__(self, config: ModernBertConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        linear = partial(Linear, dtype=dtype)
        norm = partial(LayerNorm, config.width, config.epsilon, bias=config.norm_bias)
        self.attention = Attention(config.width, config.heads, partial(linear, use_bias=config.attention_bias), rngs=rngs)
        self.attention_norm = norm(rngs=rngs)
        with_bias = partial(linear, use_bias=config.mlp_bias)
        self.mlp = GatedMlp(config.width, config.ffn_width, config.activation, with_bias, rngs=rngs)
        self.mlp_norm = norm(rngs=rngs)

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x_RLD: jax.Array, seen: tuple[AttentionContext, AttentionContext], noise_RL: jax.Array | None = None
    ) -> jax.Array:
        own = jax.tree.map(lambda far, near: jnp.where(self.far[...], far, near), *seen)
        # the embeddings are normalised already
        before_RLD = jnp.where(self.first[...], x_RLD, self.attention_norm(x_RLD))
        x_RLD = x_RLD + self.attention(before_RLD, own, noise_RL)
        return x_RLD + self.mlp(self.mlp_norm(x_RLD), noise_RL)


class ModernBert(Transformer):
    def __init__(self, config: ModernBertConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.config = config
        self.dtype = dtype
        norm = partial(LayerNorm, config.width, config.epsilon, bias=config.norm_bias, rngs=rngs)
        self.embeddings = Embeddings(config.vocabulary, config.width, dtype, norm=norm(), rngs=rngs)
        self.layers = stack_layers(lambda rngs: Layer(config, dtype, rngs=rngs), config.layers, rngs)
        first = tuple(layer == 0 for layer in range(config.layers))
        self.layers.far = Buffer(jnp.asarray(config.far), values=config.far)
        self.layers.first = Buffer(jnp.asarray(first), values=first)
        self.norm = norm()

    def seen(self, rows: Rows) -> tuple[AttentionContext, AttentionContext]:
        """What layers see that see the whole text, and the others."""
        config = self.config
        whole_RLL = segment_mask(rows)
        near_RLL = whole_RLL & (jnp.abs(relative_position(rows)) <= config.window // 2)
        far, near = (rotary_angles(rows, config.width // config.heads, theta) for theta in (config.far_theta, config.near_theta))
        return AttentionContext(whole_RLL, turn_RLC=far), AttentionContext(near_RLL, turn_RLC=near)


_MLP = ("layers.mlp.gate", "layers.mlp.up")


CHECKPOINT: Table = {
    "embeddings.tok_embeddings.weight": ("embeddings.word.embedding", as_is),
    "embeddings.norm.weight": ("embeddings.norm.scale", as_is),
    "embeddings.norm.bias": ("embeddings.norm.bias", as_is),
    "layers.{layer}.attn_norm.weight": ("layers.attention_norm.scale", as_is),
    "layers.{layer}.attn_norm.bias": ("layers.attention_norm.bias", as_is),
    "layers.{layer}.attn.Wqkv.weight": (tuple(f"{path}.kernel" for path in QUERY_KEY_VALUE), transposed),
    "layers.{layer}.attn.Wqkv.bias": (tuple(f"{path}.bias" for path in QUERY_KEY_VALUE), as_is),
    "layers.{layer}.attn.Wo.weight": ("layers.attention.output.kernel", transposed),
    "layers.{layer}.attn.Wo.bias": ("layers.attention.output.bias", as_is),
    "layers.{layer}.mlp_norm.weight": ("layers.mlp_norm.scale", as_is),
    "layers.{layer}.mlp_norm.bias": ("layers.mlp_norm.bias", as_is),
    "layers.{layer}.mlp.Wi.weight": (tuple(f"{path}.kernel" for path in _MLP), transposed),
    "layers.{layer}.mlp.Wi.bias": (tuple(f"{path}.bias" for path in _MLP), as_is),
    "layers.{layer}.mlp.Wo.weight": ("layers.mlp.down.kernel", transposed),
    "layers.{layer}.mlp.Wo.bias": ("layers.mlp.down.bias", as_is),
    "final_norm.weight": ("norm.scale", as_is),
    "final_norm.bias": ("norm.bias", as_is),
}
OPTIONAL = {
    "norm_bias": r".*norm\.bias",
    "attention_bias": r".*\.attn\..*\.bias",
    "mlp_bias": r".*\.mlp\..*\.bias",
}
IGNORED = (r"head\..*", r"decoder\..*", r"classifier\..*", r"rotary_emb\..*")
RENAMED = ((r"^model\.", ""),)
# the first layer has no norm before its attention; its row of the stack is there and not used
GIVEN = {"layers.0.attn_norm.weight": 1.0, "layers.0.attn_norm.bias": 0.0}
ARCHITECTURE = Architecture(
    ("modernbert",), ModernBertConfig.from_json, ModernBert, CHECKPOINT, IGNORED, RENAMED, OPTIONAL, GIVEN
)
