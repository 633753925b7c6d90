"""What encoders are built of: linear maps, attention, MLPs, norms, rotary places, and a stack of equal layers that is scanned.

Attention is Vaswani et al. 2017, arXiv 1706.03762, equation 1. Parameters are float32, `dtype` is the type of the products.
Softmax, norms and rotations compute in float32 whatever it is.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax.encoders.sharding import divide_rows, gather
from cold_jax.text.packing import PREFIX, Rows

Stacked = TypeVar("Stacked", bound=nnx.Module)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


class Remat(Enum):
    """What of a layer is kept for the backward pass; the rest is computed again.

    products: those with weights. nothing: its input alone, for the least memory. everything: what each operation needs.
    """

    products = "products"
    nothing = "nothing"
    everything = "everything"


POLICIES = {
    Remat.products: jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    Remat.nothing: jax.checkpoint_policies.nothing_saveable,
    Remat.everything: jax.checkpoint_policies.everything_saveable,
}


class Buffer(nnx.Variable):
    """Numbers, one for each layer, that are neither learned nor in a checkpoint; `values` has them where the module is abstract."""


class AttentionContext(NamedTuple):
    """Which positions of a row attend to which."""

    visible_RLL: jax.Array  # True where the first place may look at the second; each place must see at least one
    bias_RHLL: jax.Array | None = None  # is added to the scores
    turn_RLC: tuple[jax.Array, jax.Array] | None = None  # cosines and sines of the angles by which queries and keys turn


class Linear(nnx.Linear):
    """x·W + bias. An adapter puts a layer of its own in its place: one that uses the noise, a PRNG key for each token."""

    def __call__(self, x: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(x)


class LayerNorm(nnx.LayerNorm):
    """Layer normalisation in float32; the result has the dtype of x."""

    def __init__(self, width: int, epsilon: float, *, bias: bool = True, rngs: nnx.Rngs):
        super().__init__(width, epsilon=epsilon, use_bias=bias, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(x).astype(x.dtype)


class RmsNorm(nnx.RMSNorm):
    """x / √mean(x²) · scale in float32 (Zhang and Sennrich 2019, arXiv 1910.07467); the result has the dtype of x."""

    def __init__(self, width: int, epsilon: float, *, rngs: nnx.Rngs):
        super().__init__(width, epsilon=epsilon, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(x).astype(x.dtype)


# where a stack of layers has them, for checkpoints that keep the three in one
QUERY_KEY_VALUE = ("layers.attention.query", "layers.attention.key", "layers.attention.value")


class Attention(nnx.Module):
    """softmax(q·kᵀ / √C)·v for each head, then a linear map of the heads together.

    Args:
      key_heads: heads of keys and values, each shared by as many of the queries' (Ainslie et al. 2023, arXiv 2305.13245).
      norm: makes a norm of each head's queries, and of its keys.
      output: makes the last linear map, where it isn't as the others.
      divisor: of the scores, where it isn't √C.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        linear: Callable[..., Linear],
        *,
        rngs: nnx.Rngs,
        key_heads: int | None = None,
        head_width: int | None = None,
        norm: Callable[..., nnx.Module] | None = None,
        output: Callable[..., Linear] | None = None,
        divisor: float | None = None,
    ):
        C = head_width or width // heads
        self.divisor = C**0.5 if divisor is None else divisor
        self.heads = heads
        self.query = linear(width, heads * C, rngs=rngs)
        self.key = linear(width, (key_heads or heads) * C, rngs=rngs)
        self.value = linear(width, (key_heads or heads) * C, rngs=rngs)
        self.output = (output or linear)(heads * C, width, rngs=rngs)
        self.query_norm: Any = norm and norm(C, rngs=rngs)
        self.key_norm: Any = norm and norm(C, rngs=rngs)

    def __call__(self, x_RLD: jax.Array, seen: AttentionContext, noise_RL: jax.Array | None = None) -> jax.Array:
        R, L, _ = x_RLD.shape
        q_RLHC = self.query(x_RLD, noise_RL).reshape(R, L, self.heads, -1)
        C = q_RLHC.shape[-1]
        k_RLHC = self.key(x_RLD, noise_RL).reshape(R, L, -1, C)
        v_RLHC = self.value(x_RLD, noise_RL).reshape(R, L, -1, C)
        if self.query_norm is not None:
            q_RLHC, k_RLHC = self.query_norm(q_RLHC), self.key_norm(k_RLHC)
        if seen.turn_RLC is not None:
            q_RLHC, k_RLHC = apply_rotary(q_RLHC, *seen.turn_RLC), apply_rotary(k_RLHC, *seen.turn_RLC)
        if (shared := self.heads // k_RLHC.shape[2]) > 1:
            k_RLHC, v_RLHC = jnp.repeat(k_RLHC, shared, axis=2), jnp.repeat(v_RLHC, shared, axis=2)

        score_RHLL = jnp.einsum("rqhc,rkhc->rhqk", q_RLHC, k_RLHC, preferred_element_type=jnp.float32) / self.divisor
        if seen.bias_RHLL is not None:
            score_RHLL += seen.bias_RHLL
        weight_RHLL = jax.nn.softmax(jnp.where(seen.visible_RLL[:, None], score_RHLL, -jnp.inf))
        mixed_RLHC = jnp.einsum("rhqk,rkhc->rqhc", weight_RHLL.astype(v_RLHC.dtype), v_RLHC)
        return self.output(mixed_RLHC.reshape(R, L, -1), noise_RL)


class Mlp(nnx.Module):
    """down(activation(up(x)))."""

    def __init__(self, width: int, hidden: int, activation: str, linear: Callable[..., Linear], *, rngs: nnx.Rngs):
        self.activation = activation
        self.up = linear(width, hidden, rngs=rngs)
        self.down = linear(hidden, width, rngs=rngs)

    def __call__(self, x_RLD: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:
        hidden_RLM = ACTIVATIONS[self.activation](self.up(x_RLD, noise_RL))
        return self.down(hidden_RLM, noise_RL)


class GatedMlp(nnx.Module):
    """down(activation(gate(x)) · up(x)): Shazeer 2020, arXiv 2002.05202. `down` makes the last map, where it isn't as the others."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: str,
        linear: Callable[..., Linear],
        *,
        rngs: nnx.Rngs,
        down: Callable[..., Linear] | None = None,
    ):
        self.activation = activation
        self.gate = linear(width, hidden, rngs=rngs)
        self.up = linear(width, hidden, rngs=rngs)
        self.down = (down or linear)(hidden, width, rngs=rngs)

    def __call__(self, x_RLD: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:
        hidden_RLM = ACTIVATIONS[self.activation](self.gate(x_RLD, noise_RL)) * self.up(x_RLD, noise_RL)
        return self.down(hidden_RLM, noise_RL)


class _Layer(nnx.Module):
    attention: Attention
    attention_norm: Callable[[jax.Array], jax.Array]
    mlp: Mlp | GatedMlp
    mlp_norm: Callable[[jax.Array], jax.Array]


class PreNormLayer(_Layer):
    """A transformer layer whose norms come before attention and MLP."""

    def __call__(self, x_RLD: jax.Array, seen: AttentionContext, noise_RL: jax.Array | None = None) -> jax.Array:
        x_RLD = x_RLD + self.attention(self.attention_norm(x_RLD), seen, noise_RL)
        return x_RLD + self.mlp(self.mlp_norm(x_RLD), noise_RL)


class PostNormLayer(_Layer):
    """A transformer layer whose norms come after the sums."""

    def __call__(self, x_RLD: jax.Array, seen: AttentionContext, noise_RL: jax.Array | None = None) -> jax.Array:
        x_RLD = self.attention_norm(x_RLD + self.attention(x_RLD, seen, noise_RL))
        return self.mlp_norm(x_RLD + self.mlp(x_RLD, noise_RL))


class Embed(nnx.Embed):
    """Rows of a table, cast to the compute dtype once they are looked up.

    nnx.Embed casts the table first, so that in bfloat16 the gradients of a token's many occurrences are added up in bfloat16: a sum stops
    growing at 256 of its addends, and on a GPU every addition waits for the one before it.
    """

    def __call__(self, inputs: jax.Array, out_sharding: None = None) -> jax.Array:
        return jnp.take(self.embedding[...], inputs, axis=0).astype(self.dtype)


class Embeddings(nnx.Module):
    """What a token is, plus where it stands in its text and which part of it it belongs to, where there are tables for these."""

    def __init__(
        self,
        tokens: int,
        width: int,
        dtype: jnp.dtype,
        *,
        rngs: nnx.Rngs,
        places: int = 0,
        offset: int = 0,
        types: int = 0,
        norm: Callable[[jax.Array], jax.Array] | None = None,
        factor: float | None = None,
    ):
        embed = partial(Embed, features=width, dtype=dtype, rngs=rngs)
        self.word = embed(tokens)
        self.place = embed(places) if places else None
        self.type = embed(types) if types else None
        self.norm: Any = norm
        self.offset = offset
        self.factor = factor  # of the words' rows

    def __call__(self, rows: Rows) -> jax.Array:
        x_RLD = self.word(jnp.asarray(rows.token_RL))
        if self.factor is not None:
            x_RLD *= jnp.asarray(self.factor, x_RLD.dtype)
        if self.place is not None:
            x_RLD += self.place(jnp.asarray(rows.position_RL) + self.offset)
        if self.type is not None:
            x_RLD += self.type(jnp.asarray(rows.type_RL))
        return x_RLD if self.norm is None else self.norm(x_RLD)


class Transformer(nnx.Module):
    """Texts packed into rows → the state of each token, of the compute dtype; states of empty places mean nothing.

    The embeddings go through `layers`, each of which gets `seen`, and then through a last `norm`, where there is one.
    """

    causal = False  # whether a token sees only those before it
    remat = Remat.products
    config: Any
    dtype: jnp.dtype
    embeddings: Any
    layers: Any
    norm: Any = None

    def seen(self, rows: Rows) -> Any:
        raise NotImplementedError

    def through(self, x_RLD: jax.Array, rows: Rows, noise_RL: jax.Array | None = None) -> jax.Array:
        """What the layers make of the embeddings."""
        return scan_layers(self.layers, x_RLD, self.seen(rows), noise_RL, self.remat)

    def __call__(self, rows: Rows, noise_RL: jax.Array | None = None) -> jax.Array:
        x_RLD = self.through(self.embeddings(rows), rows, noise_RL)
        return x_RLD if self.norm is None else self.norm(x_RLD)


def segment_mask(rows: Rows) -> jax.Array:
    """A token sees its own text, and its row's prefix where there is one. Empty places see one another, so that no softmax is over nothing."""
    segment_RL = jnp.asarray(rows.segment_RL)
    same_RLL = segment_RL[:, :, None] == segment_RL[:, None, :]
    return same_RLL | ((segment_RL[:, :, None] > 0) & (segment_RL[:, None, :] == PREFIX))


def relative_position(rows: Rows) -> jax.Array:
    """How many places the second token stands after the first; of two tokens of one text."""
    position_RL = jnp.asarray(rows.position_RL)
    return position_RL[:, None, :] - position_RL[:, :, None]


def causal_mask(rows: Rows) -> jax.Array:
    """A token sees its own text up to itself."""
    return segment_mask(rows) & (relative_position(rows) <= 0)


def rotary_angles(rows: Rows, head_width: int, theta: float, factor: float = 1.0) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines of rotary positions: Su et al. 2021, arXiv 2104.09864, equation 15, in torch's float32.

    Frequencies are divided by `factor` ("linear" scaling).
    """
    frequency_C = 1 / np.float32(theta) ** (np.arange(0, head_width, 2, dtype=np.float32) / np.float32(head_width))
    frequency_C = frequency_C / np.float32(factor)
    angle_RLC = jnp.asarray(rows.position_RL, jnp.float32)[:, :, None] * frequency_C[None, None]
    return jnp.cos(angle_RLC), jnp.sin(angle_RLC)


def apply_rotary(x_RLHC: jax.Array, cos_RLC: jax.Array, sin_RLC: jax.Array) -> jax.Array:
    """Each pair of a head's numbers, half a head apart, turned by its angle."""
    one_RLHC, other_RLHC = jnp.split(x_RLHC.astype(jnp.float32), 2, axis=-1)
    cos_RLHC, sin_RLHC = cos_RLC[:, :, None], sin_RLC[:, :, None]
    turned_RLHC = [one_RLHC * cos_RLHC - other_RLHC * sin_RLHC, other_RLHC * cos_RLHC + one_RLHC * sin_RLHC]
    return jnp.concatenate(turned_RLHC, axis=-1).astype(x_RLHC.dtype)


def stack_layers(make: Callable[[nnx.Rngs], Stacked], layers: int, rngs: nnx.Rngs) -> Stacked:
    """One module in the place of equal ones: each of its variables has a leading axis of length `layers`."""
    return nnx.vmap(make, in_axes=0, out_axes=0)(rngs.split(layers))


def scan_layers(
    layers: Callable[..., jax.Array], x_RLD: jax.Array, seen: Any, noise_RL: jax.Array | None, remat: Remat = Remat.products
) -> jax.Array:
    """Applies stacked layers one after the other; each has noise of its own.

    One layer is compiled, whatever the depth. To keep its products with weights for the backward pass and compute the rest again
    measured faster on a CPU than keeping all: a scan fills its stacks of residuals with zeros first.
    """

    # in a scan the barriers that keep XLA from undoing this are not needed; on a GPU they cost a twentieth of a step
    @partial(jax.checkpoint, policy=POLICIES[remat], prevent_cse=jax.default_backend() == "cpu")
    def step(x_RLD: jax.Array, place: tuple[jax.Array, Callable[..., jax.Array]]) -> tuple[jax.Array, None]:
        number, layer = place
        return gather(layer)(divide_rows(x_RLD), seen, _fold(noise_RL, number)), None

    depth = len(jax.tree.leaves(layers)[0])
    return jax.lax.scan(step, x_RLD, (jnp.arange(depth), layers))[0]


def _fold(noise_RL: jax.Array | None, number: jax.Array) -> jax.Array | None:
    if noise_RL is None:
        return None
    fold_R = jax.vmap(jax.random.fold_in, (0, None))
    return jax.vmap(fold_R, (0, None))(noise_RL, number)
