"""Personalised search: which item a user means by a query.

    score(u, q, i) = w_1 cos(φ(q), φ(i)) + w_2 BM25(q, i) + w_3 s(u, i)

s is a run's own score of an item for a user, standardised to mean 0 and deviation 1 over the user's candidates, since the spread of
scores differs with the length of a history. φ is the run's encoder. The weights are chosen on validation users, so that a model that
knows nothing of a user gets none. For data without queries, one is made from a held-out item of each user:

    title        a sampled share of the title's words, in their order
    attributes   a sampled share of the other words of the main text (year, genres, categories …)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from cold_jax import seeds
from cold_jax.baselines import lexical
from cold_jax.baselines.sequential import tune_weights
from cold_jax.encoders import Loaded, precomputed
from cold_jax.errors import DataError
from cold_jax.evaluation import metrics
from cold_jax.evaluation.evaluate import Evaluation, EvaluationConfig, Scorer
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView
from cold_jax.text import similarity

KINDS = ("title", "attributes")


class QueryTask(NamedTuple):
    """A task with one target item per user, and the users' queries for it."""

    task: EvalTask
    query_of: Mapping[int, str]  # user → query


@dataclass(frozen=True)
class Search:
    """title: name of the text that is the title. share: of its words, or of the attributes', in a query. grid, metric: to choose the weights by.

    k1, b: as in baselines.lexical.
    """

    title: str
    share: float
    grid: list[float]
    metric: str
    k1: float
    b: float
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", tuple(self.grid))
        if not 0 < self.share <= 1:
            raise ValueError(f"search.share: {self.share} is not a share above 0 and up to 1")
        metrics.require_known("search.metric", self.metric)

    def __call__(self, train: TrainView, phi: Loaded, model: Scorer, validation: Mapping[str, EvalTask]) -> "PersonalizedSearch":
        """Raises DataError where the items have no such text, or the split's tasks are pointwise."""
        return PersonalizedSearch(self, train, phi, model, validation)


class PersonalizedSearch:
    def __init__(self, config: Search, train: TrainView, phi: Loaded, model: Scorer, validation: Mapping[str, EvalTask]):
        titles = train.items.text(config.title, "search.title")
        if not validation or any(task.kind is TaskKind.pointwise for task in validation.values()):
            raise DataError("split: search needs tasks that rank items; the tasks of this split are pointwise")
        self.config, self.phi, self.model = config, phi, model
        main = next(iter(train.items.texts.values()))
        title_IL, line_IL = ([similarity.words(text) for text in texts] for texts in (titles, main))
        self.word_IL = line_IL
        self.query_words = {
            "title": title_IL,
            "attributes": [[w for w in line if w not in title] for line, title in zip(line_IL, title_IL, strict=True)],
        }
        self.index = lexical.bm25_index(line_IL, config.k1, config.b)
        self.vector_ID = precomputed.vectors(phi, phi.tokenize(main, "items"))
        queries = self.make_queries(list(validation.values())[-1], KINDS)  # the task with the longest histories
        members = self.members(queries.query_of)
        terms = {"query": ("vectors", "bm25"), "personal": tuple(members)}
        self.weights = {
            name: tune_weights({member: members[member] for member in names}, config.grid, config.metric, queries.task)[0]
            for name, names in terms.items()
        }

    def make_queries(self, task: EvalTask, kinds: Sequence[str]) -> QueryTask:
        """One of each user's held-out items, and a query for it; kinds alternate. Users whose item has no such words are left out."""
        target_U, query_of, kept = [], {}, []
        for row, user in enumerate(task.user_U):
            draw = seeds.generator(self.config.seed, f"query {task.name} {' '.join(kinds)}", int(user))
            items = task.target_UI.indices[task.target_UI.indptr[row] : task.target_UI.indptr[row + 1]]
            item = int(draw.choice(items))
            words = self.query_words[kinds[row % len(kinds)]][item]
            if words:
                count = math.ceil(self.config.share * len(words))
                query_of[int(user)] = " ".join(words[n] for n in np.sort(draw.permutation(len(words))[:count]))
                target_U.append(item)
                kept.append(row)
        shape = (len(kept), len(self.word_IL))
        target_UI = sparse.csr_array((np.ones(len(kept), np.float32), (np.arange(len(kept)), target_U)), shape=shape)
        return QueryTask(replace(task.of(np.array(kept, np.int64)), target_UI=target_UI), query_of)

    def members(self, query_of: Mapping[int, str]) -> dict[str, Scorer]:
        """A scorer of each term alone."""
        users = list(query_of)
        vector_of = dict(zip(users, precomputed.encode(self.phi, [query_of[user] for user in users], "queries"), strict=True))

        def vectors(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            return np.stack([vector_of[int(user)] for user in user_U]) @ self.vector_ID[candidate_I].T

        def bm25(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            queries = [similarity.words(query_of[int(user)]) for user in user_U]
            scores = [lexical.bm25_scores(self.index, query, len(self.word_IL)) for query in queries]
            return np.stack(scores)[:, candidate_I]

        def model(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            score_UI = np.asarray(self.model(user_U, history_UI, candidate_I), np.float64)
            score_UI -= score_UI.mean(1, keepdims=True)
            return (score_UI / np.maximum(score_UI.std(1, keepdims=True), 1e-12)).astype(np.float32)

        return {"vectors": vectors, "bm25": bm25, "model": model}

    def scorers(self, query_of: Mapping[int, str]) -> dict[str, Scorer]:
        """bm25 and vectors alone, query (their sum), model (s alone), personal (the sum of all three)."""
        members = self.members(query_of)
        sums = {name: _sum({member: members[member] for member in weights}, weights) for name, weights in self.weights.items()}
        return {**members, **sums}

    def evaluate(self, queries: Mapping[str, QueryTask], evaluation: EvaluationConfig) -> dict[str, Evaluation]:
        """Each of the scorers on all tasks."""
        found: dict[str, Evaluation] = {}
        for name, (task, query_of) in queries.items():
            for method, scorer in self.scorers(query_of).items():
                evaluation_of, all_tasks = evaluation(scorer, {name: task}), found.setdefault(method, Evaluation())
                all_tasks.update(evaluation_of)
        return found


def _sum(members: Mapping[str, Scorer], weights: Mapping[str, float]) -> Scorer:
    def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        terms = (
            weights[name] * np.asarray(member(user_U, history_UI, candidate_I))
            for name, member in members.items()
            if weights[name]
        )
        return sum(terms, np.zeros((len(user_U), len(candidate_I)), np.float32))

    return scorer
