"""EASE and item-kNN against NumPy, scikit-learn and small cases by hand; EASE in factors against EASE."""

import numpy as np
import pytest
from fitted import named, scores, train_of
from sklearn.metrics.pairwise import cosine_similarity

from cold_jax.baselines.features import item_gram
from cold_jax.baselines.item_item import ease_factors, ease_weights, item_knn_weights
from cold_jax.splits.tasks import TrainView


def test_ease_adds_popularity_and_item_knn_sums_what_is_shown(train: TrainView):
    taken_UI, count_I = train.interaction_UI.toarray(), train.interaction_UI.sum(0)
    plain_UI, prior_UI = (scores(named(name, penalties=[9.0]), train)[:25] for name in ("ease", "ease_popularity"))
    np.testing.assert_allclose(prior_UI - plain_UI, np.tile(0.3 * count_I / count_I.max(), (25, 1)), atol=1e-10)
    np.testing.assert_allclose(plain_UI, taken_UI[:25] @ ease_weights(item_gram(train).toarray(), 9.0), atol=1e-10)
    knn_UI = scores(named("item_knn", shrinks=[5.0], neighbours=[3]), train)[:25]
    np.testing.assert_allclose(knn_UI, taken_UI[:25] @ item_knn_weights(item_gram(train), 5.0, 3).toarray(), atol=1e-10)


def test_ease_of_two_items_by_hand():
    """Each item's only regressor is the other: w = g_01 / (g_jj + λ)."""
    weight_II = ease_weights(np.array([[2.0, 1.0], [1.0, 3.0]]), 1.0)
    np.testing.assert_allclose(weight_II, [[0, 1 / 3], [1 / 4, 0]], rtol=1e-12)


def test_ease_is_stationary_with_a_zero_diagonal(train: TrainView):
    gram_II, penalty = item_gram(train).toarray(), 7.0
    weight_II = ease_weights(gram_II, penalty)
    gradient_II = gram_II @ weight_II - gram_II + penalty * weight_II
    assert (np.diag(weight_II) == 0).all()
    np.testing.assert_allclose(gradient_II[~np.eye(20, dtype=bool)], 0, atol=1e-10)


def test_item_knn_of_three_items_by_hand():
    """Users {a b}, {a b}, {a c}, {a}: a is shared twice with b, once with c; b and c never meet."""
    taken_UI = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0]])
    gram_II = item_gram(train_of(taken_UI))
    ab, ac = 2 / (np.sqrt(4 * 2) + 1), 1 / (np.sqrt(4 * 1) + 1)
    np.testing.assert_allclose(item_knn_weights(gram_II, 1.0, None).toarray(), [[0, ab, ac], [ab, 0, 0], [ac, 0, 0]])
    # a's nearest is b; b's and c's is a
    np.testing.assert_allclose(item_knn_weights(gram_II, 1.0, 1).toarray(), [[0, ab, 0], [ab, 0, 0], [ac, 0, 0]])


def test_item_knn_without_shrinkage_is_the_cosine_of_columns(train: TrainView):
    weight_II = item_knn_weights(item_gram(train), 0.0, None).toarray()
    expected_II = cosine_similarity(train.interaction_UI.T.toarray())
    np.fill_diagonal(expected_II, 0)
    np.testing.assert_allclose(weight_II, expected_II, atol=1e-6)  # the latter in float32


@pytest.mark.parametrize("penalty", [0.5, 20.0])
def test_ease_in_all_factors_is_ease(train: TrainView, penalty: float):
    gram_II = item_gram(train).toarray()
    source_IV, target_IV, self_I = ease_factors(*np.linalg.eigh(gram_II), penalty)
    np.testing.assert_allclose(source_IV @ target_IV.T - np.diag(self_I), ease_weights(gram_II, penalty), atol=1e-9)


def test_ease_cut_to_factors_is_that_of_a_covariance_without_the_rest(train: TrainView):
    value_V, vector_IV = np.linalg.eigh(item_gram(train).toarray())
    source_IV, target_IV, self_I = ease_factors(value_V[-5:], vector_IV[:, -5:], 3.0)
    cut_II = vector_IV[:, -5:] * value_V[-5:] @ vector_IV[:, -5:].T
    np.testing.assert_allclose(source_IV @ target_IV.T - np.diag(self_I), ease_weights(cut_II, 3.0), atol=1e-9)


@pytest.mark.parametrize("popularity", [0.0, 0.3])
def test_a_large_catalogue_is_scored_in_factors(train: TrainView, popularity: float):
    """16 warm items have 16 factors: none is left out, and the scores are those of the dense form."""
    dense_UI, factored_UI = (
        scores(named("ease", popularity=popularity, penalties=[9.0], dense_items=size, factors=18), train) for size in (20, 19)
    )
    np.testing.assert_allclose(factored_UI, dense_UI, atol=1e-8)
    few_UI = scores(named("ease", popularity=popularity, penalties=[9.0], dense_items=19, factors=2), train)
    assert np.abs(few_UI - dense_UI).max() > 0.01
