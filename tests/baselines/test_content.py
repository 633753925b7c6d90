"""Neighbours by text against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from fitted import named, scores
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsRegressor

from cold_jax.baselines import gram
from cold_jax.splits.tasks import TrainView


def test_content_mean_orders_by_cosine_with_the_mean(train: TrainView):
    score_UI, vector_ID = scores(named("content_mean"), train), train.item_vectors["line"].astype(float)
    mean_UD = np.stack([vector_ID[train.item_N[train.user_N == u]].mean(0) for u in range(25)])
    np.testing.assert_array_equal(np.argsort(score_UI[:25]), np.argsort(cosine_similarity(mean_UD, vector_ID)))


def test_content_knn_is_a_regression_of_scikit_learn(train: TrainView):
    vector_ID, warm_I = np.abs(train.item_vectors["line"]), train.warm_I  # so that no cosine is below 0
    train = replace(train, item_vectors={"line": vector_ID / np.linalg.norm(vector_ID, axis=1, keepdims=True)})
    score_UI = scores(named("content_knn", neighbours=14), train)
    knn = KNeighborsRegressor(14, weights=lambda distance: 1 - distance, metric="cosine", algorithm="brute")
    knn.fit(vector_ID[warm_I], train.interaction_UI.toarray()[:25, warm_I].T)
    np.testing.assert_allclose(score_UI[:25, ~warm_I], knn.predict(vector_ID[~warm_I]).T, rtol=1e-4)  # float32 cosines


def test_profile_knn_is_a_regression_of_scikit_learn(train: TrainView):
    vector_UD, warm_U = np.abs(train.user_vectors["profile"]), train.warm_U
    train = replace(train, user_vectors={"profile": vector_UD / np.linalg.norm(vector_UD, axis=1, keepdims=True)})
    knn = KNeighborsRegressor(4, weights=lambda distance: 1 - distance, metric="cosine", algorithm="brute")
    knn.fit(vector_UD[warm_U], train.interaction_UI.toarray()[warm_U])
    score_UI = scores(named("profile_knn", neighbours=4), train)
    np.testing.assert_allclose(score_UI[~warm_U], knn.predict(vector_UD[~warm_U]), rtol=1e-4)


def test_candidates_are_compared_in_blocks(train: TrainView, monkeypatch: pytest.MonkeyPatch):
    whole_UI = scores(named("content_knn", neighbours=3), train)
    monkeypatch.setattr(gram, "BLOCK", 3 * len(train.items))
    np.testing.assert_allclose(scores(named("content_knn", neighbours=3), train), whole_UI, rtol=1e-6)
