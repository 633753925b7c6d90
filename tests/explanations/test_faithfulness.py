"""Curves and cascades, where they are known."""

import jax
import numpy as np
import pytest

from cold_jax.evaluation.statistics import bootstrap
from cold_jax.explanations.explainer import Subject
from cold_jax.explanations.faithfulness import area, cascade, deletion_curve, insertion_curve, shuffled
from cold_jax.serving.recommender import Recommender

WEIGHT_W = np.array([1.0, 4.0, -2.0])


def linear(keep_W: np.ndarray) -> float:
    return float(WEIGHT_W @ keep_W)


def test_curves_of_a_sum() -> None:
    order_W = np.array([1, 0, 2])
    assert deletion_curve(linear, order_W).tolist() == [3, -1, -2, 0]
    assert insertion_curve(linear, order_W).tolist() == [0, 4, 5, 3]
    assert area(np.array([3.0, -1, -2, 0])) == pytest.approx((1 - 1.5 - 1) / 3)
    assert area(np.array([2.0])) == 0


def test_the_largest_first_has_the_smallest_area_of_deletion() -> None:
    best = area(deletion_curve(linear, np.argsort(-WEIGHT_W)))
    others = [area(deletion_curve(linear, np.random.default_rng(n).permutation(3))) for n in range(20)]
    assert best <= min(others) < max(others)


def test_a_cascade_goes_from_the_last_layer_to_the_embeddings(recommender: Recommender) -> None:
    encoder = recommender.phi.encoder
    steps = list(cascade(encoder, np.random.default_rng(0)))
    assert [name for name, _ in steps] == ["layer 2", "layer 1", "embeddings"]
    changed = [
        jax.tree.map(lambda a, b: np.asarray(a != b).reshape(len(a), -1).any(1), encoder.backbone.layers, made.backbone.layers)
        for _, made in steps
    ]
    varied = [any(leaf[layer] for leaf in jax.tree.leaves(changed[step])) for step, layer in ((0, 0), (0, 1), (1, 0))]
    assert varied == [False, True, True]
    before, after = encoder.backbone.embeddings, steps[1][1].backbone.embeddings
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
    last = steps[2][1].backbone.embeddings
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(last), strict=True):
        assert np.array_equal(np.sort(np.ravel(a)), np.sort(np.ravel(b)))
    assert not np.array_equal(before.word.embedding[...], last.word.embedding[...])


def test_shuffled_keeps_the_values() -> None:
    x = np.arange(12.0).reshape(3, 4)
    other = shuffled(x, np.random.default_rng(0))
    assert sorted(other.ravel()) == sorted(x.ravel())
    assert not np.array_equal(other, x)


def test_the_words_with_the_largest_values_move_the_score_most(recommender: Recommender) -> None:
    """Deletion and insertion in the order of the values, against two random orders, in pairs: whole intervals lie on the good side.

    Another random order is not ahead of those, and the order backwards is behind.
    """
    explainer, draw = recommender.explainer, np.random.default_rng(0)
    subjects = random_subjects(recommender, 6, draw)
    scores = [explainer.kept_score(subject, texts=2) for subject in subjects]
    words = [explainer.word_values(subject, texts=2, steps=16) for subject in subjects]
    random_curves = [
        np.mean([deletion_curve(score, draw.permutation(len(value_W))) for _ in range(2)], 0)
        for score, value_W in zip(scores, words, strict=True)
    ]

    def intervals(orders: list[np.ndarray]) -> tuple[tuple[float, float], tuple[float, float]]:
        deleted, inserted = [], []
        for score, order_W, curve in zip(scores, orders, random_curves, strict=True):
            deleted.append(area(deletion_curve(score, order_W)) - area(curve))
            inserted.append(area(insertion_curve(score, order_W)) - area(curve[::-1]))
        return bootstrap(np.array(deleted), 2000, draw), bootstrap(np.array(inserted), 2000, draw)

    order = [np.argsort(-value_W, kind="stable") for value_W in words]
    deleted, inserted = intervals(order)
    assert deleted[1] < 0 < inserted[0]
    chance = intervals([draw.permutation(len(value_W)) for value_W in words])
    assert chance[0][0] > deleted[1]
    assert chance[1][1] < inserted[0]
    backwards = intervals([order_W[::-1] for order_W in order])
    assert backwards[1][1] < 0 < backwards[0][0]


def random_subjects(recommender: Recommender, count: int, draw: np.random.Generator) -> list[Subject]:
    """New users with the profiles of the data's and two liked items, each with a third item."""
    text_U = next(iter(recommender._base.dataset.users.texts.values()))
    made = []
    for user in draw.permutation(len(text_U))[:count]:
        items = draw.permutation(len(recommender.explainer.items))[:3].tolist()
        made.append(Subject(None, recommender._scorer.new_user, text_U[user], items[1:], items[0]))
    return made


def test_kept_words_lie_between_the_masked_texts_and_the_texts(recommender: Recommender) -> None:
    """With all words the score is the run's; without any it is where integrated gradients begin."""
    explainer = recommender.explainer
    liked = [recommender._item(item, "") for item in ("007", "003")]
    subject = Subject(None, recommender._scorer.new_user, "a 30-year-old engineer", liked, recommender._item("050", ""))
    score, value_W = explainer.kept_score(subject, texts=2), explainer.word_values(subject, texts=2, steps=64)
    whole, nothing = score(np.ones(len(value_W), bool)), score(np.zeros(len(value_W), bool))
    expected = recommender.score(["050"], profile="a 30-year-old engineer", liked=["007", "003"])["050"]
    assert whole == pytest.approx(expected, abs=1e-5)
    assert whole - nothing == pytest.approx(value_W.sum(), rel=0.05, abs=1e-4)
