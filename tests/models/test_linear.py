"""The linear model's scores by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import small
from small import LinearModel, make_train

from cold_jax.encoders.precomputed import VectorTable
from cold_jax.models.base import score_candidates


def test_linear_by_hand():
    """1·profile + 2·mean of the support + 5·item + 0.25; the mean is (1 - 3) / 4."""
    model = LinearModel()(VectorTable(small.VECTOR_TD), make_train([[1], [-1], [1]], [[]] * 3), None, 0)
    for name, value in {"profile_D": [1.0], "support_D": [2.0], "item_D": [5.0], "bias": 0.25}.items():
        getattr(model, name)[...] = jnp.asarray(value)
    expected = [[6.25, -3.75, 6.25], [5.25, -4.75, 5.25]]
    np.testing.assert_allclose(
        jax.jit(score_candidates)(model, jnp.asarray(small.VECTOR_TD), *small.all_items(small.HISTORY_BJ)), expected, rtol=1e-6
    )
