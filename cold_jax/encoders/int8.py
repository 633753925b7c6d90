"""Matrices of θ in int8, by qwix (https://github.com/google/qwix): a quarter of float32's memory.

W ≈ s_o · round(W / s_o), s_o = max |W_io| / 127.5 over the inputs i of each output o (Dettmers et al. 2022, arXiv 2208.07339, section 3); of a
table of embeddings a scale for each row. Products are those of `W` in the compute dtype; a layer at a time is in it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from cold_jax.errors import ConfigError

INPUTS = {"kernel": -2, "embedding": -1}  # the axis that shares a scale


class Int8(nnx.Param):
    """A parameter whose value is a qwix.QArray; `[...]` is the matrix in float32."""

    def __getitem__(self, key: Any) -> jax.Array:
        import qwix  # pyright: ignore[reportMissingImports]

        value = self.get_value()
        whole = qwix.dequantize(value) if isinstance(value, qwix.QArray) else value
        return whole if key is ... else whole[key]


def to_int8(module: nnx.Module, path: tuple[Any, ...]) -> None:
    """Puts the matrix of a module at `path` into int8. Raises ConfigError where qwix is not installed."""
    try:
        import qwix  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError("parallel.frozen_dtype: int8 needs the package qwix: pip install 'cold_jax[int8]'") from None
    *parents, name = path
    parent: Any = module
    for key in parents:
        parent = parent[key] if isinstance(key, int) else getattr(parent, key)
    matrix = getattr(parent, name)[...]
    axes = [axis for axis in range(matrix.ndim) if axis != matrix.ndim + INPUTS[name]]
    setattr(parent, name, Int8(qwix.quantize(matrix, jnp.int8, channelwise_axes=axes)))
