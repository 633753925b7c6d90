"""TF-IDF against scikit-learn, BM25 against its formula."""

import re
from dataclasses import replace

import numpy as np
import pytest
import small
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from cold_jax.baselines.lexical import Bm25, Tfidf
from cold_jax.data.dataset import Entities
from cold_jax.errors import DataError
from cold_jax.splits.tasks import TrainView

TEXTS = ("Red nail polish", "Soap, red and red", "polish for nails", "of it")
SHOWN_UI = sparse.csr_array(np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0.0]]))


@pytest.fixture
def train() -> TrainView:
    train = small.make_train([[0.0]] * 4, [[0]] * 4)
    return replace(train, items=Entities(train.items.ids, {"line": TEXTS}, {}))


def test_tfidf_is_scikit_learns(train: TrainView) -> None:
    word_IF = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TEXTS)
    score_UI = Tfidf(text="line")(train, {})(np.arange(3), SHOWN_UI, np.array([0, 2, 3]))
    np.testing.assert_allclose(score_UI[:2], (SHOWN_UI[:2] @ word_IF @ word_IF.T).toarray()[:, [0, 2, 3]], atol=1e-6)
    np.testing.assert_array_equal(score_UI[2], [2, 0, 0])  # counts, where nothing is shown


def test_bm25_is_its_formula(train: TrainView) -> None:
    """Σ_w n_w log(1 + (N − df + ½) / (df + ½)) tf / (tf + k1 (1 − b + b |d| / mean)), n_w the word's count among the shown texts' words."""
    k1, b, words = 1.2, 0.6, [re.findall(r"\w\w+", text.lower()) for text in TEXTS]
    mean = np.mean([len(own) for own in words])

    def value(word: str, document: list[str]) -> float:
        df, tf = sum(word in own for own in words), document.count(word)
        return np.log(1 + (4 - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * len(document) / mean))

    expected = [[sum(value(word, document) for i in shown for word in words[i]) for document in words] for shown in ([0], [0, 1])]
    score_UI = Bm25(text="line", k1=k1, b=b)(train, {})(np.arange(3), SHOWN_UI, np.arange(4))
    np.testing.assert_allclose(score_UI[:2], expected, rtol=1e-5)
    np.testing.assert_array_equal(score_UI[2], [2, 1, 0, 0])


@pytest.mark.parametrize("baseline", [Tfidf("plot"), Bm25("plot", 1.5, 0.75)])
def test_a_text_that_is_not_there_is_named(train: TrainView, baseline: Tfidf | Bm25) -> None:
    with pytest.raises(DataError, match="no text 'plot'; they have line"):
        baseline(train, {})
