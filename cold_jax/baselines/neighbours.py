"""Nearest neighbours: by cosine, and of rows of a sparse matrix."""

import numpy as np
from scipy import sparse


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


def largest_entries(weight_NN: sparse.csr_array, count: int) -> sparse.csr_array:
    """The `count` largest entries of each row, and those equal to the last of them; the others are left out."""
    size_N, threshold_N = np.diff(weight_NN.indptr), np.zeros(len(weight_NN.indptr) - 1)
    for row in np.flatnonzero(size_N > count):
        own = weight_NN.data[weight_NN.indptr[row] : weight_NN.indptr[row + 1]]
        threshold_N[row] = np.partition(own, len(own) - count)[len(own) - count]
    kept = weight_NN.data >= np.repeat(threshold_N, size_N)
    offset_N = np.concatenate([[0], np.cumsum(kept)])[weight_NN.indptr]
    return sparse.csr_array((weight_NN.data[kept], weight_NN.indices[kept], offset_N), shape=weight_NN.shape)
