"""Personalised search: which item a user means by some words.

    score(u, q, i) = w_1 cos(φ(q), φ(i)) + w_2 BM25(q, i) + w_3 s(u, i)

s is a run's own score of a user, old or new, for an item, old or new, at mean 0 and deviation 1 over the user's candidates: how far scores
spread differs with what a user shows. φ is the run's encoder. The weights are chosen on validation users, so that a
run that says nothing of a user gets none. Where there are no queries, one is made of an item that a user took and the method doesn't see:

    title        a share of the title's words, drawn, in their order
    attributes   a share of the other words of the main text (year, genres, categories …)
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
    """A part whose users each mean one item, and their words."""

    part: EvalTask
    query_of: Mapping[int, str]  # user -> query


@dataclass(frozen=True)
class Search:
    """title: the text of that name. share: of its words, or of the attributes'. grid, metric: for the weights. k1, b: as of lexical.Bm25."""

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
        try:
            metrics.parse(self.metric)
        except ValueError as error:
            raise ValueError(f"search.metric: {error}") from None

    def __call__(self, train: TrainView, phi: Loaded, model: Scorer, validation: Mapping[str, EvalTask]) -> "PersonalizedSearch":
        """Raises DataError where the items have no such text, or a split asks for no order of items."""
        return PersonalizedSearch(self, train, phi, model, validation)


class PersonalizedSearch:
    def __init__(self, config: Search, train: TrainView, phi: Loaded, model: Scorer, validation: Mapping[str, EvalTask]):
        titles = train.items.text(config.title, "search.title")
        if not validation or any(part.kind is TaskKind.pointwise for part in validation.values()):
            raise DataError("split: search is for splits that rank items; this one scores given rows")
        self.config, self.phi, self.model = config, phi, model
        main = next(iter(train.items.texts.values()))
        title_IL, line_IL = ([similarity.words(own) for own in texts] for texts in (titles, main))
        self.word_IL = line_IL
        self.says = {
            "title": title_IL,
            "attributes": [[w for w in line if w not in title] for line, title in zip(line_IL, title_IL, strict=True)],
        }
        self.index = lexical.bm25_index(line_IL, config.k1, config.b)
        self.vector_ID = precomputed.vectors(phi, phi.tokenize(main, "items"))
        chosen = self.asked(list(validation.values())[-1], KINDS)  # of the most that is shown
        members = self.members(chosen.query_of)
        joined = {"query": ("vectors", "bm25"), "personal": tuple(members)}
        self.weights = {
            name: tune_weights({m: members[m] for m in of}, config.grid, config.metric, chosen.part)[0]
            for name, of in joined.items()
        }

    def asked(self, part: EvalTask, kinds: Sequence[str]) -> QueryTask:
        """One item of each user's hidden ones, and words about it; kinds take turns. Users whose item has no such words are left out."""
        target_U, query_of, kept = [], {}, []
        for row, user in enumerate(part.user_U):
            draw = seeds.generator(self.config.seed, f"query {part.name} {' '.join(kinds)}", int(user))
            items = part.target_UI.indices[part.target_UI.indptr[row] : part.target_UI.indptr[row + 1]]
            item = int(draw.choice(items))
            words = self.says[kinds[row % len(kinds)]][item]
            if words:
                count = math.ceil(self.config.share * len(words))
                query_of[int(user)] = " ".join(words[n] for n in np.sort(draw.permutation(len(words))[:count]))
                target_U.append(item)
                kept.append(row)
        shape = (len(kept), len(self.word_IL))
        target_UI = sparse.csr_array((np.ones(len(kept), np.float32), (np.arange(len(kept)), target_U)), shape=shape)
        return QueryTask(replace(part.of(np.array(kept, np.int64)), target_UI=target_UI), query_of)

    def members(self, query_of: Mapping[int, str]) -> dict[str, Scorer]:
        """Each term of the sum alone."""
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
        """bm25 and vectors alone, query (both), model (the user alone), personal (all three)."""
        members = self.members(query_of)
        joined = {name: _sum({m: members[m] for m in weights}, weights) for name, weights in self.weights.items()}
        return {**members, **joined}

    def evaluated(self, asked: Mapping[str, QueryTask], evaluation: EvaluationConfig) -> dict[str, Evaluation]:
        """Each of the scorers on all parts."""
        found: dict[str, Evaluation] = {}
        for name, (part, query_of) in asked.items():
            for method, scorer in self.scorers(query_of).items():
                one, all_parts = evaluation(scorer, {name: part}), found.setdefault(method, Evaluation())
                all_parts.update(one)
        return found


def _sum(members: Mapping[str, Scorer], weights: Mapping[str, float]) -> Scorer:
    def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        parts = (
            weights[name] * np.asarray(one(user_U, history_UI, candidate_I)) for name, one in members.items() if weights[name]
        )
        return sum(parts, np.zeros((len(user_U), len(candidate_I)), np.float32))

    return scorer
