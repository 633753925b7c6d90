"""Kernels between items against scikit-learn and by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from test_baselines import train_of

from cold_jax.baselines import blocks
from cold_jax.data import Entities
from cold_jax.parts import Train

TITLES = ("The Red Ball", "the red balloon", "Sea of Love", "")


def items(titles: tuple[str, ...] = TITLES) -> Train:
    """Items of intervals 0, 1, 1, 2; the first two share one genre, the last has none."""
    genre_IF, year_IF = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]), np.eye(3)[[0, 1, 1, 2]]
    train = train_of(np.ones((2, 4)))
    return replace(train, items=Entities(train.items.ids, {"title": titles}, {"genre": genre_IF, "year": year_IF}))


def of(block: str, train: Train | None = None) -> np.ndarray:
    return blocks.kernel(train or items(), {block: 1.0}, "baseline.kernel")


def test_sets_and_intervals_by_hand():
    near, far = np.exp([-0.5, -2.0])
    cross = [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(of("same(genre)"), cross)
    np.testing.assert_allclose(of("shared(genre)"), np.array(cross) / 3)
    order = [[1, near, near, far], [near, 1, 1, near], [near, 1, 1, near], [far, near, near, 1]]
    np.testing.assert_allclose(of("order(year)"), order)
    np.testing.assert_allclose(of("shared(genre) * order(year)"), np.array(cross) / 3 * order)
    np.testing.assert_allclose(
        of("alike(genre)"), [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    )  # the other genres tell of one item
    np.testing.assert_array_equal(of("begins(title)"), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    whole = blocks.kernel(items(), {"own": 2.0, "constant": 0.5}, "k")
    np.testing.assert_array_equal(whole, 2 * np.eye(4) + 0.5)


def test_texts_against_scikit_learn():
    train = items()
    vector_ID = train.item_vectors["line"].astype(float)
    np.testing.assert_allclose(of("text(line)"), cosine_similarity(vector_ID), atol=1e-6)
    np.testing.assert_allclose(of("near(line)"), rbf_kernel(vector_ID, gamma=2), atol=1e-6)
    np.testing.assert_allclose(of("centred(line)"), cosine_similarity(vector_ID - vector_ID.mean(0)), atol=1e-6)
    theirs_IF = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TITLES)
    np.testing.assert_allclose(of("words(title)"), (theirs_IF @ theirs_IF.T).toarray(), atol=1e-6)


BLOCKS = ["text(line)", "near(line)", "centred(line)", "white(line)", "words(title)", "begins(title)"]
BLOCKS += ["shared(genre)", "same(genre)", "alike(genre)", "order(year)", "own", "constant"]


@given(st.dictionaries(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3).map(" * ".join), st.floats(0, 10), min_size=1))
def test_a_formula_is_a_kernel(formula: dict[str, float]):
    kernel_II = blocks.kernel(items(), formula, "baseline.kernel")
    np.testing.assert_allclose(kernel_II, kernel_II.T, atol=1e-6 * (1 + np.abs(kernel_II).max()))
    assert np.linalg.eigvalsh(kernel_II).min() >= -1e-5 * (1 + np.abs(kernel_II).max())


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ({}, r"baseline\.kernel: there is no block"),
        ({"own": -1.0}, r"baseline\.kernel\.own: -1\.0 is below 0"),
        ({"own(line)": 1.0}, r"'own\(line\)' is no block; there are text\(TEXT\)"),
        ({"text(line) * age": 1.0}, r"'age' is no block"),
        ({"order(age)": 1.0}, r"items have no attribute 'age'; they have genre, year"),
        ({"text(plot)": 1.0}, r"the items have no text 'plot'"),
        ({"words(plot)": 1.0}, r"baseline\.kernel: .*'plot'"),
    ],
)
def test_what_is_not_there_is_named(formula: dict[str, float], told: str):
    def make() -> np.ndarray:
        blocks.check(formula, "baseline.kernel")
        return blocks.kernel(items(), formula, "baseline.kernel")

    with pytest.raises(ValueError, match=told):
        make()
