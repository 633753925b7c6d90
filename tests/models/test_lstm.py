"""The LSTM's scores by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small import Lstm, make_train

from cold_jax.encoders.precomputed import TokenStateTable
from cold_jax.models.lstm import LstmModule


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_lstm_in_numpy():
    """Hochreiter & Schmidhuber's cell with a forget gate, over the profile's tokens, then the item's; what lies beyond a text is garbage."""
    draw = np.random.default_rng(0)
    T, L, D, V = 5, 6, 3, 4
    state_TLD, length_T = draw.normal(size=(T, L, D)).astype(np.float32), np.array([6, 1, 4, 2, 6], np.int32)
    state_TLD[np.arange(L) >= length_T[:, None]] = 1e3
    model = Lstm(width=V)(TokenStateTable(state_TLD, length_T), make_train([[1], [-1], [1]], [[]] * 3), None, 0)
    for _, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        variable.set_value(jnp.asarray(draw.normal(0, 0.5, variable.shape), jnp.float32))
    profile_B, item_B = np.array([0, 0, 1, 1]), np.array([2, 4, 3, 2])
    got_B = jax.jit(LstmModule.pairs)(model, state_TLD, profile_B, length_T[profile_B], item_B, length_T[item_B])
    cell = model.lstm.cell
    w_DV, w_VV, bias_V = (np.asarray(x[...]) for x in (cell.dense_i.kernel, cell.dense_h.kernel, cell.dense_h.bias))
    for b, (first, second) in enumerate(zip(profile_B, item_B, strict=True)):
        c_V, h_V = np.zeros(V), np.zeros(V)
        for x_D in [*state_TLD[first, : length_T[first]], *state_TLD[second, : length_T[second]]]:
            into, forget, value, out = np.split(x_D @ w_DV + h_V @ w_VV + bias_V, 4)
            c_V = sigmoid(forget) * c_V + sigmoid(into) * np.tanh(value)
            h_V = sigmoid(out) * np.tanh(c_V)
        expected = h_V @ np.asarray(model.dense.kernel[...])[:, 0] + float(model.dense.bias[...][0])
        assert float(got_B[b]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
