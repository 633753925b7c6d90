"""The linear maps that a checkpoint puts between pooling and normalisation (sentence-transformers' Dense)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

# the last component of torch's name of an activation → the function
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "Identity": lambda x: x,
    "Tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid,
    "SiLU": jax.nn.silu,
    "GELU": lambda x: jax.nn.gelu(x, approximate=False),
}


class Dense(nnx.Module):
    """activation(x·W + bias), in float32. No `layers.Linear`: adapters leave it as it is."""

    def __init__(self, kernel_DE: np.ndarray, bias_E: np.ndarray | None, activation: str):
        self.kernel = nnx.Param(jnp.asarray(kernel_DE, jnp.float32))
        self.bias: Any = None if bias_E is None else nnx.Param(jnp.asarray(bias_E, jnp.float32))
        self.activation = activation

    def __call__(self, x_TD: jax.Array) -> jax.Array:
        y_TE = jnp.matmul(x_TD, self.kernel[...], precision=jax.lax.Precision.HIGHEST)
        if self.bias is not None:
            y_TE += self.bias[...][None]
        return ACTIVATIONS[self.activation](y_TE)
