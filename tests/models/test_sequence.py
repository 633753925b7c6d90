"""The sequence model's scores by NumPy and scikit-learn, in training and in evaluation; its corrections; what it refuses."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from flax import nnx
from sklearn.feature_extraction.text import TfidfVectorizer

from cold_jax import experiment
from cold_jax.batching.user_sequences import UserSequences
from cold_jax.data.dataset import Entities
from cold_jax.encoders.precomputed import VectorTable
from cold_jax.errors import ConfigError
from cold_jax.models.sequence import Pooling, Sequence
from cold_jax.splits.tasks import TrainView

CONFIG = Sequence(pooling=Pooling.decay, history=3, decay=0.5, logit_scale=4.0, words=2.0, title="title", heads=2, layers=1)
TITLES = ("red nail polish", "red soap", "nail polish red", "blue soap")
VECTOR_IV = np.array([[0.6, 0.8], [1, 0], [0.8, -0.6], [0, 1]], np.float32)
RECENT_BK = np.array([[0, 2, 1], [3, -1, -1], [-1, -1, -1]], np.int32)


def view() -> TrainView:
    train = small.make_train(VECTOR_IV.tolist(), [[0], [0], [0], [0]])
    return replace(train, items=Entities(train.items.ids, {"title": TITLES}, train.items.indicators))


def model_of(**changed: Any) -> Any:
    return replace(CONFIG, **changed)(VectorTable(np.zeros((6, 2), np.float32)), view(), None, 0)


@jax.jit
def scores(model: Any, vector_JV: jax.Array, item_J: jax.Array, recent_BK: jax.Array) -> jax.Array:
    return model.scores(None, recent_BK, model.items(vector_JV, item_J), slice(None))


def expected(words: float) -> np.ndarray:
    word_IF = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TITLES).toarray()
    kernel_II = word_IF @ word_IF.T * (1 - np.eye(4))
    score_BI = np.zeros((3, 4))
    for b, recent in enumerate(([0, 2, 1], [3], [])):
        weight = 0.5 ** np.arange(len(recent))
        user_V = weight @ VECTOR_IV[recent] if recent else np.zeros(2)
        score_BI[b] = 4 * VECTOR_IV @ user_V / max(np.linalg.norm(user_V), 1e-9)
        score_BI[b] += words * (weight @ kernel_II[recent] if recent else 0)
    return score_BI


@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("words", [0.0, 2.0])
def test_a_model_begins_at_the_closed_form(pooling: Pooling, words: float) -> None:
    """Of all items, and of a step's, which are some in an order of their own."""
    model = model_of(pooling=pooling, words=words)
    every_BI = scores(model, VECTOR_IV, np.arange(4), RECENT_BK)
    np.testing.assert_allclose(every_BI, expected(words), atol=1e-5)
    item_J, recent_BK = np.array([2, 0, 1]), np.array([[1, 0, 2]], np.int32)  # items 0, 2, 1 by their places
    np.testing.assert_allclose(scores(model, VECTOR_IV[item_J], item_J, recent_BK), expected(words)[:1, item_J], atol=1e-5)
    np.testing.assert_allclose(
        scores(model, VECTOR_IV, np.arange(4), np.pad(RECENT_BK, ((0, 0), (0, 2)), constant_values=1))[:1], every_BI[:1]
    )


def test_some_candidates_have_the_scores_of_all() -> None:
    model = model_of()
    encodings = model.items(jnp.asarray(VECTOR_IV), jnp.arange(4))
    every_BI, some_BJ = (model.scores(None, jnp.asarray(RECENT_BK), encodings, of) for of in (slice(None), jnp.array([3, 1])))
    np.testing.assert_allclose(some_BJ, every_BI[:, np.array([3, 1])], rtol=1e-6)


@pytest.mark.parametrize("pooling", [Pooling.gru, Pooling.transformer])
def test_a_correction_reads_the_history_alone_and_its_order(pooling: Pooling) -> None:
    """What stands beyond a history's end changes nothing; the order of the items does; no history, no correction from the GRU."""
    model = model_of(pooling=pooling, words=0.0)
    correction = model.correction
    correction.out.kernel.set_value(jnp.eye(2))
    x_BKV = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 2)), jnp.float32)
    two = jnp.array([[True, True, False]])
    other_BKV = x_BKV.at[0, 2].set(9)
    np.testing.assert_allclose(correction(x_BKV, two), correction(other_BKV, two), rtol=1e-6)
    assert not np.allclose(correction(x_BKV, two), correction(x_BKV[:, jnp.array([1, 0, 2])], two), atol=1e-3)
    assert not np.allclose(correction(x_BKV, two), correction(other_BKV, jnp.ones((1, 3), bool)), atol=1e-3)
    if pooling is Pooling.gru:
        assert not correction(x_BKV, jnp.zeros((1, 3), bool)).any()


def test_the_gru_ends_with_the_newest_item() -> None:
    """By Flax's cell, stepped by hand from the oldest item of two."""
    correction = model_of(pooling=Pooling.gru).correction
    correction.out.kernel.set_value(jnp.eye(2))
    x_BKV = jnp.asarray([[[1.0, 2], [3, -1], [0, 0]]])
    state = jnp.zeros((1, 2))
    for place in (1, 0):
        state, _ = correction.gru.cell(state, x_BKV[:, place])
    np.testing.assert_allclose(correction(x_BKV, jnp.array([[True, True, False]])), state, rtol=1e-6)


@pytest.mark.parametrize("pooling", Pooling)
def test_every_parameter_learns(prepared: experiment.Prepared, pooling: Pooling) -> None:
    """After three steps, for the corrections' maps begin at 0."""
    config = replace(CONFIG, pooling=pooling, title="title")
    train_setup = small.train_setup(prepared, small.Frozen(), config, UserSequences(size=45, history=3, negatives=2))
    _, states = small.fit(train_setup, small.SOFTMAX, small.DESCENT, 3)
    before, after = (small.leaves(state.trainable) for state in (states[0], states[-1]))
    still = [name for name in before if np.array_equal(before[name], after[name])]
    assert not [name for name in still if "encoder" not in name]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"history": 0}, "model.history: 0 must be 1 or more"),
        ({"decay": 0.0}, "model.decay"),
        ({"words": -1.0}, "model.words: -1.0 must be 0 or more"),
    ],
)
def test_a_sequence_model_refuses_what_it_cannot_be(changed: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(CONFIG, **changed)


def test_heads_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="model.heads: 3 does not divide the encoder's width 2"):
        model_of(pooling=Pooling.transformer, heads=3)


def test_parameters_of_a_plain_model_are_few() -> None:
    """a_k, τ and c; words add α_k."""
    count = lambda model: sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))  # noqa: E731
    assert (count(model_of(words=0.0)), count(model_of())) == (3 + 1 + 2, 3 + 1 + 2 + 3)
