"""Ridges against scikit-learn's, and the choice of their settings by folds."""

import numpy as np
from fitted import named, scores
from sklearn.linear_model import Ridge

from cold_jax.baselines.features import feature_matrix
from cold_jax.evaluation.evaluate import validate
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.tasks import TrainView


def test_ridge_text_is_a_ridge_for_each_user(train: TrainView):
    score_UI = scores(named("ridge_text", penalties=[2.0]), train)
    feature_IF = feature_matrix(train, "items", ["line"], 0.0, 0.3)
    ridge = Ridge(2.0, fit_intercept=False).fit(feature_IF[train.warm_I], train.interaction_UI.toarray()[:, train.warm_I].T)
    np.testing.assert_allclose(score_UI[:25], ridge.predict(feature_IF).T[:25], atol=1e-10)


def test_ridge_profile_is_a_ridge_for_each_item(train: TrainView):
    score_UI = scores(named("ridge_profile", penalties=[2.0]), train)
    feature_UF = np.concatenate([train.user_vectors["profile"], np.ones((30, 1))], 1).astype(float)
    ridge = Ridge(2.0, fit_intercept=False).fit(feature_UF[:25], train.interaction_UI.toarray()[:25])
    np.testing.assert_allclose(score_UI, ridge.predict(feature_UF), atol=1e-6)  # unit rows in float32


def test_ridge_svd_maps_cold_items_and_keeps_warm_ones(train: TrainView):
    score_UI = scores(named("ridge_svd", ranks=[4], penalties=[2.0]), train)
    taken_UI, feature_IF = train.interaction_UI.toarray().astype(float), feature_matrix(train, "items", ["line"], 0.5, 0.3)
    left_UV, size_V, _ = np.linalg.svd(taken_UI / np.sqrt(taken_UI.sum(0) + 1), full_matrices=False)
    user_UV = left_UV[:, :4] * size_V[:4]
    target_IV = Ridge(1.0, fit_intercept=False).fit(user_UV, taken_UI).coef_
    mapped_IV = Ridge(2.0, fit_intercept=False).fit(feature_IF[:16], target_IV[:16]).predict(feature_IF)
    np.testing.assert_allclose(score_UI[:25, :16], user_UV[:25] @ target_IV[:16].T, atol=1e-8)
    np.testing.assert_allclose(score_UI[:25, 16:], user_UV[:25] @ mapped_IV[16:].T, atol=1e-8)


def test_folds_choose_without_the_validation_parts(train: TrainView):
    grid = {"ranks": [2, 8], "penalties": [0.1, 3.0, 30.0]}
    score_UI = scores(named("ridge_svd_cv", **grid, metric="ndcg@5", folds=3, seed=4), train, {})
    means = {}
    for rank in grid["ranks"]:
        for penalty in grid["penalties"]:
            single = named("ridge_svd", ranks=[rank], penalties=[penalty])
            tasks = pseudo_cold_folds(train, "items", 3, 4, ())
            means[rank, penalty] = np.mean([validate(single(rest, {}), asked, "ndcg@5")[0] for rest, asked in tasks])
    rank, penalty = max(means, key=means.__getitem__)
    np.testing.assert_allclose(score_UI, scores(named("ridge_svd", ranks=[rank], penalties=[penalty]), train), atol=1e-9)
