"""Random and popularity."""

import numpy as np
from fitted import named, scores, train_of

from cold_jax.splits.tasks import TrainView


def test_random_is_a_function_of_user_and_item(train: TrainView):
    scorer = named("random")(train, {})
    whole_UI = scorer(np.arange(30), train.interaction_UI, np.arange(20))
    user_U, item_I = np.array([7, 3, 7]), np.array([1, 4, 11])
    np.testing.assert_array_equal(scorer(user_U, train.interaction_UI[user_U], item_I), whole_UI[np.ix_(user_U, item_I)])
    assert len(np.unique(whole_UI)) == whole_UI.size
    assert (scores(named("random", seed=2), train) != whole_UI).all()


def test_popularity_counts_training_users():
    score_UI = scores(named("popularity"), train_of(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])))
    np.testing.assert_array_equal(score_UI, [[1, 2, 0]] * 3)
