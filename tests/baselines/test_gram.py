"""Gram matrices in blocks, and what a block may hold."""

import numpy as np
import pytest

from cold_jax.baselines import gram


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [2**26, 30 * 7, 1])
def test_a_gram_is_the_product_and_symmetric(dtype: type, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gram, "BLOCK", block)
    x_NF = np.random.default_rng(0).normal(size=(30, 5)).astype(dtype)
    found_NN = gram.gram(x_NF)
    assert found_NN.dtype == dtype
    np.testing.assert_allclose(found_NN, np.einsum("nf,mf->nm", x_NF, x_NF), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found_NN, found_NN.T)
    np.testing.assert_array_equal(gram.gram(x_NF.T.copy().T), gram.gram(x_NF.T.copy().T).T)


def test_blocks_cover_the_rows_in_order_and_hold_so_much(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gram, "BLOCK", 100)
    assert [(own.start, own.stop) for own in gram.row_blocks(10, 30)] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert [(own.start, own.stop) for own in gram.row_blocks(2, 1000)] == [(0, 1), (1, 2)]
    assert list(gram.row_blocks(0, 5)) == []


def test_no_syrk_of_more_than_8192_rows():
    """From about 16,000 rows it crashes in some builds of OpenBLAS."""
    assert max(own.stop - own.start for rows in (8192, 8193, 20_000, 100_000) for own in gram.row_blocks(rows, rows)) <= 8192


@pytest.mark.slow
def test_twenty_thousand_rows_in_double_precision():
    x_NF = np.random.default_rng(0).normal(size=(20_314, 16))
    found_NN = gram.gram(x_NF)
    rows = np.array([0, 9000, 20_313])
    np.testing.assert_allclose(found_NN[rows], x_NF[rows] @ x_NF.T, atol=1e-10)
