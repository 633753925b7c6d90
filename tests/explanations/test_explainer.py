"""Explanations of a run: their terms are its scores, their words are complete, and they depend on its weights."""

import numpy as np
import pytest

from cold_jax.encoders import Loaded
from cold_jax.errors import ConfigError
from cold_jax.explanations.explainer import Subject
from cold_jax.explanations.explanation import Explanation
from cold_jax.explanations.faithfulness import cascade, shuffled
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
    assert found.completeness is not None
    assert found.completeness.error <= 0.01
    assert sum(value for text in found.words for _, value in text.words) == pytest.approx(found.completeness.sum, abs=1e-7)
    assert abs(found.completeness.sum - found.completeness.difference) <= 0.01 * abs(found.completeness.difference)
    kinds = [(text.of, text.item_id) for text in found.words]
    assert kinds == [("profile", None), ("item", "050"), *(("history", one.item_id) for one in found.shares[:2])]
    assert [word for word, _ in found.words[0].words] == PROFILE.split()
    assert found.notes == []


def test_randomised_weights_change_the_words(recommender: Recommender) -> None:
    """Adebayo et al. 2018, arXiv 1810.03292: of an encoder that is shuffled from its last layer down, or of a head that is.

    A whole encoder's draw moves the values by more than half of their length, and so does a head's in the mean; a layer alone moves them by a
    tenth: what reads only some of the weights would not. All words of this encoder have about the same place, so that ranks agree or disagree by chance; experiments/explanations has
    MiniLM's.
    """
    explainer, draw = recommender.explainer, np.random.default_rng(0)
    profiles = ("a 30-year-old engineer", "a 61-year-old retired lawyer", "a 17-year-old student of music", "cooks")
    items = [draw.permutation(len(explainer.items))[:3].tolist() for _ in profiles]
    subjects = [
        Subject(None, recommender._scorer.new_user, text, own[1:], own[0]) for text, own in zip(profiles, items, strict=True)
    ]

    def values(partition: Partition, phi: Loaded) -> list[np.ndarray]:
        one = explainer.with_weights(partition, phi)
        return [one.word_values(subject, texts=2, steps=8) for subject in subjects]

    own = values(explainer.partition, explainer.phi)

    def change(partition: Partition, phi: Loaded) -> float:
        """By how much of their length the values differ."""
        pairs = zip(own, values(partition, phi), strict=True)
        return float(np.mean([np.linalg.norm(a_W - b_W) / np.linalg.norm(a_W) for a_W, b_W in pairs]))

    assert change(explainer.partition, explainer.phi) == pytest.approx(0, abs=1e-5)
    of_heads = []
    for _ in range(4):
        encoders = [encoder for _, encoder in cascade(explainer.phi.encoder, draw)]
        of_encoders = [change(explainer.partition, explainer.phi.with_encoder(encoder, "")) for encoder in encoders]
        assert min(of_encoders) > 0.1, of_encoders
        assert of_encoders[-1] > 0.5, of_encoders
        of_heads.append(change(explainer.partition._replace(frozen=shuffled(explainer.partition.frozen, draw)), explainer.phi))
    assert np.mean(of_heads) > 0.5, of_heads
    assert min(of_heads) > 0.2, of_heads


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
