"""Scores against numbers worked by hand and NumPy; what a cold item and a user are made of; the reference's features."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from flax import nnx
from sklearn.preprocessing import normalize
from small import FULL, LORA, TWO_TOWER, Frozen, LinearModel, Lora, Lstm, make_train

from cold_jax import experiment
from cold_jax.models.base import (
    attribute_features,
    encode_texts,
    log_popularity,
    score_candidates,
    score_pairs,
    tower_features,
)
from cold_jax.text.packing import Rows
from cold_jax.training.objectives import BceRatings, Bpr
from cold_jax.training.parallel import Collectives

score, features = jax.jit(score_candidates), jax.jit(tower_features)
items = jax.jit(lambda model, vector_JD, item_J: model.items(vector_JD, item_J))


def test_features_are_the_references(prepared: experiment.Prepared):
    """Rows [E, G/2, D/2] scaled to unit length, then a constant 0.3."""
    q = prepared
    vector_ID = next(iter(q.train.item_vectors.values()))
    indicators = [0.5 * block for block in q.train.items.indicators.values()]
    assert len(indicators) == 2
    expected = np.concatenate([normalize(np.concatenate([vector_ID, *indicators], 1)), np.full((30, 1), 0.3)], 1)
    np.testing.assert_allclose(features(vector_ID, attribute_features(q.train)), expected, atol=1e-6)


def test_features_of_nothing_have_a_gradient():
    zero_JD = jnp.zeros((2, 3))
    value, pull = jax.vjp(lambda x_JD: features(x_JD, jnp.zeros((2, 0))), zero_JD)
    np.testing.assert_allclose(value, [[0, 0, 0, 0.3]] * 2)
    assert np.isfinite(pull(jnp.ones((2, 4)))[0]).all()


def test_log_popularity():
    """Of 3 interactions items 0, 1, 2 have 2, 1, 0; half a one more each."""
    expected = np.log([2.5 / 4.5, 1.5 / 4.5, 0.5 / 4.5])
    np.testing.assert_allclose(log_popularity(make_train([[1], [-1], [1]], [[]] * 3)), expected, rtol=1e-6)


def test_pairs_are_entries_of_the_scores(prepared: experiment.Prepared):
    le = small.perturbed(small.train_setup(prepared, Frozen(), TWO_TOWER))
    batch, model = le.batches(0), le.partition.model()
    encoded = model.encoder(batch.rows)
    score_BJ = np.asarray(score(model, encoded, batch.examples, batch.items))
    pair_B = jax.jit(score_pairs)(model, encoded, batch.examples, batch.items)
    np.testing.assert_allclose(pair_B, score_BJ[np.arange(len(score_BJ)), batch.examples.target_B], rtol=1e-6)


SOME_DROPOUT = Lora(
    lr_scale=1.0, layers="all", rank=2, alpha=4.0, dropout=0.5, rslora=False, dora=False, targets=[".*"], init_from=None
)
MODELS = [(TWO_TOWER, small.SOFTMAX), (LinearModel(), Bpr()), (Lstm(width=3), BceRatings(threshold=4.0))]


@pytest.mark.parametrize(
    ("adapter", "of"),
    [(FULL, 0), (SOME_DROPOUT, 0), (Frozen(), 0), (SOME_DROPOUT, 1), (Frozen(), 1), (SOME_DROPOUT, 2), (Frozen(), 2)],
)
def test_types_are_promoted_nowhere(prepared: experiment.Prepared, adapter: Any, of: int):
    """In a whole step: loss, gradient, update."""
    model, objective = MODELS[of]
    le = small.train_setup(prepared, adapter, model)
    step, state = small.step_of(le, objective, small.optax.sgd(0.1))
    collectives = Collectives(gather=lambda x: x, psum=lambda tree: tree, rows=1)
    with jax.numpy_dtype_promotion("strict"):
        after, record = jax.eval_shape(lambda *parts: step(*parts, collectives), le.partition.frozen, state, le.batches(0))
    assert {leaf.dtype for leaf in jax.tree.leaves((after.trainable, record["loss"]))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("model", "objective"), MODELS)
@pytest.mark.parametrize("adapter", [FULL, LORA, Frozen()])
def test_every_leaf_is_trained_or_frozen(prepared: experiment.Prepared, adapter: Any, model: Any, objective: Any):
    partition = small.train_setup(prepared, adapter, model).partition
    trains, stays = set(small.leaves(partition.trainable)), set(small.leaves(partition.frozen))
    assert trains & stays == set()
    assert trains | stays == set(small.leaves(nnx.state(partition.model())))
    of_encoder = {name for name in trains if "encoder" in name}
    assert trains - of_encoder == {
        name for name in small.leaves(nnx.state(partition.model(), nnx.Param)) if "encoder" not in name
    }
    if isinstance(adapter, Frozen):
        assert not of_encoder
    elif isinstance(adapter, Lora):
        assert of_encoder == {
            f"['encoder']['backbone']['layers']['attention']['{linear}']['{matrix}'].value"
            for linear in ("query", "value")
            for matrix in ("A", "B")
        }
    else:
        assert not {name for name in stays if "encoder" in name}


def test_neither_slices_nor_places_change_a_text(prepared: experiment.Prepared):
    """By twos, all at once, or elsewhere: the last row first, its texts in other slots and further on. Noise is of (key, text, place)."""
    le = small.perturbed(small.train_setup(prepared, small.DROPOUT, TWO_TOWER))
    rows, model = le.batches(0).rows, le.partition.model()
    count, key = len(rows.token_RL), jax.random.key(0)
    encode = jax.jit(encode_texts, static_argnums=2)
    by_two, at_once = (encode(model, rows, size, key) for size in (2, count))
    assert count > 2
    np.testing.assert_allclose(by_two, at_once, atol=1e-5)
    for size in (count - 1, 3 * count):  # which does not divide them, and which they do not fill
        np.testing.assert_allclose(encode(model, rows, size, key), at_once, atol=1e-5)
    segment_RL = np.where(rows.segment_RL > 0, small.ENCODER.texts_per_row + 1 - rows.segment_RL, 0).astype(np.int32)
    elsewhere = Rows(*(np.roll(x_RL[::-1], 5, axis=1) for x_RL in rows._replace(segment_RL=segment_RL)))
    vector_RSD = np.asarray(encode(model, elsewhere, 2, key)).reshape(count, small.ENCODER.texts_per_row, -1)
    np.testing.assert_allclose(vector_RSD[::-1, ::-1].reshape(by_two.shape), by_two, atol=1e-5)
    assert np.abs(encode(model, rows, 2, jax.random.key(1)) - by_two).max() > 1e-2
