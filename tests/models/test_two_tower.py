"""Scores of the two-tower by hand and by NumPy; what is learned of warm items and users alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from flax import nnx
from sklearn.preprocessing import normalize
from small import TWO_TOWER, Frozen, TwoTower, make_train

from cold_jax import experiment
from cold_jax.encoders.precomputed import VectorTable
from cold_jax.models.base import TowerInit, attribute_features, log_popularity, score_candidates, tower_features
from cold_jax.models.two_tower import TwoTowerModule

score, features = jax.jit(score_candidates), jax.jit(tower_features)
items = jax.jit(lambda model, vector_JD, item_J: model.items(vector_JD, item_J))


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
        VectorTable(small.VECTOR_TD), train, start, 0
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
    np.testing.assert_allclose(
        score(towers(own), jnp.asarray(small.VECTOR_TD), *small.all_items(small.HISTORY_BJ)), level_B1 + expected, rtol=1e-5
    )


def test_only_a_warm_user_has_a_level():
    """Neither a cold one has, nor one more than there were."""
    train = make_train([[1], [-1], [1]], [[]] * 3)
    train = replace(train, warm_U=np.array([False, True]))
    zero_I = np.zeros((3, 1), np.float32)
    start = TowerInit(
        zero_I, zero_I, zero_I[:, 0], zero_I[:2], zero_I[:2], zero_I[:2, 0], zero_I[:1], np.array([7, 3], np.float32)
    )
    model = TwoTower(1, False, False, False, user_bias=True, attributes=True)(VectorTable(small.VECTOR_TD), train, start, 0)
    assert model.user_biases(jnp.array([0, 1, 2, 1])).tolist() == [0, 3, 0, 3]


def test_random_towers_are_independent_draws(prepared: experiment.Prepared) -> None:
    """Source and target, and another seed's, have a standard deviation of 0.02 and no correlation; the bias is log popularity."""
    encoder = VectorTable(next(iter(prepared.train.item_vectors.values())))
    one, other = (replace(TWO_TOWER, width=64)(encoder, prepared.train, None, seed) for seed in (0, 1))
    draws = [np.asarray(tower[...]).ravel() for model in (one, other) for tower in (model.source_FV, model.target_FV)]
    assert np.std(draws, 1) == pytest.approx([0.02] * 4, rel=0.1)  # of 1,600 numbers or more
    assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.1
    again = replace(TWO_TOWER, width=64)(encoder, prepared.train, None, 0)
    np.testing.assert_array_equal(again.source_FV[...], one.source_FV[...])
    source_IV, _, bias_I = items(one, one.encoder(jnp.arange(30)), np.arange(30))
    warm_I = prepared.train.warm_I
    assert np.abs(source_IV[warm_I]).max(1).min() > 0.01  # not at zero, whence no gradient leads
    for residual in (one.item_source_residual_IV, one.item_target_residual_IV):
        np.testing.assert_array_equal(residual[...], 0)
    np.testing.assert_allclose(bias_I[warm_I], log_popularity(prepared.train)[warm_I], rtol=1e-5)
    np.testing.assert_array_equal(bias_I[~warm_I], 0)


def test_two_tower_in_numpy(prepared: experiment.Prepared):
    """The formula at the head of models.py, pair by pair in float64, with random parameters and attributes."""
    le = small.perturbed(small.train_setup(prepared, Frozen(), TWO_TOWER))
    batch, train = le.batches(0), prepared.train
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


def test_a_user_is_profile_and_shown_items(prepared: experiment.Prepared):
    """Two users with one profile text and one support have one score, whoever they are and whatever else they took."""
    le = small.perturbed(small.train_setup(prepared, Frozen(), TWO_TOWER))
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


def test_own_rows_are_of_warm_items(prepared: experiment.Prepared):
    """At a closed form's start a warm item has the closed form's rows to rounding, a cold one those that its features say."""
    q, draw = prepared, np.random.default_rng(0)
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


def test_a_model_to_be_filled_has_the_same_parameters_and_constants(prepared: experiment.Prepared):
    """Zeros where the other has numbers: what a file does not fill is seen at once."""
    encoder = VectorTable(next(iter(prepared.train.item_vectors.values())))
    filled, unfilled = TWO_TOWER(encoder, prepared.train, None, 0), TWO_TOWER.unfilled(encoder, prepared.train, 0)
    (parameters, constants), (zeros, same) = (
        [dict(nnx.to_flat_state(nnx.state(model, kind))) for kind in (nnx.Param, nnx.Not(nnx.Param))]
        for model in (filled, unfilled)
    )
    assert {k: (v.shape, v.dtype) for k, v in zeros.items()} == {k: (v.shape, v.dtype) for k, v in parameters.items()}
    assert not any(np.any(v[...]) for v in zeros.values())
    assert constants.keys() == same.keys() != set()
    for path, constant in constants.items():
        np.testing.assert_array_equal(same[path][...], constant[...])
