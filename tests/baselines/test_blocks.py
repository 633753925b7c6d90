"""Kernels between items against scikit-learn and by hand."""

from dataclasses import replace

import numpy as np
import pytest
from fitted import train_of
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel

from cold_jax.baselines import blocks, gram
from cold_jax.data.dataset import Entities
from cold_jax.splits.tasks import TrainView

TITLES = ("The Red Ball", "the red balloon", "Sea of Love", "")


def items(titles: tuple[str, ...] = TITLES) -> TrainView:
    """Items of intervals 0, 1, 1, 2; the first two share one genre, the last has none."""
    genre_IF, year_IF = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]), np.eye(3)[[0, 1, 1, 2]]
    train = train_of(np.ones((2, 4)))
    return replace(train, items=Entities(train.items.ids, {"title": titles}, {"genre": genre_IF, "year": year_IF}))


def of(block: str, train: TrainView | None = None) -> np.ndarray:
    return blocks.item_kernel(train or items(), {block: 1.0}, "baseline.kernel")


def test_sets_and_intervals_by_hand():
    near, far = np.exp([-0.5, -2.0])
    cross = [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(of("overlap(genre)"), cross)
    np.testing.assert_allclose(of("overlap3(genre)"), np.array(cross) / 3)
    order = [[1, near, near, far], [near, 1, 1, near], [near, 1, 1, near], [far, near, near, 1]]
    np.testing.assert_allclose(of("ordinal_rbf(year)"), order)
    np.testing.assert_allclose(of("overlap3(genre) * ordinal_rbf(year)"), np.array(cross) / 3 * order)
    np.testing.assert_allclose(
        of("idf_cosine(genre)"), [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    )  # the other genres tell of one item
    np.testing.assert_array_equal(of("same_prefix(title)"), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    whole = blocks.item_kernel(items(), {"identity": 2.0, "constant": 0.5}, "k")
    np.testing.assert_array_equal(whole, 2 * np.eye(4) + 0.5)


def test_texts_against_scikit_learn():
    train = items()
    vector_ID = train.item_vectors["line"].astype(float)
    np.testing.assert_allclose(of("text(line)"), cosine_similarity(vector_ID), atol=1e-6)
    np.testing.assert_allclose(of("rbf(line)"), rbf_kernel(vector_ID, gamma=2), atol=1e-6)
    np.testing.assert_allclose(of("centred(line)"), cosine_similarity(vector_ID - vector_ID.mean(0)), atol=1e-6)
    theirs_IF = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TITLES)
    np.testing.assert_allclose(of("words(title)"), (theirs_IF @ theirs_IF.T).toarray(), atol=1e-6)


BLOCKS = ["text(line)", "rbf(line)", "centred(line)", "white(line)", "words(title)", "same_prefix(title)"]
BLOCKS += ["overlap3(genre)", "overlap(genre)", "idf_cosine(genre)", "ordinal_rbf(year)", "identity", "constant"]


@given(st.dictionaries(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3).map(" * ".join), st.floats(0, 10), min_size=1))
def test_a_formula_is_a_kernel(formula: dict[str, float]):
    kernel_II = blocks.item_kernel(items(), formula, "baseline.kernel")
    np.testing.assert_allclose(kernel_II, kernel_II.T, atol=1e-6 * (1 + np.abs(kernel_II).max()))
    assert np.linalg.eigvalsh(kernel_II).min() >= -1e-5 * (1 + np.abs(kernel_II).max())


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ({}, r"baseline\.kernel: there is no block"),
        ({"identity": -1.0}, r"baseline\.kernel\.identity: -1\.0 is below 0"),
        ({"own(line)": 1.0}, r"'own\(line\)' is no block; there are text\(TEXT\)"),
        ({"text(line) * age": 1.0}, r"'age' is no block"),
        ({"ordinal_rbf(age)": 1.0}, r"items have no attribute 'age'; they have genre, year"),
        ({"text(plot)": 1.0}, r"the items have no text 'plot'"),
        ({"words(plot)": 1.0}, r"baseline\.kernel: .*'plot'"),
    ],
)
def test_what_is_not_there_is_named(formula: dict[str, float], message: str):
    def make() -> np.ndarray:
        blocks.check_formula(formula, "baseline.kernel")
        return blocks.item_kernel(items(), formula, "baseline.kernel")

    with pytest.raises(ValueError, match=message):
        make()


def test_a_kernel_in_blocks_of_rows_is_the_whole(monkeypatch: pytest.MonkeyPatch):
    formula = {f"{one} * {other}": 0.5 for one in BLOCKS for other in BLOCKS[:3]}
    whole_II = blocks.item_kernel(items(), formula, "baseline.kernel")
    monkeypatch.setattr(gram, "BLOCK", 12)  # three rows of four
    np.testing.assert_allclose(blocks.item_kernel(items(), formula, "baseline.kernel"), whole_II, rtol=1e-6, atol=1e-9)
