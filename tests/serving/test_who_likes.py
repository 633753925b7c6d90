"""A hand-worked ranking of users; against the scores of a run in test_recommender.py."""

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.serving.who_likes import who_likes

NONE = np.zeros(0)
DATA = Dataset("hand", NONE, NONE, NONE, NONE, Entities(("u", "v", "w"), {}, {}), Entities(("a", "b", "c"), {}, {}))
SCORE_UI = np.array([[0, 0, 3], [10, 16, 10], [1, 2, 3]], np.float32)
HISTORY_UI = sparse.csr_array(np.array([[0, 1, 0], [0, 0, 0], [0, 0, 1]], np.float32))


def test_users_are_ranked_by_their_own_scale() -> None:
    """(3 − 1) / √2 for u; v and w: see below; in chunks or at once."""
    chunks = [(SCORE_UI[:2], HISTORY_UI[:2]), (SCORE_UI[2:], HISTORY_UI[2:])]
    found = who_likes(chunks, np.array([1, 2]), 2, DATA, lambda user: "uvw"[user])
    assert found.equals(who_likes([(SCORE_UI, HISTORY_UI)], np.array([1, 2]), 2, DATA, lambda user: "uvw"[user]))
    # b: u has taken it; v has 4 / √8 and place 1; w has 0 and place 1, as c is taken
    # c: u has 2 / √2 and place 1; v has −2 / √8 and place 2; w has taken it
    assert found["item_id"].to_list() == ["b", "b", "c", "c"]
    assert found["user_id"].to_list() == ["v", "w", "u", "v"]
    assert found["place"].to_list() == [1, 1, 1, 2]
    assert np.allclose(found["score"].to_numpy(), [2**0.5, 0, 2**0.5, -(0.5**0.5)])
    assert found["rank"].to_list() == [1, 2, 1, 2]
