"""A trained model asked: the same scores as the training step's own, whatever the chunks, and given rows."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import small
from scipy import sparse
from small import TWO_TOWER, Frozen, LinearModel, Lstm, replace

from cold_jax import experiment
from cold_jax.batching.batch import table_rows
from cold_jax.batching.sampled import InBatchSampling
from cold_jax.evaluation.evaluate import PointwiseScorer
from cold_jax.models import scoring
from cold_jax.models.base import score_candidates
from cold_jax.models.lstm import LstmModule
from cold_jax.models.scoring import ModelScorer

ALL_SHOWN = InBatchSampling(size=8, support=[], history=None, negatives=0, full_softmax=True, group_by_item=False, **small.PLAIN)
score = jax.jit(score_candidates)


@pytest.mark.parametrize("model", [TWO_TOWER, LinearModel()])
def test_a_scorer_scores_as_the_step_does(prepared: experiment.Prepared, model: Any) -> None:
    """Warm candidates in any order, for users who show what an example showed."""
    le = small.perturbed(small.train_setup(prepared, Frozen(), model, ALL_SHOWN))
    batch, model = le.batches(0), le.partition.model()
    expected_BJ = score(model, model.encoder(batch.rows), batch.examples, batch.items)
    history_UI = np.zeros((8, 30), np.float32)
    history_UI[:, batch.items.item_J] = batch.examples.history_BJ
    assert len(set(history_UI.sum(1))) > 1
    by_J = np.random.default_rng(0).permutation(len(batch.items.item_J))[:-2]
    got_BJ = le.scorer(le.partition.trainable)(batch.examples.user_B, sparse.csr_array(history_UI), batch.items.item_J[by_J])
    np.testing.assert_allclose(got_BJ, np.asarray(expected_BJ)[:, by_J], atol=2e-6)


def test_a_scorer_reads_the_order_as_the_step_does(prepared: experiment.Prepared) -> None:
    le = small.perturbed(small.train_setup(prepared, Frozen(), small.METRIC, small.PREFIXES))
    batch, model = le.batches(0), le.partition.model()
    expected_BJ = np.asarray(score(model, model.encoder(batch.rows), batch.examples, batch.items))
    position_UI = np.zeros((45, 30), np.float32)
    assert batch.examples.recent_BK is not None
    for b, recent_K in enumerate(batch.examples.recent_BK):
        position_UI[b, np.flatnonzero(batch.examples.seen_BJ[b])] = 4  # further back than the model reads
        for k, item in enumerate(recent_K):
            position_UI[b, item] = k + 1 if item >= 0 else position_UI[b, item]
    by_J = np.random.default_rng(0).permutation(30)[:-2]
    asked = batch.examples.user_B, sparse.csr_array(position_UI), by_J
    np.testing.assert_allclose(le.scorer(le.partition.trainable)(*asked), expected_BJ[:, by_J], atol=5e-6)


def test_a_scorer_scores_with_the_leaves_that_it_is_given(prepared: experiment.Prepared) -> None:
    le = small.train_setup(prepared, Frozen(), TWO_TOWER)
    asked = np.arange(5), prepared.train.interaction_UI[:5], np.arange(30)
    before = np.asarray(le.scorer(le.partition.trainable)(*asked))
    perturbed = np.asarray(le.scorer(small.perturbed(le).partition.trainable)(*asked))
    assert np.abs(perturbed - before).min() > 0
    np.testing.assert_array_equal(le.scorer(le.partition.trainable)(*asked), before)
    assert not isinstance(le.scorer(le.partition.trainable), PointwiseScorer)


def test_cold_items_and_users_have_nothing_of_their_own(prepared: experiment.Prepared) -> None:
    """Rows of their own change the scores of warm candidates alone; a user's score is of profile text and support, not of an id."""
    q = prepared
    cold_I, asked_U = np.flatnonzero(~q.train.warm_I), np.array([3, 11])
    main = next(iter(q.train.user_vectors))
    profile_UD = q.train.user_vectors[main].copy()
    profile_UD[11] = profile_UD[3]
    q = q._replace(train=replace(q.train, user_vectors={main: profile_UD}))
    le = small.perturbed(small.train_setup(q, Frozen(), TWO_TOWER))
    history_UI = sparse.csr_array(np.eye(30, dtype=np.float32)[[cold_I[0], cold_I[0]]])  # both show one cold item
    asked = asked_U, history_UI, np.arange(30)
    before = np.asarray(le.scorer(le.partition.trainable)(*asked))
    np.testing.assert_array_equal(before[0], before[1])
    other = jax.tree_util.tree_map_with_path(
        lambda path, x: x + 100 if "['item_" in jax.tree_util.keystr(path) else x, le.partition.trainable
    )
    after = np.asarray(le.scorer(other)(*asked))
    np.testing.assert_array_equal(after[:, cold_I], before[:, cold_I])
    assert np.abs(after - before)[:, q.train.warm_I].min() > 1


def test_chunks_change_nothing(prepared: experiment.Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are encoded so many at once: of 70 the last chunk is not full."""
    asked = np.arange(3), prepared.train.interaction_UI[:3], np.array([4, 29, 0, 7, 12])
    le = small.perturbed(small.train_setup(prepared, Frozen(), TWO_TOWER))
    whole_UI = le.scorer(le.partition.trainable)(*asked)
    monkeypatch.setattr(scoring, "TEXTS_AT_ONCE", 16)
    many = ModelScorer(le.partition, table_rows, prepared.tokens.length_T, 40, small.ROWS_AT_ONCE)
    assert len(many.placed) == 5
    np.testing.assert_allclose(many(le.partition.trainable)(*asked), whole_UI, atol=1e-6)


def test_an_lstm_scores_pair_by_pair(prepared: experiment.Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """All candidates of a user, and given rows: the logit of the two texts. Of twelve pairs, eight at once, the last four fill no chunk."""
    monkeypatch.setattr(scoring, "PAIRS_AT_ONCE", 8)
    le = small.remembering(small.train_setup(prepared, Frozen(), Lstm(width=3)))
    user_U, item_I, users = np.array([5, 2, 30]), np.array([8, 1, 29, 17]), 40
    model, length_T = le.partition.model(), prepared.tokens.length_T
    state_TLD = model.encoder.states(np.arange(70))
    first, second = (text_N.ravel() for text_N in np.meshgrid(user_U, users + item_I, indexing="ij"))
    pairs = jax.jit(LstmModule.pairs)
    expected_UI = np.asarray(pairs(model, state_TLD, first, length_T[first], second, length_T[second])).reshape(3, 4)
    assert min(expected_UI.std(0).min(), expected_UI.std(1).min()) > 2e-5  # both texts matter, twenty times the tolerance
    scorer = le.scorer(le.partition.trainable)
    got_UI = scorer(user_U, prepared.train.interaction_UI[user_U], item_I)
    np.testing.assert_allclose(got_UI, expected_UI, atol=1e-6)
    rows: Any = SimpleNamespace(user_N=user_U[[2, 0, 0]], item_N=item_I[[3, 1, 1]])
    assert isinstance(scorer, PointwiseScorer)
    np.testing.assert_allclose(scorer.rows(rows), expected_UI[[2, 0, 0], [3, 1, 1]], atol=1e-6)
