"""TF-IDF against scikit-learn's; whitening by what must hold of it."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from cold_jax.text import similarity

TEXTS = [
    "OPI Nail Lacquer, nail polish 0.5 oz",
    "opi nail polish",
    "",
    "Sunflowers by Elizabeth Arden, eau de toilette 3.3 oz",
    "a b",
    "Nail polish: crème brûlée",
]


def test_tfidf_is_scikit_learns() -> None:
    for least in (1, 2):
        made = similarity.tfidf(map(similarity.with_pairs, map(similarity.words, TEXTS)), least)
        theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=least)
        np.testing.assert_allclose(made.toarray(), theirs.fit_transform(TEXTS).toarray(), atol=1e-6)
        assert made.dtype == np.float32


def test_whitened_directions_count_alike() -> None:
    draw = np.random.default_rng(0)
    vector_ND = draw.normal(0, 1, (500, 4)) * [1, 2, 0.5, 0.01] @ draw.normal(0, 1, (4, 4)) + 3
    white_ND = similarity.whitened(vector_ND, 0.0)
    np.testing.assert_allclose(np.linalg.norm(white_ND, axis=1), 1)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(white_ND.T @ white_ND / 500), 1 / 4, atol=0.03
    )  # of unit vectors in 4 dimensions
    # a Mahalanobis cosine, by solving instead of by eigenvectors
    centred_ND = vector_ND - vector_ND.mean(0)
    gram_NN = centred_ND @ np.linalg.solve(centred_ND.T @ centred_ND / 500, centred_ND.T)
    length_N = np.sqrt(np.diag(gram_NN))
    np.testing.assert_allclose(white_ND @ white_ND.T, gram_NN / np.outer(length_N, length_N), atol=1e-8)


def test_a_floor_keeps_directions_of_next_to_no_variance_small() -> None:
    vector_ND = np.random.default_rng(0).normal(0, 1, (200, 2)) * [1, 1e-4]
    white_ND = similarity.whitened(vector_ND, 0.01)
    assert np.abs(np.sort(np.abs(white_ND), 1)[:, 0]).max() < 0.1
