"""Nearest neighbours by cosine."""

import numpy as np


def nearest_weights(vector_ND: np.ndarray, row_B: np.ndarray, among_N: np.ndarray, neighbours: int) -> np.ndarray:
    """Cosines of rows with their nearest others among the True ones, divided by their sum, else 0; of shape (B, N)."""
    weight_BN = np.maximum(vector_ND[row_B] @ vector_ND.T, 0) * among_N
    weight_BN[np.arange(len(row_B)), row_B] = 0
    return top_weights(weight_BN, neighbours)


def top_weights(weight_BN: np.ndarray, count: int) -> np.ndarray:
    """The largest of each row, divided by their sum; the others are 0."""
    weight_BN = weight_BN * (weight_BN >= _kth_largest(weight_BN, count))
    return weight_BN / np.maximum(weight_BN.sum(1, keepdims=True), 1e-12)


def _kth_largest(value_BN: np.ndarray, count: int) -> np.ndarray:
    """The count-th largest value of each row."""
    place = max(value_BN.shape[1] - count, 0)
    return np.partition(value_BN, place, 1)[:, place : place + 1]
