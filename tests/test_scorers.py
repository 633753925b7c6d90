"""A trained model asked: the same scores as the training step's own, for whole catalogues and given rows."""

import numpy as np
import small
from scipy import sparse

from cold_jax import build, models
from cold_jax.adapters import Frozen
from cold_jax.models import Lstm
from cold_jax.parts import Part, Task


def test_a_scorer_scores_as_the_step_does(question: build.Question) -> None:
    le = small.stirred(small.learner(question, small.LORA, small.TWO_TOWER))
    batch = le.batches(0)
    model = le.partition.model()
    score_BJ = np.asarray(models.score(model, models.encode(model, batch.rows, small.ROWS_AT_ONCE), batch.examples, batch.items))
    scorer = le.scorer(le.partition.trainable)
    item_J = batch.items.item_J[batch.items.valid_J]
    for b in range(3):
        shown_UI = np.zeros((1, len(question.train.items)), np.float32)
        shown_UI[0, item_J] = batch.examples.shown_BJ[b, : len(item_J)]
        whole = scorer(batch.examples.user_B[b : b + 1], sparse.csr_array(shown_UI), item_J)
        np.testing.assert_allclose(np.asarray(whole)[0], score_BJ[b, : len(item_J)], atol=2e-5)  # other packing, other sums


def test_given_rows_are_entries_of_what_the_lstm_scores(question: build.Question) -> None:
    le = small.stirred(small.learner(question, Frozen(), Lstm(width=5)))
    asked = question.split.test["cold"]
    whole_UI = le.scorer(le.partition.trainable)(asked.user_U[:3], asked.shown_UI[:3], asked.candidate_I)
    rows_N = np.array([0, 2, 1]), np.array([1, 0, 2])
    given = (asked.user_U[rows_N[0]], asked.candidate_I[rows_N[1]], np.ones(3, np.float32))
    part = Part("all", Task.rows, asked.user_U, asked.shown_UI, asked.positive_UI, asked.candidate_I, *given)
    of_rows = le.scorer.of_rows(le.partition.trainable)
    assert of_rows is not None
    np.testing.assert_allclose(of_rows(part), np.asarray(whole_UI)[rows_N], atol=1e-6)
