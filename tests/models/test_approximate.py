"""An approximate index against all inner products."""

import re
from pathlib import Path

import numpy as np
import pytest

from cold_jax.errors import ConfigError
from cold_jax.models.approximate import ApproximateIndex, IndexSettings, index_settings, lengthened
from cold_jax.serving.recommender import Recommender

SETTINGS = IndexSettings(above=10, connectivity=16, expansion_add=128, expansion_search=128, users=20)


def clustered(items: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors round 50 centres, and biases as spread as the products."""
    draw = np.random.default_rng(0)
    vector_IV = draw.normal(size=(50, width))[draw.integers(0, 50, items)] + 0.5 * draw.normal(size=(items, width))
    return vector_IV.astype(np.float32), draw.normal(0, 3, items).astype(np.float32)


def test_cosines_of_the_lengthened_are_in_the_order_of_inner_products() -> None:
    target_IV, bias_I = clustered(300, 6)
    x_IX = lengthened(target_IV, bias_I)
    assert np.linalg.norm(x_IX, axis=1) == pytest.approx(np.linalg.norm(x_IX[0]), rel=1e-5)
    user_V = np.random.default_rng(1).normal(size=6)
    cosine_I = x_IX @ [*user_V, 1, 0] / np.linalg.norm(x_IX, axis=1)
    assert np.argsort(-cosine_I)[:100].tolist() == np.argsort(-(target_IV @ user_V + bias_I))[:100].tolist()


def test_it_finds_nearly_all_and_comes_out_of_the_cache_as_it_was() -> None:
    pytest.importorskip("usearch")
    target_IV, bias_I = clustered(3000, 16)
    user_UV = np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    exact_UK = np.argsort(-(user_UV @ target_IV.T + bias_I), axis=1)[:, :20]
    first, again = (ApproximateIndex(target_IV, bias_I, SETTINGS).search(user_UV, 20) for _ in range(2))
    assert np.mean([np.isin(exact_K, found_K).mean() for exact_K, found_K in zip(exact_UK, first, strict=True)]) > 0.95
    assert first.tolist() == again.tolist()
    assert ApproximateIndex(target_IV, bias_I, SETTINGS).search(user_UV[:1], 5).shape == (1, 5)
    few = ApproximateIndex(target_IV[:3], bias_I[:3], SETTINGS).search(user_UV[:2], 5)
    for found_K in few.tolist():
        assert sorted(found_K) == [-1] * (few.shape[1] - 3) + [0, 1, 2]


def test_what_is_kept_is_of_the_same_vectors_and_settings() -> None:
    """Beside it in the cache are indices of other vectors, and of the same ones with other settings."""
    pytest.importorskip("usearch")
    target_IV, bias_I = clustered(300, 6)
    user_UV = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    for vector_IV in (target_IV, -target_IV):
        best_U = np.argmax(user_UV @ vector_IV.T + bias_I, axis=1)
        assert ApproximateIndex(vector_IV, bias_I, SETTINGS).search(user_UV, 1)[:, 0].tolist() == best_U.tolist()
    for connectivity in (16, 4):
        assert (
            ApproximateIndex(target_IV, bias_I, SETTINGS._replace(connectivity=connectivity)).index.connectivity == connectivity
        )


def test_a_run_s_lists_by_the_index(finished: Path, recommender: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    """Of so few items it misses hardly any (the graph differs by thread); recall is logged; a filter makes a list exact."""
    pytest.importorskip("usearch")
    with caplog.at_level("INFO"):
        by_index = Recommender(finished, {}, index=SETTINGS)
        for request in ({"user": "007"}, {"profile": "a cook", "liked": ["050"], "exclude": ["003", "101"]}):
            found, exact = (one.recommend(**request, k=9) for one in (by_index, recommender))
            scores = dict(zip(exact["item_id"], exact["score"], strict=True))
            both = {item: score for item, score in zip(found["item_id"], found["score"], strict=True) if item in scores}
            assert len(both) >= 7
            assert both == pytest.approx({item: scores[item] for item in both}, abs=1e-5)
    assert by_index._products is not None
    assert by_index._products.index is not None
    (recall,) = re.findall(
        r"items are searched approximately; recall@20 against exact search over 20 users: ([\d.]+)", caplog.text
    )
    assert float(recall) > 0.85
    filtered = by_index.recommend("007", k=3, where=["genre=space"])
    assert filtered["item_id"].to_list() == recommender.recommend("007", k=3, where=["genre=space"])["item_id"].to_list()
    everything = by_index.recommend("007", k=10_000)
    assert len(everything) == len(recommender.recommend("007", k=10_000))


def test_settings_have_ranges() -> None:
    values = {**SETTINGS._asdict(), "above": None}
    assert index_settings(values).above is None
    with pytest.raises(ConfigError, match=r"^index\.users: 0 must be 1 or more"):
        index_settings({**values, "users": 0})
