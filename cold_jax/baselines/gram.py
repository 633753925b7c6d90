"""Matrices of items × items in blocks of rows."""

from collections.abc import Iterator

import numpy as np

BLOCK = 2**26  # numbers in a block: 512 MB in double precision, and all of up to 8,192 rows and columns


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Consecutive slices of rows, each of at most BLOCK numbers."""
    step = max(BLOCK // max(columns, 1), 1)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def gram(x_NF: np.ndarray) -> np.ndarray:
    """x xᵀ, exactly symmetric, of shape (N, N).

    A product of an array with its own transpose is BLAS's syrk, which in OpenBLAS 0.3.31 with AVX-512 and two threads crashes in double
    precision from about 16,000 rows. So it is called for blocks on the diagonal only; the rest are general products.
    """
    gram_NN = np.empty((len(x_NF), len(x_NF)), x_NF.dtype)
    for own in row_blocks(len(x_NF), len(x_NF)):
        gram_NN[own, own] = x_NF[own] @ x_NF[own].T
        if own.start:
            before = slice(0, own.start)
            gram_NN[own, before] = x_NF[own] @ x_NF[before].T
            gram_NN[before, own] = gram_NN[own, before].T
    return gram_NN
