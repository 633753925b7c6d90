"""The integral, where it is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cold_jax.explanations.gradients import STEPS, integrate


def test_a_sum_of_functions_of_single_numbers() -> None:
    """Σ f(x) gives each token the difference of its own terms."""
    x_RLD, masked_RLD = (jnp.asarray(np.random.default_rng(n).normal(size=(2, 3, 4)), jnp.float32) for n in (0, 1))
    found = integrate(jax.value_and_grad(lambda x: (x**3 + jnp.sin(2 * x)).sum()), x_RLD, masked_RLD)
    expected = sum(sign * (np.asarray(x) ** 3 + np.sin(2 * np.asarray(x))).sum(-1) for sign, x in ((1, x_RLD), (-1, masked_RLD)))
    assert np.allclose(found.value_RL, expected, atol=1e-4)
    assert found.completeness.error < 1e-3


def test_a_product_is_halved() -> None:
    """x·y from (0, 0): each gets one half."""
    score = jax.value_and_grad(lambda x: x[0, 0, 0] * x[0, 1, 0])
    found = integrate(score, jnp.asarray([[[3.0], [4.0]]]), jnp.zeros((1, 2, 1)))
    assert found.value_RL.tolist() == [pytest.approx([6, 6], abs=1e-5)]
    assert found.completeness.steps == STEPS[0]


def test_a_steep_score_takes_more_steps() -> None:
    found = integrate(jax.value_and_grad(lambda x: jnp.tanh(200 * (x - 0.37)).sum()), jnp.ones((1, 1, 1)), jnp.zeros((1, 1, 1)))
    assert found.completeness.steps > STEPS[0]
    assert found.completeness.error <= 0.01
    assert found.completeness.difference == pytest.approx(2, abs=1e-5)
