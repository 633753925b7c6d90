"""What encoders are built of: linear maps, attention, the MLP, norms, and a stack of equal layers that is scanned.

Attention is Vaswani et al. 2017, arXiv 1706.03762, equation 1. Parameters are float32, `dtype` is the type of the products.
Softmax and norms compute in float32 whatever it is.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

Stacked = TypeVar("Stacked", bound=nnx.Module)

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
}


class Linear(nnx.Linear):
    """x·W + bias. An adapter puts a layer of its own in its place: one that uses the noise, a PRNG key for each token."""

    def __call__(self, x: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(x)


class LayerNorm(nnx.LayerNorm):
    """Layer normalisation in float32; the result has the dtype of x."""

    def __init__(self, width: int, epsilon: float, *, rngs: nnx.Rngs):
        super().__init__(width, epsilon=epsilon, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(x).astype(x.dtype)


class Attention(nnx.Module):
    """softmax(q·kᵀ / √C)·v for each head, then a linear map of the heads together."""

    def __init__(self, width: int, heads: int, linear: Callable[..., Linear], *, rngs: nnx.Rngs):
        self.heads = heads
        self.query = linear(width, width, rngs=rngs)
        self.key = linear(width, width, rngs=rngs)
        self.value = linear(width, width, rngs=rngs)
        self.output = linear(width, width, rngs=rngs)

    def __call__(self, x_RLD: jax.Array, visible_RLL: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:
        """`visible_RLL` is True where the first place may look at the second; each place must see at least one."""
        R, L, D = x_RLD.shape
        q_RLHC = self.query(x_RLD, noise_RL).reshape(R, L, self.heads, -1)
        k_RLHC = self.key(x_RLD, noise_RL).reshape(R, L, self.heads, -1)
        v_RLHC = self.value(x_RLD, noise_RL).reshape(R, L, self.heads, -1)
        C = D // self.heads

        score_RHLL = jnp.einsum("rqhc,rkhc->rhqk", q_RLHC, k_RLHC, preferred_element_type=jnp.float32) / C**0.5
        weight_RHLL = jax.nn.softmax(jnp.where(visible_RLL[:, None], score_RHLL, -jnp.inf))
        mixed_RLHC = jnp.einsum("rhqk,rkhc->rqhc", weight_RHLL.astype(v_RLHC.dtype), v_RLHC)
        return self.output(mixed_RLHC.reshape(R, L, D), noise_RL)


class Mlp(nnx.Module):
    """down(activation(up(x)))."""

    def __init__(self, width: int, hidden: int, activation: str, linear: Callable[..., Linear], *, rngs: nnx.Rngs):
        self.activation = activation
        self.up = linear(width, hidden, rngs=rngs)
        self.down = linear(hidden, width, rngs=rngs)

    def __call__(self, x_RLD: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:
        hidden_RLM = ACTIVATIONS[self.activation](self.up(x_RLD, noise_RL))
        return self.down(hidden_RLM, noise_RL)


def stack(make: Callable[[nnx.Rngs], Stacked], layers: int, rngs: nnx.Rngs) -> Stacked:
    """One module in the place of equal ones: each of its variables has a leading axis of length `layers`."""
    return nnx.vmap(make, in_axes=0, out_axes=0)(rngs.split(layers))


def run(layers: Callable[..., jax.Array], x_RLD: jax.Array, visible_RLL: jax.Array, noise_RL: jax.Array | None) -> jax.Array:
    """Applies stacked layers one after the other; each has noise of its own.

    One layer is compiled, whatever the depth. Its products with weights are kept for the backward pass and the rest is computed
    again, which measured faster than keeping all: a scan fills its stacks of residuals with zeros first.
    """

    @partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
    def step(x_RLD: jax.Array, place: tuple[jax.Array, Callable[..., jax.Array]]) -> tuple[jax.Array, None]:
        number, layer = place
        return layer(x_RLD, visible_RLL, _fold(noise_RL, number)), None

    depth = len(jax.tree.leaves(layers)[0])
    return jax.lax.scan(step, x_RLD, (jnp.arange(depth), layers))[0]


def _fold(noise_RL: jax.Array | None, number: jax.Array) -> jax.Array | None:
    if noise_RL is None:
        return None
    fold_R = jax.vmap(jax.random.fold_in, (0, None))
    return jax.vmap(fold_R, (0, None))(noise_RL, number)
