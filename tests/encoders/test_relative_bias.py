"""Buckets of distances."""

import numpy as np

from cold_jax.encoders.relative_bias import buckets


def test_buckets() -> None:
    """By hand: 8 exact ones, then log(n / 8) / log(16) · 8 more; 16 on for tokens ahead."""
    distance = np.array([0, -1, -7, -8, -11, -12, -16, -127, -128, -300, 1, 7, 8, 300])
    np.testing.assert_array_equal(buckets(distance, 32, 128), [0, 1, 7, 8, 8, 9, 10, 15, 15, 15, 17, 23, 24, 31])
