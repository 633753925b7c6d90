"""Closed forms explain themselves: their terms sum to their own scores, and a share is what goes with its item."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fitted import asking, named, small_train

from cold_jax.baselines.base import Additive, Person, Terms
from cold_jax.data.dataset import Entities
from cold_jax.data.matrices import binary
from cold_jax.errors import ConfigError
from cold_jax.explanations.closed_form import Known, explain_closed_form
from cold_jax.explanations.explainer import Subject
from cold_jax.explanations.explanation import Explanation
from cold_jax.serving.reasons import Reasons
from cold_jax.serving.recommender import Recommender

SMALL = {"texts": ["title"], "text": "title", "penalties": [2.0], "shrinks": [1.0], "neighbours": [4]}
OF_HISTORY = [
    "ease",
    "ease_popularity",
    "item_knn",
    "content_mean",
    "content_knn",
    "ridge_text",
    "ridge_svd_text",
    "kernel_knn",
    "fold_in",
]
EXTRA: dict[str, dict[str, object]] = {
    "content_knn": {"neighbours": 4},
    "kernel_knn": {"kernel": {"text(title)": 1.0}, "folds": 2},
    "ridge_svd_text": {"ranks": [4]},
    "fold_in": {"rank": 4, "factors": 3},
}
TRAIN = small_train()


def fitted(name: str) -> Any:
    baseline = named(name)
    values = {key: value for key, value in SMALL.items() if hasattr(baseline, key)} | EXTRA.get(name, {})
    return named(name, **values)(TRAIN, asking(TRAIN))


def of(scorer: Any, user: int, history: list[int], item: int) -> float:
    history_UI = binary(np.zeros(len(history), int), np.array(history, int), (1, 20))
    return float(scorer(np.array([user]), history_UI, np.arange(20))[0, item])


@pytest.mark.parametrize("name", OF_HISTORY)
def test_terms_sum_to_the_score(name: str) -> None:
    scorer = fitted(name)
    assert isinstance(scorer, Additive)
    for user, history, item in ((3, [5, 1, 9], 2), (27, [4], 0), (1, [], 7)):
        person = Person(user, TRAIN.user_vectors["profile"][user])
        terms = scorer.terms(person, history, item)
        assert terms.item + terms.profile + terms.share_H.sum() == pytest.approx(of(scorer, user, history, item), abs=1e-6)
        assert len(terms.share_H) == len(history)


@pytest.mark.parametrize("name", [name for name in OF_HISTORY if name != "fold_in"])
def test_a_share_goes_with_its_item(name: str) -> None:
    scorer, history = fitted(name), [5, 1, 9]
    terms = scorer.terms(Person(3, np.zeros(5)), history, 2)
    for n, share in enumerate(terms.share_H):
        others = [item for m, item in enumerate(history) if m != n]
        assert of(scorer, 3, history, 2) - of(scorer, 3, others, 2) == pytest.approx(share, abs=1e-6)


def test_the_fold_in_divides_by_the_root_of_the_history_s_length() -> None:
    scorer, zero = fitted("fold_in"), of(fitted("fold_in"), 3, [], 2)
    terms = scorer.terms(Person(3, TRAIN.user_vectors["profile"][3]), [5, 1, 9], 2)
    alone = [(of(scorer, 3, [item], 2) - zero) / 3**0.5 for item in (5, 1, 9)]
    assert terms.share_H == pytest.approx(alone, abs=1e-6)
    assert terms.item == pytest.approx(zero - terms.profile, abs=1e-6)


def test_the_ridge_on_profiles_names_each_attribute() -> None:
    users = replace(
        TRAIN.users, indicators={"job": np.eye(2, dtype=np.float32)[np.arange(30) % 2]}, values={"job": ("cook", "judge")}
    )
    train = replace(TRAIN, users=users)
    scorer = named("ridge_profile", texts=["profile"], indicators=0.5, penalties=[2.0])(train, asking(train))
    assert isinstance(scorer, Additive)
    terms = scorer.terms(Person(3, np.zeros(5)), [], 2)
    assert {name for name, _ in terms.attributes} == {"profile", "job=judge"}
    assert terms.profile == pytest.approx(sum(value for _, value in terms.attributes))
    assert terms.item + terms.profile == pytest.approx(of(scorer, 3, [], 2), abs=1e-6)
    like_3 = scorer.terms(Person(None, 7 * TRAIN.user_vectors["profile"][3]), [], 2)
    assert [name for name, _ in like_3.attributes] == ["profile"]
    ratio = like_3.attributes[0][1] / dict(terms.attributes)["profile"]
    assert ratio == pytest.approx(1.25**0.5, rel=1e-5)  # [text; ½ · job] is that long, and is scaled to 1


def test_similar_users_who_took_it() -> None:
    scorer = named("profile_knn", text="profile", neighbours=5)(TRAIN, asking(TRAIN))
    assert isinstance(scorer, Additive)
    terms = scorer.terms(Person(27, TRAIN.user_vectors["profile"][27]), [], 2)
    new = scorer.terms(Person(None, TRAIN.user_vectors["profile"][27]), [], 2)
    assert sum(share for _, share in terms.users) == pytest.approx(of(scorer, 27, [], 2))
    assert [u for u, _ in new.users] == [u for u, _ in terms.users]
    assert all(TRAIN.interaction_UI[[u]][:, [2]].toarray()[0, 0] for u, _ in terms.users)


class Fixed:
    """A score of known terms."""

    def __call__(self, *of: Any) -> np.ndarray:
        raise NotImplementedError

    def terms(self, person: Person, history: Any, item: int) -> Terms:
        return Terms(0.25, np.array([1.0, -3.0, 2.5]), 0.5, [("job=cook", 0.5)], [(1, 0.1), (0, -0.4)])


def test_an_explanation_holds_the_terms_by_their_size() -> None:
    users, items = Entities(("a", "b"), {"profile": ("A", "B")}, {}), Entities(tuple("wxyz"), {"line": tuple("WXYZ")}, {})
    unit_ID = np.array([[1.0, 0], [0.6, 0.8], [0, 1], [0.8, 0.6]])
    known = Known(users, items, unit_ID, np.array([True, True, True, False]))
    subject, person = Subject("a", 0, "A", [2, 0, 1], 3), Person(0, np.zeros(1))
    found = explain_closed_form("m", Fixed(), subject, person, known, nearest=2)
    assert [(one.item_id, one.text, one.share) for one in found.shares] == [("w", "W", -3.0), ("x", "X", 2.5), ("y", "Y", 1.0)]
    assert (found.item, found.profile, found.history, found.score) == (0.25, 0.5, 0.5, 1.25)
    assert [(one.user_id, one.text, one.share) for one in found.people] == [("a", "A", -0.4), ("b", "B", 0.1)]
    assert [(one.name, one.share) for one in found.attributes] == [("job=cook", 0.5)]
    assert [(one.item_id, one.in_history) for one in found.nearest] == [("x", True), ("w", True)]


def test_a_run_s_baseline_explains_a_new_user(recommender: Recommender) -> None:
    import copy

    scorer = copy.copy(recommender._scorer)
    baselines = {"item_knn": named("item_knn"), "random": named("random"), "fold_in": named("fold_in", rank=4, factors=3)}
    scorer.settings = scorer.settings._replace(baselines=baselines)
    reasons = Reasons(scorer, lambda: recommender.phi)
    history = [recommender._item(item, "") for item in ("007", "003")]

    def found(method: str) -> Explanation:
        return reasons(recommender._item("050", ""), None, None, "a cook", history, method, 0, 3)

    known = found("item_knn")
    assert (known.method, known.words, known.completeness) == ("item_knn", [], None)
    assert {one.item_id for one in known.shares} == {"007", "003"}
    assert known.score == pytest.approx(sum(one.share for one in known.shares))
    assert found("fold_in").profile != 0
    with pytest.raises(ConfigError, match="method=random is no sum over a user's history or profile"):
        found("random")
    with pytest.raises(ConfigError, match="the run has no baseline 'ease'"):
        found("ease")
