"""A model alone, and beside closed forms."""

import numpy as np
from test_sequences import SHOWN_UI, asking, trained

from cold_jax.blends import Alone, History

USERS, ITEMS = np.arange(2), np.arange(5)


def blend(grid: list[float]) -> History:
    members, metric = ["titles", "vectors", "transitions", "popularity"], "ndcg@5"
    return History(members=members, line="line", title="title", decay=0.7, own=False, grid=grid, metric=metric, users=9, seed=0)


def test_a_model_alone_is_itself() -> None:
    model = lambda *asked: asked  # noqa: E731
    assert Alone()(model, trained([(0, 0)]), {}) is model


def test_a_blend_begins_at_the_model_and_leaves_it_where_that_ranks_better() -> None:
    train, part = trained([(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)]), asking([4, 0])
    right_UI = part.positive_UI.toarray()
    asked = USERS, SHOWN_UI, ITEMS
    for grid in ([0.0], [0.0, 0.1]):  # a perfect model needs none of it: the first of equals is 0
        score_UI = np.asarray(blend(grid)(lambda user_U, *_: right_UI[user_U], train, {"all": part})(*asked))
        np.testing.assert_allclose(score_UI * right_UI.std(), right_UI, atol=1e-6)
    wrong_UI = -right_UI
    score_UI = np.asarray(blend([0.0, 4.0])(lambda user_U, *_: wrong_UI[user_U], train, {"all": part})(*asked))
    assert np.abs(score_UI * right_UI.std() - wrong_UI).max() > 0.1
