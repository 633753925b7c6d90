"""Closed forms for sequences, against scikit-learn and by hand."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from cold_jax.baselines import sequential
from cold_jax.baselines.sequential import History, title_features, transition_weights, tune_weights
from cold_jax.data.dataset import Entities
from cold_jax.data.matrices import binary
from cold_jax.errors import ConfigError, DataError
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView

TITLES = ("red nail polish", "red soap", "blue nail polish", "blue soap", "red nail polish set")


def trained(rows: list[tuple[int, int]]) -> TrainView:
    """Five items with titles; (user, item), each user's in their order."""
    user_N, item_N = np.array(rows).T
    rng = np.random.default_rng(0)
    items = Entities(tuple("abcde"), {"line": TITLES, "title": TITLES}, {"kind": np.eye(5, dtype=np.float32)[[0, 1, 0, 1, 0]]})
    users = Entities(("u", "v", "w"), {}, {})
    warm_I = np.isin(np.arange(5), item_N)
    vectors = {"line": rng.normal(0, 1, (5, 3)).astype(np.float32)}
    one_N = np.ones(len(rows), np.float32)
    return TrainView(
        binary(user_N, item_N, (3, 5)),
        np.ones(3, bool),
        warm_I,
        user_N,
        item_N,
        one_N,
        0 * one_N,
        None,
        None,
        users,
        items,
        vectors,
        {},
    )


SHOWN_UI = sparse.csr_array(np.array([[1, 2, 0, 0, 0], [0, 0, 3, 2, 1]], np.float32))  # u: b then a; v: c, d, e


def history(**changed: Any) -> History:
    settings = {
        "members": ["line"],
        "line": "line",
        "title": "title",
        "decay": 0.7,
        "include_self": False,
        "grid": [0.0, 1.0, 2.0],
    }
    return History(**settings | {"metric": "ndcg@5", "users": 9, "seed": 0} | changed)


@pytest.mark.parametrize("own", [True, False])
def test_the_newest_text_counts_most(own: bool) -> None:
    scorer = history(include_self=own)(trained([(0, 0), (0, 1)]), {})
    vector_IF = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TITLES).toarray()
    cosine_II = vector_IF @ vector_IF.T * (np.ones((5, 5)) if own else 1 - np.eye(5))
    expected_UI = [cosine_II[0] + 0.7 * cosine_II[1], cosine_II[4] + 0.7 * cosine_II[3] + 0.49 * cosine_II[2]]
    np.testing.assert_allclose(scorer(np.arange(2), SHOWN_UI, np.arange(5)), expected_UI, atol=1e-6)
    few_UI = scorer(np.arange(2), SHOWN_UI, np.array([1, 3]))
    np.testing.assert_allclose(few_UI, np.asarray(expected_UI)[:, [1, 3]], atol=1e-6)


def test_transitions_fade_with_distance_and_popularity() -> None:
    train = trained([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)])  # a b c, and a b: counts 2, 2, 1
    weight_II = transition_weights(train).toarray()
    root, fourth = 2**-0.5, 2**-0.25
    expected = {(0, 1): 2 * root * fourth, (1, 0): 2 * 0.5 * root * fourth, (1, 2): root, (2, 1): 0.5 * fourth}
    expected |= {(0, 2): 0.8 * root, (2, 0): 0.8 * 0.5 * fourth}
    for i in range(5):
        for j in range(5):
            assert weight_II[i, j] == pytest.approx(expected.get((i, j), 0)), (i, j)


def test_titles_and_vectors_know_items_that_nobody_took() -> None:
    train = trained([(0, 0), (0, 1), (1, 3), (2, 0)])
    assert not train.warm_I[4]
    title_IF = title_features(train, "title").toarray()
    kernel_II = title_IF @ title_IF.T
    np.testing.assert_array_equal(np.argsort(-kernel_II[4])[:2], [4, 0])
    own_UI = sparse.csr_array(np.eye(5, dtype=np.float32))  # histories of one item
    white_II = history(members=["vectors"], include_self=True)(train, {})(np.arange(5), own_UI, np.arange(5))
    np.testing.assert_allclose(np.diag(white_II), 1, atol=1e-5)
    np.testing.assert_allclose(white_II, white_II.T, atol=1e-6)


def test_vectors_as_they_are_have_their_cosine() -> None:
    train = trained([(0, 0), (0, 1)])
    unit_ID = train.item_vectors["line"] / np.linalg.norm(train.item_vectors["line"], axis=1, keepdims=True)
    train = replace(train, item_vectors={"line": unit_ID.astype(np.float32)})
    cosine_II = unit_ID @ unit_ID.T * (1 - np.eye(5))
    found_UI = history(members=["cosine"])(train, {})(np.arange(2), SHOWN_UI, np.arange(5))
    expected_UI = [cosine_II[0] + 0.7 * cosine_II[1], cosine_II[4] + 0.7 * cosine_II[3] + 0.49 * cosine_II[2]]
    np.testing.assert_allclose(found_UI, expected_UI, atol=1e-5)


def asking(target: list[int]) -> EvalTask:
    """Users u and v with the histories SHOWN_UI; their next items are the targets."""
    none_N, one_N = np.empty(0, np.int64), np.ones(2, np.float32)
    target_UI = sparse.csr_array((one_N, (np.arange(2), target)), shape=(2, 5))
    task = EvalTask(
        "all", TaskKind.next, np.arange(2), SHOWN_UI, target_UI, np.arange(5), none_N, none_N, none_N.astype(np.float32)
    )
    return replace(task, tie_break_I=np.arange(5))


def test_weights_are_those_that_rank_best() -> None:
    """Of three scorers the first is misleading, the second knows the answers, the third is useless: it gets weight 0."""
    part = asking([2, 0])
    right_UI = part.target_UI.toarray()
    draw = np.random.default_rng(0)
    known = {"wrong": -right_UI, "right": 10 * right_UI, "noise": draw.normal(0, 1, (2, 5))}
    scorers = {name: lambda user_U, *_, score_UI=score_UI: score_UI[user_U] for name, score_UI in known.items()}
    weight, reached = tune_weights(scorers, [0, 0.5, 2], "ndcg@5", part)
    assert reached == 1
    assert weight["wrong"] == pytest.approx(1 / right_UI.std())
    assert weight["right"] == pytest.approx(2 / (10 * right_UI).std())
    assert weight["noise"] == 0


def test_a_sum_has_its_members_weights() -> None:
    """What it scores is a combination of what each member scores alone."""
    train, part = trained([(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)]), asking([4, 0])
    members = ["titles", "vectors", "transitions", "popularity"]
    asked = np.arange(2), SHOWN_UI, np.arange(5)
    together_UI = history(members=members)(train, {"all": part})(*asked)
    alone = [np.asarray(history(members=[member])(train, {"all": part})(*asked)).ravel() for member in members]
    weights, (left,) = np.linalg.lstsq(np.stack(alone, 1), np.asarray(together_UI).ravel())[:2]
    assert left < 1e-8
    assert weights[0] > 0
    assert weights.min() > -1e-4


@pytest.mark.parametrize(
    ("changed", "key"), [({"members": ["titels"]}, "baseline.members"), ({"metric": "x"}, "baseline.metric")]
)
def test_a_member_or_metric_that_is_not_known_is_refused(changed: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        history(**changed)


@pytest.mark.parametrize(
    ("changed", "error", "problem"),
    [
        ({"members": []}, ConfigError, r"baseline.members: \[\] scores nothing"),
        ({"members": ["line"], "line": "plot"}, DataError, "baseline.line: the items have no text 'plot'; they have "),
        ({"members": ["titles"], "title": "plot"}, DataError, "baseline.title: the items have no text 'plot'; they have "),
    ],
)
def test_nothing_to_score_by_is_refused(changed: dict[str, Any], error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        history(**changed)(trained([(0, 0), (0, 1), (1, 2)]), {"all": asking([3, 0])})


def test_scores_do_not_depend_on_which_users_and_candidates_are_scored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    train, part = trained([(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)]), asking([4, 0])
    scorer = history(members=["titles", "vectors", "transitions", "popularity"])(train, {"all": part})
    whole_UI = scorer(np.arange(2), SHOWN_UI, np.arange(5))
    monkeypatch.setattr(sequential, "USERS", 1)
    np.testing.assert_allclose(scorer(np.arange(2), SHOWN_UI, np.array([3, 0]))[:, ::-1], whole_UI[:, [0, 3]], rtol=1e-5)


@pytest.mark.parametrize("member", ["line", "titles", "vectors", "cosine", "transitions"])
def test_an_item_has_no_weight_for_itself(member: str) -> None:
    train, alone_UI = trained([(0, 0), (0, 0), (0, 1), (1, 2), (1, 3)]), sparse.csr_array(np.eye(5, dtype=np.float32))
    score_UI = history(members=[member])(train, {})(np.arange(5), alone_UI, np.arange(5))
    np.testing.assert_allclose(np.diag(score_UI), 0, atol=1e-6)
    with_self_UI = history(members=[member], include_self=True)(train, {})(np.arange(5), alone_UI, np.arange(5))
    np.testing.assert_allclose(score_UI + np.diag(np.diag(with_self_UI)), with_self_UI, atol=1e-6)
    assert np.diag(with_self_UI).max() > 0.3


class Lazy(dict[str, np.ndarray]):
    """Vectors that are encoded when they are read, as a run's are."""

    def __init__(self, vectors: Mapping[str, np.ndarray]):
        super().__init__(vectors)
        self.encoded: set[str] = set()

    def __getitem__(self, text: str) -> np.ndarray:
        self.encoded.add(text)
        return super().__getitem__(text)

    def values(self) -> list[np.ndarray]:  # type: ignore[override]
        return [self[text] for text in self]


@pytest.mark.parametrize(("members", "texts"), [(["titles", "transitions"], set()), (["titles", "cosine"], {"line"})])
def test_texts_that_no_member_compares_are_not_encoded(members: list[str], texts: set[str]) -> None:
    train = trained([(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)])
    vectors = Lazy({**train.item_vectors, "plot": np.zeros((5, 3), np.float32)})
    train, baseline = replace(train, item_vectors=vectors), history(members=members)
    assert baseline.needs(train) > 0
    baseline(train, {"all": asking([4, 0])})
    assert vectors.encoded == texts


def test_items_of_one_text_have_the_same_score() -> None:
    """To the bit, wherever they stand, as the order of equal scores is the protocol's. In a plain product the last columns differ."""
    vector_ID = np.random.default_rng(0).normal(0, 1, (97, 33)).astype(np.float32)
    vector_ID[[40, 95, 96]] = vector_ID[3]
    train, texts = trained([(0, 0), (0, 1)]), ("",) * 97
    train = replace(
        train,
        items=Entities(tuple(map(str, range(97))), {"line": texts, "title": texts}, {}),
        item_vectors={"line": vector_ID},
        interaction_UI=sparse.csr_array((3, 97), dtype=np.float32),
    )
    history_UI = sparse.csr_array(
        (np.tile(np.array([1, 2], np.float32), 7), (np.arange(14) // 2, np.arange(14) + 5)), shape=(7, 97)
    )
    for member in ("vectors", "cosine"):
        score_UI = np.asarray(history(members=[member])(train, {})(np.arange(7), history_UI, np.arange(97)))
        np.testing.assert_array_equal(score_UI[:, [40, 95, 96]], score_UI[:, [3, 3, 3]])
        assert len(np.unique(score_UI[0])) > 90


def test_memory_does_not_grow_with_the_square_of_the_items() -> None:
    """200,000 items: a matrix of items × items would be 160 GB."""
    items = 200_000
    rng = np.random.default_rng(0)
    similar = sequential.Products(rng.normal(0, 1, (items, 8)).astype(np.float32), include_self=False)
    history_UI = sparse.csr_array(([1.0, 0.7], ([0, 0], [7, 11])), shape=(1, items), dtype=np.float32)
    expected_I = similar.x_IF @ (similar.x_IF[7] + np.float32(0.7) * similar.x_IF[11])
    score_I = similar.scores(history_UI, np.arange(items))[0]
    others_I = np.delete(np.arange(items), [7, 11])
    np.testing.assert_allclose(score_I[others_I], expected_I[others_I], rtol=1e-4, atol=1e-4)
