"""Which words a query has, how the terms are summed, and that the weights find a signal that is planted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import small
from scipy import sparse
from sklearn.preprocessing import scale

from cold_jax import experiment
from cold_jax.errors import DataError
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.models.personalized_search import KINDS, PersonalizedSearch, Search
from cold_jax.splits.tasks import EvalTask, TaskKind
from cold_jax.text import similarity

SEARCH = Search(title="title", share=0.5, grid=[0.0, 0.5, 2.0, 8.0], metric="mrr", k1=1.5, b=0.75, seed=0)


def ignorant(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
    """Random scores, for each user their own."""
    return np.stack([np.random.default_rng(int(u)).random(1000) for u in user_U])[:, candidate_I]


def oracle(task: EvalTask) -> Scorer:
    """The user's held-out items above all others."""
    hidden = {int(u): task.target_UI[[row]].toarray()[0] for row, u in enumerate(task.user_U)}
    return lambda user_U, history_UI, candidate_I: np.stack([hidden[int(u)] for u in user_U])[:, candidate_I]


@pytest.fixture(scope="module")
def task(prepared: experiment.Prepared) -> EvalTask:
    return prepared.split.test["cold"]


def searcher(q: experiment.Prepared, model: Scorer, task: EvalTask, **values: Any) -> PersonalizedSearch:
    return replace(SEARCH, **values)(q.train, q.loaded, model, {"cold": task})


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_is_some_words_of_a_held_out_item(prepared: experiment.Prepared, task: EvalTask, kind: str) -> None:
    found = searcher(prepared, ignorant, task).make_queries(task, [kind])
    titles, lines = prepared.train.items.texts["title"], next(iter(prepared.train.items.texts.values()))
    assert len(found.query_of) == len(found.task.user_U) > 5
    for row, user in enumerate(found.task.user_U):
        (item,) = np.flatnonzero(found.task.target_UI[[row]].toarray()[0])
        (place,) = np.flatnonzero(task.user_U == user)
        assert task.target_UI[[place], [item]] == 1
        title, words = similarity.words(titles[item]), found.query_of[int(user)].split()
        others = [word for word in similarity.words(lines[item]) if word not in title]
        of = title if kind == "title" else others
        assert len(words) == -(-len(of) // 2)
        rest = iter(of)
        assert all(word in rest for word in words)  # in their order
    again = searcher(prepared, ignorant, task).make_queries(task, [kind])
    assert again.query_of == found.query_of


def test_users_whose_item_has_no_other_words_are_left_out(prepared: experiment.Prepared, task: EvalTask) -> None:
    titles = dict.fromkeys(("line", "title"), prepared.train.items.texts["title"])
    only = replace(prepared.train, items=replace(prepared.train.items, texts=titles))
    one = SEARCH(only, prepared.loaded, ignorant, {"cold": task})
    assert not one.make_queries(task, ["attributes"]).query_of
    assert one.make_queries(task, ["title"]).query_of


def test_terms_are_summed_with_their_weights(prepared: experiment.Prepared, task: EvalTask) -> None:
    one = searcher(prepared, ignorant, task)
    queries = one.make_queries(task, ["title"])
    of = (queries.task.user_U, queries.task.history_UI, queries.task.candidate_I)
    scores = {name: np.asarray(scorer(*of)) for name, scorer in one.scorers(queries.query_of).items()}
    for name, weights in one.weights.items():
        expected = sum(weight * scores[member] for member, weight in weights.items())
        np.testing.assert_allclose(scores[name], expected, rtol=1e-5, atol=1e-6)
    assert "model" not in one.weights["query"]
    plain_UI = ignorant(*of)
    np.testing.assert_allclose(scores["model"], scale(plain_UI, axis=1), rtol=1e-4, atol=1e-5)
    title = queries.query_of[int(queries.task.user_U[0])]
    bm25_I = np.asarray(
        one.members({0: title})["bm25"](np.array([0]), queries.task.history_UI[[0]], np.arange(len(one.word_IL)))
    )[0]
    has = [bool(set(title.split()) & set(words)) for words in one.word_IL]
    np.testing.assert_array_equal(bm25_I > 0, has)


def test_a_model_that_knows_the_user_gets_a_weight(prepared: experiment.Prepared, task: EvalTask) -> None:
    evaluation = replace(small.SETTINGS.evaluation, metrics=["mrr"], metric="mrr", top=10, resamples=10)
    found = {}
    for name, model in (("ignorant", ignorant), ("oracle", oracle(task))):
        one = searcher(prepared, model, task)
        done = one.evaluate({"cold": one.make_queries(task, ["title"])}, evaluation)  # half say just "film"
        found[name] = done["personal"].mean()["cold"]["mrr"] - done["query"].mean()["cold"]["mrr"]
    assert found["oracle"] > max(found["ignorant"], 0) + 0.03
    assert abs(found["ignorant"]) < 0.1


def test_impossible_settings_are_refused(prepared: experiment.Prepared, task: EvalTask) -> None:
    with pytest.raises(DataError, match="no text 'plot'"):
        searcher(prepared, ignorant, task, title="plot")
    with pytest.raises(DataError, match="the tasks of this split are pointwise"):
        searcher(prepared, ignorant, replace(task, kind=TaskKind.pointwise))
    with pytest.raises(ValueError, match=r"search.share: 0 is not a share"):
        replace(SEARCH, share=0)
    with pytest.raises(ValueError, match=r"search.metric"):
        replace(SEARCH, metric="fame")
