"""The first places of inner products are those of all scores, sorted."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from cold_jax.models import retrieval
from cold_jax.models.retrieval import InnerProducts, is_inner_product
from cold_jax.serving.recommender import Recommender
from cold_jax.serving.requests import UserRequest
from cold_jax.splits.ties import tie_break

REQUESTS = [
    UserRequest("007"),
    UserRequest(profile="a cook", liked=("050", "003"), exclude=("101", "081")),
    UserRequest("003", exclude=("007",)),
]


def test_lists_are_those_of_all_scores(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one chunk, with exclusions, a filter, and users whose histories differ in length."""
    assert recommender._products is not None
    ids, tie_break_I = recommender.prepared.dataset.items.ids, tie_break(recommender.prepared.dataset.items.ids)
    in_space = recommender.prepared.dataset.items.texts["line"]
    found = list(recommender.recommend_many(REQUESTS, k=7))
    filtered = list(recommender.recommend_many(REQUESTS, k=7, where=["genre=space"]))
    space = {
        item for answer in recommender.recommend_many(REQUESTS[:1], k=1000, where=["genre=space"]) for item in answer.item_ids
    }
    for request, answer, own in zip(REQUESTS, found, filtered, strict=True):
        score = recommender.score(ids, request.user, profile=request.profile, liked=request.liked)
        left_out = {ids[i] for i in recommender.history(request)} | set(request.exclude)
        order = sorted(
            (item for item in ids if item not in left_out), key=lambda item: (-score[item], tie_break_I[ids.index(item)])
        )
        assert answer.item_ids == order[:7]
        assert answer.scores == pytest.approx([score[item] for item in order[:7]], abs=1e-5)
        assert set(own.item_ids) <= space | {ids[i] for i in recommender.history(REQUESTS[0])}
    assert len(in_space) == len(ids)
    monkeypatch.setitem(recommender.__dict__, "_products", None)
    slow = list(recommender.recommend_many(REQUESTS, k=7))
    assert [answer.item_ids for answer in slow] == [answer.item_ids for answer in found]


def products(recommender: Recommender, target_IV: np.ndarray, bias_I: np.ndarray, order: np.ndarray) -> Any:
    """With given vectors of items, and users (1, 0)."""
    made = InnerProducts(
        recommender._scorer.partition, lambda user_U: jnp.zeros((len(user_U), 32)), recommender._scorer.vector_ID, order
    )
    made.order_I = np.argsort(order)
    made.column_I = np.argsort(made.order_I)
    made.target_IV, made.bias_I = jnp.asarray(target_IV[made.order_I]), jnp.asarray(bias_I[made.order_I])
    made.users = lambda user_U, history_UI: (jnp.asarray([[1.0, 0.0]] * len(user_U)), jnp.zeros(len(user_U)))
    return made


def test_ties_masks_and_minus_infinity(recommender: Recommender) -> None:
    target_IV = np.array([[1.0, 5], [2, 5], [1, 5], [-np.inf, 0], [1, 5], [3, 5]], np.float32)[:, :2]
    target_IV[3] = [-1e30, 0]
    made = products(recommender, target_IV, np.zeros(6, np.float32), np.array([5, 4, 3, 2, 1, 0]))
    allowed_I, none = np.array([True, True, True, True, True, False]), sparse.csr_array((2, 6))
    best = made.best(np.array([0, 1]), none, allowed_I, np.array([1]), np.array([4]), 6)
    assert best.item_UK.tolist() == [[1, 4, 2, 0, 3, -1], [1, 2, 0, 3, -1, -1]]
    assert best.score_UK[0, :5].tolist() == [2, 1, 1, 1, np.float32(-1e30)]
    made.bias_I = made.bias_I.at[2].set(jnp.nan)
    with pytest.raises(FloatingPointError, match="NaN"):
        made.best(np.array([0]), none[:1], allowed_I, np.array([], int), np.array([], int), 2)


def test_models_that_read_an_order_are_none() -> None:
    class Ordered(retrieval.DotProductModel):
        history = 3

    class Other(retrieval.DotProductModel):
        def scores(self, *inputs: Any) -> Any:
            return None

    class Plain(retrieval.DotProductModel):
        pass

    assert [is_inner_product(made()) for made in (Plain, Ordered, Other)] == [True, False, False]
