"""Explanations of a run: their terms are its scores, their words are complete, and they depend on its weights."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from cold_jax.encoders import Loaded
from cold_jax.errors import ConfigError
from cold_jax.explanations.explainer import Explainer, Subject
from cold_jax.explanations.explanation import Explanation
from cold_jax.models.base import Partition
from cold_jax.serving.recommender import Recommender

PROFILE, LIKED = "a 30-year-old engineer", ["007", "003", "081"]


@pytest.fixture(scope="module")
def found(recommender: Recommender) -> Explanation:
    return recommender.explain("050", profile=PROFILE, liked=LIKED, texts=2)


def test_terms_sum_to_the_run_s_score(recommender: Recommender, found: Explanation) -> None:
    score = recommender.score(["050"], profile=PROFILE, liked=LIKED)["050"]
    assert found.score == pytest.approx(score, abs=1e-6)
    assert found.item + found.user_bias + found.profile + found.history == pytest.approx(score, abs=1e-6)
    assert sum(one.share for one in found.shares) == pytest.approx(found.history, abs=1e-6)
    known = recommender.explain("050", "007", texts=0)
    assert known.score == pytest.approx(recommender.score(["050"], "007")["050"], abs=1e-6)


def test_a_share_is_what_the_item_adds_alone(recommender: Recommender, found: Explanation) -> None:
    """A two-tower divides by √k, so that of three items each adds 1/√3 of what it would add as the only one."""

    def score(liked: list[str]) -> float:
        return recommender.score(["050"], profile=PROFILE, liked=liked)["050"]

    assert [abs(one.share) for one in found.shares] == sorted((abs(one.share) for one in found.shares), reverse=True)
    for one in found.shares:
        assert one.share == pytest.approx((score([one.item_id]) - score([])) / 3**0.5, abs=1e-6)
    assert found.profile == pytest.approx(score([]) - recommender.score(["050"], profile="")["050"], abs=1e-6)


def test_words_are_complete(found: Explanation) -> None:
    assert found.completeness.error <= 0.01
    assert sum(value for text in found.words for _, value in text.words) == pytest.approx(found.completeness.sum, abs=1e-7)
    assert abs(found.completeness.sum - found.completeness.difference) <= 0.01 * abs(found.completeness.difference)
    kinds = [(text.of, text.item_id) for text in found.words]
    assert kinds == [("profile", None), ("item", "050"), *(("history", one.item_id) for one in found.shares[:2])]
    assert [word for word, _ in found.words[0].words] == PROFILE.split()
    assert found.notes == []


def test_randomised_weights_change_the_words(recommender: Recommender) -> None:
    """Adebayo et al. 2018, arXiv 1810.03292: of the encoder, or of the head. The order of a text's words is another, on average over texts."""
    explainer, draw = recommender._explainer, np.random.default_rng(0)

    def shuffled(tree: Any) -> Any:
        return jax.tree.map(lambda x: draw.permutation(np.asarray(x).ravel()).reshape(np.shape(x)), tree)

    index = explainer.items.ids.index
    subject = Subject(None, recommender._scorer.new_user, PROFILE, [index(item) for item in LIKED], index("050"))

    def values(partition: Partition, phi: Loaded) -> dict[tuple[str, str | None], list[float]]:
        made = Explainer(partition, phi, explainer.items, explainer.vector_ID, explainer.warm_I)(subject, texts=3)
        return {(text.of, text.item_id): [value for _, value in text.words] for text in made.words}

    def agreement(partition: Partition, phi: Loaded) -> float:
        other = values(partition, phi)
        return float(np.mean([stats.spearmanr(own[text], other[text]).statistic for text in own]))

    own = values(explainer.partition, explainer.phi)
    assert agreement(explainer.partition, explainer.phi) == pytest.approx(1)
    encoders = [replace(explainer.phi, encoder=shuffled(explainer.phi.encoder)) for _ in range(2)]
    heads = [explainer.partition._replace(frozen=shuffled(explainer.partition.frozen)) for _ in range(2)]
    assert abs(np.mean([agreement(explainer.partition, phi) for phi in encoders])) < 0.5
    assert abs(np.mean([agreement(head, explainer.phi) for head in heads])) < 0.5


def test_nearest_items_are_those_of_the_largest_cosine(recommender: Recommender, found: Explanation) -> None:
    items, vector_ID = recommender.prepared.dataset.items, recommender._scorer.vector_ID.astype(np.float64)
    own = vector_ID[items.ids.index("050")]
    cosines = {
        item: float(vector @ own / np.linalg.norm(vector) / np.linalg.norm(own))
        for item, vector in zip(items.ids, vector_ID, strict=True)
        if item != "050"
    }
    best = sorted(cosines.values(), reverse=True)[:5]
    assert [one.cosine for one in found.nearest] == pytest.approx(best, abs=1e-5)
    assert [cosines[one.item_id] for one in found.nearest] == pytest.approx(best, abs=1e-5)
    liked = recommender.explain("050", profile="", liked=[found.nearest[0].item_id], texts=0)
    assert [one.in_history for one in liked.nearest] == [True, False, False, False, False]


def test_an_unknown_item_is_named(recommender: Recommender) -> None:
    with pytest.raises(ConfigError, match="item: the data has no id 'x'"):
        recommender.explain("x", "007")
