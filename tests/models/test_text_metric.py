"""The metric's scores by scikit-learn's TF-IDF and NumPy, its dropout, and what it refuses."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from cold_jax.data.dataset import Entities
from cold_jax.encoders.precomputed import VectorTable
from cold_jax.splits.tasks import TrainView

items = jax.jit(lambda model, vector_JD, item_J: model.items(vector_JD, item_J))


def metric() -> tuple[Any, TrainView]:
    """Four items of one-dimensional vectors, of which the last is cold, by scikit-learn's TF-IDF."""
    train = small.make_train([[1], [-1], [2], [0.5]], [[1, 0], [0, 1], [1, 1], [0, 0]])
    titles = ("red nail polish", "red soap", "nail polish red", "blue soap")
    train = replace(train, items=Entities(train.items.ids, {"title": titles}, train.items.indicators))
    config = replace(small.METRIC, width=2, history=2)
    return config(VectorTable(np.ones((5, 1), np.float32)), train, None, 0), train


def test_a_text_metric_is_its_formula() -> None:
    """Users show items 2 then 0 (the newest), and 3 alone."""
    model, train = metric()
    titles, vector_I = train.items.texts["title"], np.array([1, -1, 2, 0.5])
    every_IF = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(titles).toarray()
    word_IF = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit_transform(titles).toarray()
    white_I1 = np.sign(vector_I - vector_I.mean())[:, None]  # of one dimension unit length leaves the sign
    kernel_II = (every_IF @ every_IF.T + 0.4 * white_I1 @ white_I1.T) * (1 - np.eye(4))
    text_IF = np.concatenate([word_IF, 0.5 * normalize(train.items.indicators["genre"])], 1)
    f_IV, g_IV, b_I1 = np.split(text_IF @ model.map_word_FV[...] + white_I1 @ model.map_vector_DV[...], [2, 4], axis=1)
    alike_II = f_IV @ g_IV.T + 2 * kernel_II
    expected = np.stack([alike_II[0] + 0.5 * alike_II[2], alike_II[3]]) + np.asarray(b_I1).T
    sides = items(model, jnp.asarray(vector_I, jnp.float32)[:, None], jnp.arange(4))
    scores = jax.jit(lambda model, sides, newest: model.scores(None, newest, sides, slice(None)))
    np.testing.assert_allclose(scores(model, sides, jnp.array([[0, 2], [3, -1]])), expected, atol=1e-5)
    further = scores(model, sides, jnp.array([[0, 2, 1], [3, -1, -1]]))  # nothing beyond `history` is read
    np.testing.assert_allclose(further, expected, atol=1e-5)


def test_a_text_metric_wants_all_items() -> None:
    model, _ = metric()
    with pytest.raises(ValueError, match="batching=sequences"):
        model.scores(None, jnp.zeros((1, 1), jnp.int32), (jnp.zeros((3, 2)), jnp.zeros((3, 2)), jnp.zeros(3)), slice(None))


def test_dropout_of_a_text_metric_keeps_the_mean() -> None:
    """Over many draws words and f's coordinates are what they are without; some are gone in each."""
    model, _ = metric()
    vector_JD = jnp.array([[1.0], [-1], [2], [0.5]])
    plain_JV = np.asarray(items(model, vector_JD, jnp.arange(4))[0])
    draw = jax.jit(jax.vmap(lambda key: model.items(vector_JD, jnp.arange(4), key)[0]))
    many_NJV = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)))
    assert np.mean(many_NJV == 0) == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(many_NJV.mean(0), plain_JV, atol=5 * many_NJV.std() / 4000**0.5)


@pytest.mark.parametrize(
    ("changed", "key"), [({"history": 0}, "history"), ({"dropout": 1.0}, "dropout"), ({"kernel": 0.0}, "kernel")]
)
def test_a_text_metric_refuses_what_it_cannot_be(changed: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=f"model.{key}"):
        replace(small.METRIC, **changed)
    with pytest.raises(ValueError, match="model.title: the items have no text 'name'"):
        replace(small.METRIC, title="name")(
            VectorTable(np.ones((5, 1), np.float32)), small.make_train([[1], [2]], [[]] * 2), None, 0
        )
