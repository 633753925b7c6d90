# ruff: noqa: F811
"""The algebra of the closed forms against scikit-learn, NumPy and small cases by hand."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity
from test_base import named, train, train_of  # noqa: F401

from cold_jax.baselines import closed_forms
from cold_jax.baselines.features import feature_matrix, item_gram
from cold_jax.baselines.item_item import ease_weights, item_knn_weights
from cold_jax.baselines.neighbours import nearest_weights
from cold_jax.models.base import attribute_features, tower_features
from cold_jax.splits.tasks import TrainView


def test_features_are_unit_rows_and_a_constant_and_those_of_the_model(train: TrainView):
    feature_IF = feature_matrix(train, "items", ["line", "title"], 0.5, 0.3)
    np.testing.assert_allclose(np.linalg.norm(feature_IF[:, :-1], axis=1), 1, rtol=1e-12)
    assert feature_IF.shape == (20, 16)
    assert (feature_IF[:, -1] == 0.3).all()
    model_IF = tower_features(train.item_vectors["line"], attribute_features(train))
    np.testing.assert_allclose(feature_matrix(train, "items", ["line"], 0.5, 0.3), model_IF, rtol=1e-5, atol=1e-7)


def test_an_unknown_text_is_named_with_the_known_ones(train: TrainView):
    with pytest.raises(ValueError, match=r"items have no text 'plot'; they have line, title"):
        named("content_mean", text="plot")(train, {})
    with pytest.raises(ValueError, match=r"users have no text 'line'; they have profile"):
        named("ridge_profile", texts=["line"])(train, {})


def test_ridge_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    feature_NF, target_NV = generator.normal(size=(40, 7)), (generator.random((40, 5)) < 0.3) * 1.0
    for target in (target_NV, sparse.csr_array(target_NV)):
        for penalty, weight_FV in closed_forms.ridge_maps(feature_NF, target, [0.1, 3.0, 100.0]).items():
            expected_FV = Ridge(penalty, fit_intercept=False).fit(feature_NF, target_NV).coef_.T
            np.testing.assert_allclose(weight_FV, expected_FV, rtol=1e-9, atol=1e-12)


def test_svd_factors_are_numpy_s_and_fold_users_in(train: TrainView):
    taken_UI = train.interaction_UI.toarray().astype(float)
    scaled_UI = taken_UI / np.sqrt(taken_UI.sum(0) + 1)
    left_UV, size_V, _ = np.linalg.svd(scaled_UI, full_matrices=False)
    for rank in (3, 6):
        source_IV, target_IV = closed_forms.svd_factors(train.interaction_UI, rank)
        user_UV = taken_UI @ source_IV
        expected_UV = left_UV[:, :rank] * size_V[:rank]
        np.testing.assert_allclose(np.abs(user_UV), np.abs(expected_UV), rtol=1e-6, atol=1e-10)
        expected_IV = Ridge(1.0, fit_intercept=False).fit(user_UV, taken_UI).coef_
        np.testing.assert_allclose(target_IV, expected_IV, rtol=1e-6, atol=1e-10)


def test_ease_of_two_items_by_hand():
    """Each item's only regressor is the other: w = g_01 / (g_jj + λ)."""
    weight_II = ease_weights(np.array([[2.0, 1.0], [1.0, 3.0]]), 1.0)
    np.testing.assert_allclose(weight_II, [[0, 1 / 3], [1 / 4, 0]], rtol=1e-12)


def test_ease_is_stationary_with_a_zero_diagonal(train: TrainView):
    gram_II, penalty = item_gram(train), 7.0
    weight_II = ease_weights(gram_II, penalty)
    gradient_II = gram_II @ weight_II - gram_II + penalty * weight_II
    assert (np.diag(weight_II) == 0).all()
    np.testing.assert_allclose(gradient_II[~np.eye(20, dtype=bool)], 0, atol=1e-10)


def test_item_knn_of_three_items_by_hand():
    """Users {a b}, {a b}, {a c}, {a}: a is shared twice with b, once with c; b and c never meet."""
    taken_UI = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0]])
    gram_II = item_gram(train_of(taken_UI))
    ab, ac = 2 / (np.sqrt(4 * 2) + 1), 1 / (np.sqrt(4 * 1) + 1)
    np.testing.assert_allclose(item_knn_weights(gram_II, 1.0, None), [[0, ab, ac], [ab, 0, 0], [ac, 0, 0]])
    # a's nearest is b; b's and c's is a
    np.testing.assert_allclose(item_knn_weights(gram_II, 1.0, 1), [[0, ab, 0], [ab, 0, 0], [ac, 0, 0]])


def test_item_knn_without_shrinkage_is_the_cosine_of_columns(train: TrainView):
    weight_II = item_knn_weights(item_gram(train), 0.0, None)
    expected_II = cosine_similarity(train.interaction_UI.T.toarray())
    np.fill_diagonal(expected_II, 0)
    np.testing.assert_allclose(weight_II, expected_II, atol=1e-6)  # the latter in float32


def test_nearest_leaves_out_the_row_itself_and_the_false_ones():
    """Angles of 0, 30, 60 and 90 degrees; the third does not count."""
    vector_ND = np.array([[1, 0], [0.75**0.5, 0.5], [0.5, 0.75**0.5], [0, 1]])
    weight_BN = nearest_weights(vector_ND, np.array([1, 2]), np.array([True, True, False, True]), 2)
    near, far = 0.75**0.5, 0.5
    expected_BN = np.array([[near, 0, 0, far], [0, near, 0, near]]) / [[near + far], [2 * near]]
    np.testing.assert_allclose(weight_BN, expected_BN, atol=1e-12)
