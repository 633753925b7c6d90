"""Nearest neighbours by hand, and of sparse rows against a full sort."""

import numpy as np
import pytest
from scipy import sparse

from cold_jax.baselines.neighbours import largest_entries, nearest_weights


def test_nearest_leaves_out_the_row_itself_and_the_false_ones():
    """Angles of 0, 30, 60 and 90 degrees; the third does not count."""
    vector_ND = np.array([[1, 0], [0.75**0.5, 0.5], [0.5, 0.75**0.5], [0, 1]])
    weight_BN = nearest_weights(vector_ND, np.array([1, 2]), np.array([True, True, False, True]), 2)
    near, far = 0.75**0.5, 0.5
    expected_BN = np.array([[near, 0, 0, far], [0, near, 0, near]]) / [[near + far], [2 * near]]
    np.testing.assert_allclose(weight_BN, expected_BN, atol=1e-12)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_the_largest_entries_of_sparse_rows(count: int):
    generator = np.random.default_rng(0)
    value_NN = generator.integers(1, 9, (30, 40)) * (generator.random((30, 40)) < 0.3)  # with ties
    kept_NN = largest_entries(sparse.csr_array(value_NN.astype(float)), count).toarray()
    for row_N, kept_N in zip(value_NN, kept_NN, strict=True):
        least = np.sort(row_N)[::-1][min(count, np.count_nonzero(row_N)) - 1] if row_N.any() else 1
        np.testing.assert_array_equal(kept_N, np.where(row_N >= least, row_N, 0))
