"""Scores against numbers worked by hand and NumPy; what a cold item and a user are made of; the reference's features."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from flax import nnx
from sklearn.preprocessing import normalize
from small import FULL, LORA, TWO_TOWER, Frozen, LinearModel, Lora, Lstm, TwoTower, make_train

from cold_jax import build
from cold_jax.batching.batch import Examples, Items
from cold_jax.encoders.precomputed import VectorTable
from cold_jax.models.base import (
    TowerInit,
    attribute_features,
    encode_texts,
    log_popularity,
    score_candidates,
    score_pairs,
    tower_features,
)
from cold_jax.models.lstm import LstmModule
from cold_jax.models.two_tower import TwoTowerModule
from cold_jax.text.packing import Rows
from cold_jax.training.objectives import BceRatings, Bpr
from cold_jax.training.parallel import Collectives

score, features = jax.jit(score_candidates), jax.jit(tower_features)
items = jax.jit(lambda model, vector_JD, item_J: model.items(vector_JD, item_J))


def step_of(history_BJ: list[list[float]], users: int = 2) -> tuple[Examples, Items]:
    """All items for each user, whose texts stand before those of the items."""
    history_BJ = np.asarray(history_BJ, np.float32)
    B, J = history_BJ.shape
    user_B, item_J = np.arange(B, dtype=np.int32), np.arange(J, dtype=np.int32)
    one_B, one_J = np.ones(B, np.int32), np.ones(J, np.int32)
    examples = Examples(user_B, user_B, one_B, 0 * one_B, history_BJ, history_BJ > 0, np.float32(one_B), np.float32(one_B))
    return examples, Items(item_J, item_J + users, one_J, one_J > 0, np.zeros(J, np.float32))


# One dimension. Users' vectors 1 and 1, items' 1, -1 and 1, no attributes: features [e, 0.3]. Item 2 is cold.
VECTOR_TD = np.array([[1], [1], [1], [-1], [1]], np.float32)
SHOWN_BJ = [[0.0, 0.0, 0.0], [1.0, 3.0, 0.0]]


def towers(own: bool) -> TwoTowerModule:
    train = make_train([[1], [-1], [1]], [[]] * 3)
    start = TowerInit(
        source_IV=np.array([[3], [-2], [900]], np.float32),  # 1 and 0 above e·2
        target_IV=np.array([[5], [2], [900]], np.float32),  # 1 and 0 above e + 3
        bias_I=np.array([0.9, -0.2, 900], np.float32),  # 0.1 and 0 above e/2 + 0.3
        source_FV=np.array([[2], [0]], np.float32),
        target_FV=np.array([[1], [10]], np.float32),
        bias_F=np.array([0.5, 1], np.float32),
        profile_DV=np.array([[3]], np.float32),
        user_bias_U=np.array([0.5, -0.25], np.float32),
    )
    model = TwoTower(width=1, item_target_residual=own, item_source_residual=own, item_bias=own, user_bias=own, attributes=True)(
        VectorTable(VECTOR_TD), train, start, 0
    )
    model.user_V[...] = jnp.ones(1)
    model.log_scale[...] = jnp.log(2.0)
    return model


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        # s = 2, -2, 2; v = 4, 2, 4; b = 0.8, -0.2, 0.8; u = 3 + 1 = 4, and 4 + (2 - 3·2)/√4 = 2
        (False, [[2 * 4 * 4 + 0.8, 2 * 4 * 2 - 0.2, 2 * 4 * 4 + 0.8], [2 * 2 * 4 + 0.8, 2 * 2 * 2 - 0.2, 2 * 2 * 4 + 0.8]]),
        # s = 3, -2; v = 5, 2; b = 0.9, -0.2, the cold item's as before; u = 4, and 4 + (3 - 3·2)/√4 = 2.5
        (True, [[2 * 4 * 5 + 0.9, 2 * 4 * 2 - 0.2, 2 * 4 * 4 + 0.8], [2 * 2.5 * 5 + 0.9, 2 * 2.5 * 2 - 0.2, 2 * 2.5 * 4 + 0.8]]),
    ],
)
def test_two_tower_by_hand(own: bool, expected: list[list[float]]):
    level_B1 = own * np.array([[0.5], [-0.25]])
    np.testing.assert_allclose(score(towers(own), jnp.asarray(VECTOR_TD), *step_of(SHOWN_BJ)), level_B1 + expected, rtol=1e-5)


def test_only_a_warm_user_has_a_level():
    """Neither a cold one has, nor one more than there were."""
    train = make_train([[1], [-1], [1]], [[]] * 3)
    train = dataclasses.replace(train, warm_U=np.array([False, True]))
    zero_I = np.zeros((3, 1), np.float32)
    start = TowerInit(
        zero_I, zero_I, zero_I[:, 0], zero_I[:2], zero_I[:2], zero_I[:2, 0], zero_I[:1], np.array([7, 3], np.float32)
    )
    model = TwoTower(1, False, False, False, user_bias=True, attributes=True)(VectorTable(VECTOR_TD), train, start, 0)
    assert model.levels(jnp.array([0, 1, 2, 1])).tolist() == [0, 3, 0, 3]


def test_linear_by_hand():
    """1·profile + 2·mean of the shown + 5·item + 0.25; the mean is (1 - 3) / 4."""
    model = LinearModel()(VectorTable(VECTOR_TD), make_train([[1], [-1], [1]], [[]] * 3), None, 0)
    for name, value in {"profile_D": [1.0], "shown_D": [2.0], "item_D": [5.0], "bias": 0.25}.items():
        getattr(model, name)[...] = jnp.asarray(value)
    expected = [[6.25, -3.75, 6.25], [5.25, -4.75, 5.25]]
    np.testing.assert_allclose(score(model, jnp.asarray(VECTOR_TD), *step_of(SHOWN_BJ)), expected, rtol=1e-6)


def test_two_tower_in_numpy(question: build.Question):
    """The formula at the head of models.py, pair by pair in float64, with random parameters and attributes."""
    le = small.stirred(small.learner(question, Frozen(), TWO_TOWER))
    batch, train = le.batches(0), question.train
    model = le.partition.model()
    got_BJ = score(model, model.encoder(batch.rows), batch.examples, batch.items)
    p = {name: np.float64(value) for name, value in nnx.to_pure_dict(nnx.state(model, nnx.Param)).items() if name != "encoder"}
    vector_ID, profile_UD = (next(iter(v.values())).astype(np.float64) for v in (train.item_vectors, train.user_vectors))
    attribute_IF = np.concatenate([*train.items.indicators.values()], 1) / 2
    feature_IF = np.concatenate([normalize(np.concatenate([vector_ID, attribute_IF], 1)), np.full((30, 1), 0.3)], 1)
    warm_I1 = train.warm_I[:, None]
    source_IV = feature_IF @ p["source_FV"] + warm_I1 * p["item_source_residual_IV"]
    target_IV = feature_IF @ p["target_FV"] + warm_I1 * p["item_target_residual_IV"]
    bias_I = feature_IF @ p["bias_F"] + train.warm_I * p["item_bias_I"]
    for b, user in enumerate(batch.examples.user_B):
        shown = {batch.items.item_J[j]: batch.examples.history_BJ[b, j] for j in np.flatnonzero(batch.examples.history_BJ[b])}
        user_V = profile_UD[user] @ p["profile_DV"] + p["user_V"]
        if shown:
            user_V = user_V + sum(weight * source_IV[j] for j, weight in shown.items()) / np.sqrt(sum(shown.values()))
        item_J = batch.items.item_J[batch.items.valid_J]
        expected_J = np.exp(p["log_scale"]) * target_IV[item_J] @ user_V + bias_I[item_J]
        np.testing.assert_allclose(np.asarray(got_BJ)[b, : len(item_J)], expected_J, rtol=1e-5, atol=1e-5)


def test_a_user_is_profile_and_shown_items(question: build.Question):
    """Two users with one profile text and one support have one score, whoever they are and whatever else they took."""
    le = small.stirred(small.learner(question, Frozen(), TWO_TOWER))
    batch = le.batches(0)
    model = le.partition.model()
    x = batch.examples
    twin = x._replace(
        **{name: np.repeat(getattr(x, name)[:1], len(x.user_B), 0) for name in ("profile_B", "length_B", "history_BJ")}
    )
    score_BJ = np.asarray(score(model, model.encoder(batch.rows), twin, batch.items))
    assert len(set(x.user_B)) > 3
    np.testing.assert_array_equal(score_BJ, score_BJ[:1].repeat(len(score_BJ), 0))
    for name, other in (("profile_B", np.roll(twin.profile_B, 1)), ("history_BJ", x.history_BJ)):
        changed_BJ = score(model, model.encoder(batch.rows), x._replace(**{name: other}), batch.items)
        assert not np.allclose(changed_BJ, score_BJ)


def test_own_rows_are_of_warm_items(question: build.Question):
    """At a closed form's start a warm item has the closed form's rows to rounding, a cold one those that its features say."""
    q, draw = question, np.random.default_rng(0)
    F = attribute_features(q.train).shape[1] + 16 + 1
    start = TowerInit(
        *(draw.normal(size=shape).astype(np.float32) for shape in ((30, 4), (30, 4), 30, (F, 4), (F, 4), F, (16, 4), 60))
    )
    model = TWO_TOWER(VectorTable(next(iter(q.train.item_vectors.values()))), q.train, start, 0)
    vector_ID = model.encoder(jnp.arange(30))
    feature_IF = np.asarray(features(vector_ID, attribute_features(q.train)))
    warm_I = q.train.warm_I
    assert 0 < warm_I.sum() < 30
    before = items(model, vector_ID, np.arange(30))
    mapped = feature_IF @ start.source_FV, feature_IF @ start.target_FV, feature_IF @ start.bias_F
    for got, rows, cold in zip(before, (start.source_IV, start.target_IV, start.bias_I), mapped, strict=True):
        np.testing.assert_allclose(got[warm_I], rows[warm_I], atol=1e-5)
        np.testing.assert_allclose(got[~warm_I], cold[~warm_I], atol=1e-5)
    for name in ("item_source_residual_IV", "item_target_residual_IV", "item_bias_I"):
        getattr(model, name)[...] += 1000.0
    for got, old in zip(items(model, vector_ID, np.arange(30)), before, strict=True):
        np.testing.assert_array_equal(got[~warm_I], old[~warm_I])
        assert np.abs(got[warm_I] - old[warm_I]).min() > 900


def test_features_are_the_references(question: build.Question):
    """Rows [E, G/2, D/2] scaled to unit length, then a constant 0.3."""
    q = question
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


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_lstm_in_numpy():
    """Hochreiter & Schmidhuber's cell with a forget gate, over the profile's tokens, then the item's; what lies beyond a text is garbage."""
    draw = np.random.default_rng(0)
    T, L, D, V = 5, 6, 3, 4
    state_TLD, length_T = draw.normal(size=(T, L, D)).astype(np.float32), np.array([6, 1, 4, 2, 6], np.int32)
    state_TLD[np.arange(L) >= length_T[:, None]] = 1e3
    model = Lstm(width=V)(small.table.States(state_TLD, length_T), make_train([[1], [-1], [1]], [[]] * 3), None, 0)
    for _, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        variable.set_value(jnp.asarray(draw.normal(0, 0.5, variable.shape), jnp.float32))
    profile_B, item_B = np.array([0, 0, 1, 1]), np.array([2, 4, 3, 2])
    got_B = jax.jit(LstmModule.pairs)(model, state_TLD, profile_B, length_T[profile_B], item_B, length_T[item_B])
    cell = model.lstm.cell
    w_DV, w_VV, bias_V = (np.asarray(x[...]) for x in (cell.dense_i.kernel, cell.dense_h.kernel, cell.dense_h.bias))
    for b, (first, second) in enumerate(zip(profile_B, item_B, strict=True)):
        c_V, h_V = np.zeros(V), np.zeros(V)
        for x_D in [*state_TLD[first, : length_T[first]], *state_TLD[second, : length_T[second]]]:
            into, forget, value, out = np.split(x_D @ w_DV + h_V @ w_VV + bias_V, 4)
            c_V = sigmoid(forget) * c_V + sigmoid(into) * np.tanh(value)
            h_V = sigmoid(out) * np.tanh(c_V)
        expected = h_V @ np.asarray(model.dense.kernel[...])[:, 0] + float(model.dense.bias[...][0])
        assert float(got_B[b]) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_pairs_are_entries_of_the_scores(question: build.Question):
    le = small.stirred(small.learner(question, Frozen(), TWO_TOWER))
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
def test_types_are_promoted_nowhere(question: build.Question, adapter: Any, of: int):
    """In a whole step: loss, gradient, update."""
    model, objective = MODELS[of]
    le = small.learner(question, adapter, model)
    step, state = small.step_of(le, objective, small.optax.sgd(0.1))
    across = Collectives(gather=lambda x: x, total=lambda tree: tree, rows=1)
    with jax.numpy_dtype_promotion("strict"):
        after, record = jax.eval_shape(lambda *parts: step(*parts, across), le.partition.frozen, state, le.batches(0))
    assert {leaf.dtype for leaf in jax.tree.leaves((after.trainable, record["loss"]))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("model", "objective"), MODELS)
@pytest.mark.parametrize("adapter", [FULL, LORA, Frozen()])
def test_every_leaf_is_trained_or_frozen(question: build.Question, adapter: Any, model: Any, objective: Any):
    partition = small.learner(question, adapter, model).partition
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


def test_neither_slices_nor_places_change_a_text(question: build.Question):
    """By twos, all at once, or elsewhere: the last row first, its texts in other slots and further on. Noise is of (key, text, place)."""
    le = small.stirred(small.learner(question, small.DROPOUT, TWO_TOWER))
    rows, model = le.batches(0).rows, le.partition.model()
    count, key = len(rows.token_RL), jax.random.key(0)
    encode = jax.jit(encode_texts, static_argnums=2)
    by_two, at_once = (encode(model, rows, size, key) for size in (2, count))
    assert count > 2
    np.testing.assert_allclose(by_two, at_once, atol=1e-5)
    segment_RL = np.where(rows.segment_RL > 0, small.ENCODER.texts_per_row + 1 - rows.segment_RL, 0).astype(np.int32)
    elsewhere = Rows(*(np.roll(x_RL[::-1], 5, axis=1) for x_RL in rows._replace(segment_RL=segment_RL)))
    vector_RSD = np.asarray(encode(model, elsewhere, 2, key)).reshape(count, small.ENCODER.texts_per_row, -1)
    np.testing.assert_allclose(vector_RSD[::-1, ::-1].reshape(by_two.shape), by_two, atol=1e-5)
    assert np.abs(encode(model, rows, 2, jax.random.key(1)) - by_two).max() > 1e-2
