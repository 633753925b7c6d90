"""Scores and parts → metrics of each user, means, comparisons; and the choice of a setting by them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import sparse

from cold_jax.data.matrices import binarize
from cold_jax.evaluation import metrics
from cold_jax.evaluation.ranking import Array, Ranking, rank_candidates
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView

Scorer = Callable[[np.ndarray, sparse.csr_array, np.ndarray], Array]  # (user_U, history_UI, candidate_I) -> score_UI


RowScorer = Callable[[EvalTask], Array]  # -> the part's score_N


Setting = TypeVar("Setting")


@dataclass(frozen=True)
class PointwiseScorer:
    """A scorer with a way of its own to score given rows: it reads more of them than user and item, or need not score all candidates."""

    rows: RowScorer
    candidates: Scorer | None = None  # None: it can't rank

    def __call__(self, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> Array:
        if self.candidates is None:
            raise ValueError("this baseline can't rank candidates; use it where the split asks for given rows alone")
        return self.candidates(user_U, history_UI, candidate_I)


@dataclass(frozen=True)
class Evaluation:
    """A method's results: part → metric → value."""

    users: dict[str, np.ndarray]  # whose values per_user holds: the part's, or of given rows those with both labels
    per_user: dict[str, dict[str, np.ndarray]]
    whole: dict[str, dict[str, float]]  # metrics that are no mean over users
    rankings: dict[str, Ranking]

    def mean(self) -> dict[str, dict[str, float]]:
        """Part → metric → mean over users, or value of the whole."""
        means = {
            part: {name: float(value_U.mean()) for name, value_U in values.items()} for part, values in self.per_user.items()
        }
        return {part: means[part] | self.whole[part] for part in means}


@dataclass(frozen=True)
class EvaluationConfig:
    """Every candidate is ranked. `metric` stops early and chooses settings; `top` places are kept; `draws` of a paired test."""

    metrics: list[str]
    metric: str
    top: int
    chunk: int
    resamples: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(self.metrics))
        for key, size in (("top", self.top), ("chunk", self.chunk), ("draws", self.resamples)):
            if size < 1:
                raise ValueError(f"evaluation.{key}: {size} must be 1 or more")
        try:
            for name in (*({self.metric} - {*metrics.POINTWISE}), *_split(self.metrics)[0]):
                metrics.parse(name)
        except ValueError as error:
            raise ValueError(
                f"evaluation.metrics: {error}, {', '.join(f'{name}@k' for name in metrics.BEYOND_ACCURACY)}"
            ) from None
        if too_far := [f"{name}@{k}" for name, k in _split(self.metrics)[1] if not 1 <= k <= self.top]:
            raise ValueError(f"evaluation.metrics: {too_far[0]} needs places that evaluation.top {self.top} does not keep")
        if self.metric not in (*metrics.POINTWISE, *self.metrics):
            raise ValueError(
                f"evaluation.metric: {self.metric} is none of evaluation.metrics, {', '.join(self.metrics)}; name it there too"
            )

    def __call__(self, scorer: Scorer, parts: Mapping[str, EvalTask]) -> Evaluation:
        return evaluate(scorer, parts, self.metrics, self.top, self.chunk)

    def validate(self, scorer: Scorer, parts: Mapping[str, EvalTask]) -> tuple[float, dict[str, float]]:
        """(mean over the parts of `metric`, that of each part)."""
        return validate(scorer, parts, self.metric, self.chunk)


def _split(names: Sequence[str]) -> tuple[list[str], list[tuple[str, int]]]:
    """(metrics that follow from ranks, those of lists with their k)."""
    of_lists = [name for name in names if re.fullmatch(rf"({'|'.join(metrics.BEYOND_ACCURACY)})@[0-9]+", name)]
    return [name for name in names if name not in of_lists], [(n, int(k)) for n, k in (name.split("@") for name in of_lists)]


def evaluate(
    scorer: Scorer,
    parts: Mapping[str, EvalTask],
    names: Sequence[str],
    top: int,
    chunk: int = 256,
) -> Evaluation:
    """Ranks, or scores given rows, as each part asks.

    Args:
        scorer: gets at most `chunk` users at a time.
        names: metrics of parts that rank; of given rows all are computed.

    Raises:
        FloatingPointError: a score is NaN.
    """
    evaluation = Evaluation({}, {}, {}, {})
    of_ranks, of_lists = _split(names)
    for name, part in parts.items():
        if part.kind is TaskKind.pointwise:
            score_N = score_pointwise(scorer, part, chunk)
            if np.isnan(score_N).any():
                raise FloatingPointError(f"part '{name}': the score of row {int(np.argmax(np.isnan(score_N)))} is NaN")
            user_U, auc_U = metrics.user_auc(score_N, part.value_N, part.user_N)
            evaluation.users[name], evaluation.per_user[name] = user_U, {"uauc": auc_U}
            evaluation.whole[name] = metrics.pointwise(score_N, part.value_N, part.user_N)
            of_items = metrics.item_correlation(score_N, part.value_N, part.user_N, part.item_N)
            evaluation.whole[name] |= {} if of_items is None else {"item_correlation": of_items}
        else:
            ranking = rank_candidates(_of_positions(scorer, part), part, top, chunk)
            offset_U = part.target_UI.indptr
            evaluation.users[name], evaluation.rankings[name] = part.user_U, ranking
            evaluation.per_user[name] = metrics.per_user(ranking.rank_P, offset_U, ranking.candidates_U, of_ranks)
            values, evaluation.whole[name] = _of_lists(part, ranking, of_lists)
            evaluation.per_user[name] |= values
    return evaluation


def _of_lists(
    part: EvalTask, ranking: Ranking, names: Sequence[tuple[str, int]]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """(metrics of each user, of the whole) that need the lists, or who took what."""
    count_I = np.asarray(binarize(part.history_UI).sum(0) + part.target_UI.sum(0))
    candidates = len(part.candidate_I)
    per_user, whole = {}, {}
    for name, k in names:
        match name:
            case "coverage":
                whole[f"coverage@{k}"] = metrics.coverage(ranking.top_UK, k, candidates)
            case "gini":
                whole[f"gini@{k}"] = metrics.gini(ranking.top_UK, k, candidates)
            case "novelty":
                per_user[f"novelty@{k}"] = metrics.novelty(ranking.top_UK, k, count_I, len(part.user_U))
            case _:
                offset_U, count_P = part.target_UI.indptr, count_I[part.target_UI.indices]
                per_user[f"stratified_recall@{k}"] = metrics.stratified_recall(ranking.rank_P, offset_U, count_P, k)
    return per_user, whole


def _of_positions(scorer: Scorer, part: EvalTask) -> Callable[[np.ndarray], Array]:
    sampled_candidate_UI = part.sampled_candidate_UI
    if sampled_candidate_UI is None:
        return lambda position_B: scorer(part.user_U[position_B], part.history_UI[position_B], part.candidate_I)

    def of_own(position_B: np.ndarray) -> np.ndarray:
        score_BI = np.full((len(position_B), len(part.candidate_I)), -np.inf, np.float32)
        for row_I, u in zip(score_BI, position_B, strict=True):
            own_I = sampled_candidate_UI[[u]].indices
            row_I[np.searchsorted(part.candidate_I, own_I)] = np.asarray(scorer(part.user_U[[u]], part.history_UI[[u]], own_I))[0]
        return score_BI

    return of_own


def score_pointwise(scorer: Scorer, part: EvalTask, chunk: int = 256) -> np.ndarray:
    """The scores of a part's given rows, out of those of all candidates where the scorer has no way of its own."""
    if isinstance(scorer, PointwiseScorer):
        return np.asarray(scorer.rows(part))
    user_N, item_N = np.searchsorted(part.user_U, part.user_N), np.searchsorted(part.candidate_I, part.item_N)
    score, score_N = _of_positions(scorer, part), np.empty(len(user_N), np.float32)
    for start in range(0, len(part.user_U), chunk):
        position_B = np.minimum(np.arange(start, start + chunk), len(part.user_U) - 1)
        own_N = user_N // chunk == start // chunk
        score_N[own_N] = np.asarray(score(position_B))[user_N[own_N] - start, item_N[own_N]]
    return score_N


def validate(scorer: Scorer, parts: Mapping[str, EvalTask], metric: str, chunk: int = 256) -> tuple[float, dict[str, float]]:
    """(mean over the parts of one metric, of given rows of uauc where the metric is none of theirs; that of each part, and the rows' accuracy)."""
    means = evaluate(scorer, parts, [] if metric in metrics.POINTWISE else [metric], 1, chunk).mean()
    rows = [name for name, part in parts.items() if part.kind is TaskKind.pointwise]
    if metric in metrics.POINTWISE and len(rows) < len(parts):
        raise ValueError(f"evaluation.metric: {metric} is of given rows, and the split asks for rankings; choose another")
    values = {name: mean.get(metric, mean["uauc"]) if name in rows else mean[metric] for name, mean in means.items()}
    return float(np.mean(list(values.values()))), values | {f"{name} accuracy": means[name]["accuracy"] for name in rows}


def select_setting(
    settings: Sequence[Setting],
    fit: Callable[[Setting, TrainView], Scorer],
    tasks: Iterable[tuple[TrainView, Mapping[str, EvalTask]]],
    metric: str,
    chunk: int = 256,
) -> tuple[Setting, np.ndarray]:
    """(the setting with the best metric, the first of equals; each setting's metric): a mean over tasks and over a task's parts.

    `tasks` is [(train, validation)], or folds of pseudo-cold entities.
    """
    scores = [[validate(fit(setting, train), parts, metric, chunk)[0] for setting in settings] for train, parts in tasks]
    mean_S = np.mean(scores, 0)
    return settings[int(np.argmax(mean_S))], mean_S
