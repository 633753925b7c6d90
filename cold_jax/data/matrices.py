"""Interactions as ordered rows and sparse matrices, and rows of unit length."""

import numpy as np
from scipy import sparse


def order(user_N: np.ndarray, time_N: np.ndarray) -> np.ndarray:
    """The place, from 0, of each interaction among its user's by (time, row in the source)."""
    sorted_N = np.lexsort((time_N, user_N))
    position_N = np.empty(len(user_N), np.int64)
    position_N[sorted_N] = np.arange(len(user_N)) - np.searchsorted(user_N, user_N[sorted_N], sorter=sorted_N)
    return position_N


def binary(user_N: np.ndarray, item_N: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """1 where a pair occurs, however often; column indices ascend."""
    pair_UI = sparse.csr_array((np.ones(len(user_N), np.float32), (user_N, item_N)), shape=shape)
    pair_UI.sum_duplicates()
    pair_UI.data[:] = 1
    return pair_UI


def binarize(history_UI: sparse.csr_array) -> sparse.csr_array:
    """1 for what is shown, whatever its place."""
    return sparse.csr_array((np.ones_like(history_UI.data), history_UI.indices, history_UI.indptr), shape=history_UI.shape)


def first_seen(of_N: np.ndarray, time_N: np.ndarray) -> np.ndarray:
    """The first time of each entity up to the last one that occurs; infinity where one never does."""
    first_X = np.full(of_N.max(initial=-1) + 1, np.inf)
    np.minimum.at(first_X, of_N, time_N)
    return first_X


def normalize_rows(row_NF: np.ndarray) -> np.ndarray:
    """Rows of unit length; rows of zeros stay."""
    norm_N = np.linalg.norm(row_NF, axis=1, keepdims=True)
    return row_NF / np.where(norm_N > 0, norm_N, 1)
