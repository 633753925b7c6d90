"""Users by how much their target's title shares with their history's."""

import runpy
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from cold_jax.splits.tasks import EvalTask, TaskKind

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "lexical_overlap.py"


def test_the_overlap_is_that_of_the_nearest_title_of_the_history() -> None:
    titles = ["steel bolt", "steel bolt", "brass screw", "paper cup", "steel screw"]
    none = np.empty(0, np.int64)
    history_UI = sparse.csr_array(np.array([[1, 0, 0, 2, 0], [0, 0, 0, 1, 0], [0, 0, 1, 2, 0]]))
    target_UI = sparse.csr_array(np.array([[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]], np.float32))
    task = EvalTask("all", TaskKind.next, np.arange(3), history_UI, target_UI, np.arange(5), none, none, none.astype(np.float32))
    own_U = runpy.run_path(str(SCRIPT))["overlap"](task, titles)
    word_IF = TfidfVectorizer(ngram_range=(1, 2)).fit_transform(titles)  # another weighting, the same order
    cosine_II = (word_IF @ word_IF.T).toarray()
    np.testing.assert_allclose(own_U[:2], [1, 0], atol=1e-6)
    assert cosine_II[2, 4] > cosine_II[3, 4] == 0
    assert 0 < own_U[2] < 1
