"""Attention and its like, against the same formulas in NumPy float64, and scanned stacks against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import ndtr

from cold_jax.encoders.layers import Attention, AttentionContext, Embed, LayerNorm, Linear, Mlp, scan_layers, stack_layers


def _linear(*args: int, rngs: nnx.Rngs) -> Linear:
    return Linear(*args, rngs=rngs, kernel_init=nnx.initializers.normal(0.5), bias_init=nnx.initializers.normal(0.5))


def _array(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_attention_is_equation_1() -> None:
    R, L, D, H = 2, 5, 8, 2
    attention = Attention(D, H, _linear, rngs=nnx.Rngs(0))
    x_RLD, visible_RLL = _array(R, L, D), np.random.default_rng(1).random((R, L, L)) < 0.5
    visible_RLL |= np.eye(L, dtype=bool)

    apply = lambda linear, x: x @ np.float64(linear.kernel[...]) + np.float64(linear.bias[...])  # noqa: E731
    expected_RLD = np.zeros((R, L, D))
    for r in range(R):
        q_LD, k_LD, v_LD = (apply(m, x_RLD[r]) for m in (attention.query, attention.key, attention.value))
        for h in range(H):
            head = slice(h * D // H, (h + 1) * D // H)
            for place in range(L):
                seen = np.flatnonzero(visible_RLL[r, place])
                weight = np.exp([q_LD[place, head] @ k_LD[other, head] / np.sqrt(D // H) for other in seen])
                expected_RLD[r, place, head] = weight / weight.sum() @ v_LD[seen, head]
    expected_RLD = apply(attention.output, expected_RLD)
    np.testing.assert_allclose(attention(jnp.asarray(x_RLD), AttentionContext(jnp.asarray(visible_RLL))), expected_RLD, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("gelu", lambda x: x * ndtr(x)),
        ("gelu_new", lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
        ("relu", lambda x: np.maximum(x, 0)),
    ],
)
def test_mlp(name, formula) -> None:
    mlp = Mlp(4, 6, name, _linear, rngs=nnx.Rngs(0))
    x = np.float64(_array(2, 3, 4))
    hidden = formula(x @ np.float64(mlp.up.kernel[...]) + np.float64(mlp.up.bias[...]))
    expected = hidden @ np.float64(mlp.down.kernel[...]) + np.float64(mlp.down.bias[...])
    np.testing.assert_allclose(mlp(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


def test_gradients_of_an_embedding_are_summed_in_float32() -> None:
    embed = Embed(3, 2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    index = jnp.asarray([1] * 1000 + [2])
    assert embed(index).dtype == jnp.bfloat16
    gradient = nnx.grad(lambda module: module(index).astype(jnp.float32).sum())(embed)
    np.testing.assert_array_equal(gradient.embedding[...], [[0, 0], [1000, 1000], [1, 1]])  # in bfloat16 256 + 1 is 256


def test_layer_norm_computes_in_float32_and_keeps_the_dtype() -> None:
    norm = LayerNorm(64, 1e-12, rngs=nnx.Rngs(0))
    x = jnp.asarray(_array(3, 64) + 30, jnp.bfloat16)  # in bfloat16 the variance of these is lost
    x64 = np.float64(x)
    expected = (x64 - x64.mean(-1, keepdims=True)) / x64.std(-1, keepdims=True)
    assert norm(x).dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float64(norm(x)), expected, atol=0.02)  # bfloat16 keeps 8 bits: 2 · 2⁻⁸ at most
    np.testing.assert_allclose(norm(x.astype(jnp.float32)), expected, atol=1e-3)


class _Step(nnx.Module):
    """A layer that tells its noise from another's."""

    def __init__(self, rngs: nnx.Rngs):
        self.linear = _linear(8, 8, rngs=rngs)

    def __call__(self, x_RLD: jax.Array, visible_RLL: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:
        y_RLD = jnp.tanh(self.linear(x_RLD, noise_RL))
        if noise_RL is not None:
            y_RLD += jax.vmap(jax.vmap(lambda key: jax.random.uniform(key, (8,))))(noise_RL)
        return y_RLD


def test_a_stack_runs_as_its_layers_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stacked = stack_layers(_Step, 3, nnx.Rngs(0))
    assert stacked.linear.kernel.shape == (3, 8, 8)
    kernel_YDD, bias_YD = jnp.asarray(stacked.linear.kernel[...]), jnp.asarray(stacked.linear.bias[...])
    assert not jnp.allclose(kernel_YDD[0], kernel_YDD[1])
    x_RLD, visible_RLL = jnp.asarray(_array(2, 3, 8)), jnp.ones((2, 3, 3), bool)

    def loop(x_RLD: jax.Array) -> jax.Array:
        for kernel_DD, bias_D in zip(kernel_YDD, bias_YD, strict=True):
            x_RLD = jnp.tanh(x_RLD @ kernel_DD + bias_D[None, None])
        return x_RLD

    run = lambda x_RLD: scan_layers(stacked, x_RLD, visible_RLL, None)  # noqa: E731
    np.testing.assert_allclose(run(x_RLD), loop(x_RLD), atol=1e-6)
    gradient = lambda f: jax.grad(lambda x_RLD: (f(x_RLD) ** 2).sum())(x_RLD)  # noqa: E731
    np.testing.assert_allclose(gradient(run), gradient(loop), atol=1e-5)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # there no barriers stand around what is computed again
    assert "prevent_cse=False" in str(jax.make_jaxpr(run)(x_RLD))
    np.testing.assert_allclose(gradient(run), gradient(loop), atol=1e-5)


def test_each_layer_and_token_has_noise_of_its_own() -> None:
    stacked = stack_layers(_Step, 2, nnx.Rngs(0))
    stacked.linear.kernel[...] = jnp.zeros((2, 8, 8))  # then the result is the last layer's noise
    stacked.linear.bias[...] = jnp.zeros((2, 8))
    x_RLD, visible_RLL = jnp.zeros((1, 2, 8)), jnp.ones((1, 2, 2), bool)
    noise_RL = jax.random.split(jax.random.key(0), (1, 2))
    first_layer = jax.tree.map(lambda leaf_Y: leaf_Y[:1], stacked)
    second_RLD = scan_layers(stacked, x_RLD, visible_RLL, noise_RL)
    first_RLD = scan_layers(first_layer, x_RLD, visible_RLL, noise_RL)
    assert np.abs(second_RLD - first_RLD).min() > 1e-3
    assert np.abs(second_RLD[:, 0] - second_RLD[:, 1]).min() > 1e-3


def test_a_plain_linear_ignores_noise() -> None:
    linear, x_RLD = _linear(8, 3, rngs=nnx.Rngs(0)), jnp.asarray(_array(1, 2, 8))
    expected = np.float64(x_RLD) @ np.float64(linear.kernel[...]) + np.float64(linear.bias[...])
    np.testing.assert_allclose(linear(x_RLD, jax.random.split(jax.random.key(0), (1, 2))), expected, atol=1e-5)
