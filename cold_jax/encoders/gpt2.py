"""GPT-2: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". A token sees those before it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from cold_jax.encoders.layers import (
    ACTIVATIONS,
    QUERY_KEY_VALUE,
    Attention,
    AttentionContext,
    Embeddings,
    LayerNorm,
    Linear,
    Mlp,
    PreNormLayer,
    Transformer,
    causal_mask,
    stack_layers,
)
from cold_jax.encoders.weights import Architecture, Table, as_is, read_config
from cold_jax.text.packing import Rows


@dataclass(frozen=True)
class Gpt2Config:
    """The shape of a GPT-2."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    ffn_width: int
    max_positions: int  # tokens of the longest text
    activation: str
    epsilon: float

    @classmethod
    def from_json(cls, path: Path) -> "Gpt2Config":
        """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this GPT-2 is not."""
        supported = {
            "model_type": ["gpt2"],
            "activation_function": list(ACTIVATIONS),
            "scale_attn_weights": [True],
            "scale_attn_by_inverse_layer_idx": [False],
            "add_cross_attention": [False],
            "is_causal": [True],
        }
        names = {
            "vocabulary": "vocab_size",
            "width": "n_embd",
            "layers": "n_layer",
            "heads": "n_head",
            "ffn_width": "n_inner",
            "max_positions": "n_positions",
            "activation": "activation_function",
            "epsilon": "layer_norm_epsilon",
        }
        implied = {
            "activation_function": "gelu_new",
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "add_cross_attention": False,
            "is_causal": True,
            "n_inner": None,
        }
        values = read_config(path, supported, names, implied)
        return cls(**{**values, "ffn_width": values["ffn_width"] or 4 * values["width"]})


class Layer(PreNormLayer):
    def __init__(self, config: Gpt2Config, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        linear = partial(Linear, dtype=dtype)
        self.attention = Attention(config.width, config.heads, linear, rngs=rngs)
        self.attention_norm = LayerNorm(config.width, config.epsilon, rngs=rngs)
        self.mlp = Mlp(config.width, config.ffn_width, config.activation, linear, rngs=rngs)
        self.mlp_norm = LayerNorm(config.width, config.epsilon, rngs=rngs)


class Gpt2(Transformer):
    causal = True

    def __init__(self, config: Gpt2Config, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.config = config
        self.dtype = dtype
        self.embeddings = Embeddings(config.vocabulary, config.width, dtype, places=config.max_positions, rngs=rngs)
        self.layers = stack_layers(lambda rngs: Layer(config, dtype, rngs=rngs), config.layers, rngs)
        self.norm = LayerNorm(config.width, config.epsilon, rngs=rngs)

    def seen(self, rows: Rows) -> AttentionContext:
        return AttentionContext(causal_mask(rows))


# its linear maps are kept as (in, out), as Flax keeps them
CHECKPOINT: Table = {
    "wte.weight": ("embeddings.word.embedding", as_is),
    "wpe.weight": ("embeddings.place.embedding", as_is),
    "h.{layer}.ln_1.weight": ("layers.attention_norm.scale", as_is),
    "h.{layer}.ln_1.bias": ("layers.attention_norm.bias", as_is),
    "h.{layer}.attn.c_attn.weight": (tuple(f"{path}.kernel" for path in QUERY_KEY_VALUE), as_is),
    "h.{layer}.attn.c_attn.bias": (tuple(f"{path}.bias" for path in QUERY_KEY_VALUE), as_is),
    "h.{layer}.attn.c_proj.weight": ("layers.attention.output.kernel", as_is),
    "h.{layer}.attn.c_proj.bias": ("layers.attention.output.bias", as_is),
    "h.{layer}.ln_2.weight": ("layers.mlp_norm.scale", as_is),
    "h.{layer}.ln_2.bias": ("layers.mlp_norm.bias", as_is),
    "h.{layer}.mlp.c_fc.weight": ("layers.mlp.up.kernel", as_is),
    "h.{layer}.mlp.c_fc.bias": ("layers.mlp.up.bias", as_is),
    "h.{layer}.mlp.c_proj.weight": ("layers.mlp.down.kernel", as_is),
    "h.{layer}.mlp.c_proj.bias": ("layers.mlp.down.bias", as_is),
    "ln_f.weight": ("norm.scale", as_is),
    "ln_f.bias": ("norm.bias", as_is),
}
IGNORED = (r"h\.\d+\.attn\.(masked_)?bias", r"lm_head\..*", r"(score|multiple_choice_head)\..*")
RENAMED = ((r"^transformer\.", ""),)
ARCHITECTURE = Architecture(("gpt2",), Gpt2Config.from_json, Gpt2, CHECKPOINT, IGNORED, RENAMED)
