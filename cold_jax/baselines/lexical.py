"""Words in common, without training: TF-IDF's cosine, and BM25 (Robertson & Zaragoza 2009, doi 10.1561/1500000019).

A user's query is the texts of their history H_u; documents are the items' texts.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from cold_jax.baselines.base import Baseline, Tasks, history_scorer
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView
from cold_jax.text import similarity

if TYPE_CHECKING:
    import bm25s


@dataclass(frozen=True)
class Tfidf(Baseline):
    """score_ui = Σ_{j in H_u} cos(x_j, x_i), x TF-IDF of an item's words and pairs of words; popularity without a history."""

    text: str

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        word_IF = similarity.of_words(train.items.text(self.text, "baseline.text"))
        return history_scorer(train, lambda history_UI, candidate_I: (history_UI @ word_IF @ word_IF[candidate_I].T).toarray())


@dataclass(frozen=True)
class Bm25(Baseline):
    """score_ui = BM25 of item i's text for the words of the items in H_u, with bm25s; popularity without a history.

    A word counts as often as the query has it. k1, b: how soon a word's count saturates, how much a text's length is held against it.
    """

    text: str
    k1: float
    b: float

    def __post_init__(self) -> None:
        require("baseline", self, at_least_0=["k1", "b"])

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        word_IL = [similarity.words(text) for text in train.items.text(self.text, "baseline.text")]
        index = bm25_index(word_IL, self.k1, self.b)

        def score(history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            history_UN = np.split(history_UI.indices, history_UI.indptr[1:-1])
            queries = [[word for i in own_N for word in word_IL[i]] for own_N in history_UN]
            return np.stack([bm25_scores(index, query, len(word_IL)) for query in queries])[:, candidate_I]

        return history_scorer(train, score)


def bm25_index(word_IL: list[list[str]], k1: float, b: float) -> "bm25s.BM25":
    import bm25s  # 0.1 s, which who asks for no words does without

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # its import sets it to DEBUG
    index = bm25s.BM25(k1=k1, b=b)
    index.index(word_IL, show_progress=False)
    return index


def bm25_scores(index: "bm25s.BM25", query: list[str], documents: int) -> np.ndarray:
    """Of all documents; 0 where no word of the query is known."""
    known = [word for word in query if word in index.vocab_dict]
    return np.asarray(index.get_scores(known), np.float32) if known else np.zeros(documents, np.float32)
