"""Similarity of texts without training: TF-IDF of their words, and whitened vectors."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import eigh


def words(text: str) -> list[str]:
    """Runs of two or more letters, digits or underscores, in lower case."""
    return re.findall(r"\w\w+", text.lower())


def with_pairs(word_L: Sequence[str]) -> list[str]:
    """Words, and pairs of neighbours."""
    return [*word_L, *map(" ".join, pairwise(word_L))]


def tfidf(terms: Iterable[Sequence[str]], least: int = 1) -> sparse.csr_array:
    """Rows of unit length, or of zeros: (1 + log tf) · (log((1 + n) / (1 + df)) + 1) of each document's terms (Salton & Buckley 1988,
    smoothed), columns in the order of the terms. Terms of fewer than `least` documents are left out.
    """
    counts = [dict(zip(*np.unique(list(own), return_counts=True), strict=True)) if own else {} for own in terms]
    frequency: dict[str, int] = {}
    for own in counts:
        for term in own:
            frequency[term] = frequency.get(term, 0) + 1
    kept = sorted(term for term, df in frequency.items() if df >= least)
    column = {term: n for n, term in enumerate(kept)}
    entries = [(row, column[term], tf) for row, own in enumerate(counts) for term, tf in own.items() if term in column]
    row_N, column_N, tf_N = np.array(entries, np.int64).reshape(-1, 3).T
    idf_F = np.log((1 + len(counts)) / (1 + np.array([frequency[term] for term in kept]))) + 1
    value_N = (1 + np.log(tf_N)) * idf_F[column_N]
    return unit_rows(sparse.csr_array((value_N.astype(np.float32), (row_N, column_N)), shape=(len(counts), len(kept))))


def of_words(texts: Iterable[str], least: int = 1) -> sparse.csr_array:
    """`tfidf` of the texts' words and pairs of words, of shape (texts, F)."""
    return tfidf(map(with_pairs, map(words, texts)), least)


def unit_rows(value_NF: sparse.csr_array) -> sparse.csr_array:
    """Rows divided by their Euclidean length; rows of zeros stay."""
    norm_N = np.sqrt(value_NF.power(2).sum(1))
    return sparse.csr_array(value_NF.multiply(1 / np.where(norm_N > 0, norm_N, 1)[:, None]))


def whitening(vector_ND: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """(mean_D, map_DD): to the principal axes, each over the root of its variance + `floor` (Su et al. 2021, arXiv 2103.15316)."""
    vector_ND = vector_ND.astype(np.float64)
    mean_D = vector_ND.mean(0)
    variance_D, axis_DD = eigh((vector_ND - mean_D).T @ (vector_ND - mean_D) / len(vector_ND))
    return mean_D, axis_DD / np.sqrt(np.maximum(variance_D, 0) + floor)


def unit(vector_ND: Any) -> Any:
    """Rows, of NumPy or JAX, over their Euclidean length; a row of zeros stays, and has a gradient."""
    return vector_ND / ((vector_ND**2).sum(1) + 1e-12)[:, None] ** 0.5


def whitened(vector_ND: np.ndarray, floor: float) -> np.ndarray:
    """Unit vectors after whitening."""
    mean_D, map_DD = whitening(vector_ND, floor)
    return unit((vector_ND - mean_D) @ map_DD)
