"""Scorers and tasks → metrics of each user and their means; and the choice of a setting by them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import sparse

from cold_jax.data.matrices import binarize
from cold_jax.errors import ConfigError
from cold_jax.evaluation import metrics
from cold_jax.evaluation.ranking import Array, Ranking, rank_candidates
from cold_jax.evaluation.sampling import sample_tasks
from cold_jax.evaluation.statistics import pool_over_runs
from cold_jax.ranges import require
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView

Scorer = Callable[[np.ndarray, sparse.csr_array, np.ndarray], Array]  # (user_U, history_UI, candidate_I) -> score_UI


RowScorer = Callable[[EvalTask], Array]  # -> score_N of the task's rows


Setting = TypeVar("Setting")


@dataclass(frozen=True)
class PointwiseScorer:
    """A scorer with its own way to score a pointwise task: it reads more of a row than user and item, or need not score all candidates."""

    rows: RowScorer
    candidates: Scorer | None = None  # None: it can't rank

    def __call__(self, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> Array:
        if self.candidates is None:
            raise ConfigError("this baseline can't rank candidates; use it with a split of pointwise tasks only")
        return self.candidates(user_U, history_UI, candidate_I)


@dataclass(frozen=True)
class Evaluation:
    """A method's results; all fields are keyed by task."""

    users: dict[str, np.ndarray] = field(default_factory=dict)  # of a ranking task all, of a pointwise one those with both labels
    per_user: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # metric → value of each of `users_of`
    whole: dict[str, dict[str, float]] = field(default_factory=dict)  # metrics that are no mean over users
    rankings: dict[str, Ranking] = field(default_factory=dict)
    left_out: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # metric → those of `users` for whom it is undefined

    def users_of(self, task: str, metric: str) -> np.ndarray:
        """The users whose values per_user[task][metric] holds."""
        left_out_U = self.left_out.get(task, {}).get(metric)
        return self.users[task] if left_out_U is None else self.users[task][~np.isin(self.users[task], left_out_U)]

    def mean(self) -> dict[str, dict[str, float]]:
        """Task → metric → mean over users, or the value of the whole task."""
        means = {
            task: {name: float(value_U.mean()) for name, value_U in values.items()} for task, values in self.per_user.items()
        }
        return {task: means[task] | self.whole[task] for task in means}

    def update(self, other: "Evaluation") -> None:
        """Adds the tasks of another evaluation of the same method."""
        for one in fields(self):
            getattr(self, one.name).update(getattr(other, one.name))


class Validation(NamedTuple):
    """What a step or a setting is chosen by.

    metric: the mean over the tasks; values: that of each task, and the accuracy of pointwise ones; value_U: a value of each user, whose mean
    is the metric, for paired comparisons; None where the metric is no mean over users.
    """

    metric: float
    values: Mapping[str, float]
    value_U: np.ndarray | None = None

    def gain(self, before_U: np.ndarray | None) -> tuple[float, float] | None:
        """(mean difference to the values of the same users, its standard error); None where either has no values, or one user only."""
        if self.value_U is None or before_U is None or len(before_U) < 2:
            return None
        difference_U = self.value_U - before_U
        return float(difference_U.mean()), float(difference_U.std(ddof=1) / len(difference_U) ** 0.5)


@dataclass(frozen=True)
class EvaluationConfig:
    """Every candidate is ranked.

    metric: for early stopping and the choice of settings. top: places kept of each ranking. chunk: users scored at once. resamples: of
    the bootstrap and of the randomisation test. users: how many users of a ranking task are evaluated, drawn at random; None: all.
    """

    metrics: list[str]
    metric: str
    top: int
    chunk: int
    resamples: int
    users: int | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(self.metrics))
        require("evaluation", self, at_least_1=["top", "chunk", "resamples", "users"])
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

    def sample(self, tasks: Mapping[str, EvalTask]) -> dict[str, EvalTask]:
        """The tasks as they are evaluated: with `users` of their users at most."""
        return sample_tasks(tasks, self.users)

    def __call__(self, scorer: Scorer, tasks: Mapping[str, EvalTask]) -> Evaluation:
        return evaluate(scorer, self.sample(tasks), self.metrics, self.top, self.chunk)

    def validate(self, scorer: Scorer, tasks: Mapping[str, EvalTask]) -> Validation:
        """By `metric`."""
        return validate(scorer, self.sample(tasks), self.metric, self.chunk)


def _split(names: Sequence[str]) -> tuple[list[str], list[tuple[str, int]]]:
    """(metrics that follow from ranks, those of lists with their k)."""
    of_lists = [name for name in names if re.fullmatch(rf"({'|'.join(metrics.BEYOND_ACCURACY)})@[0-9]+", name)]
    return [name for name in names if name not in of_lists], [(n, int(k)) for n, k in (name.split("@") for name in of_lists)]


def evaluate(
    scorer: Scorer,
    tasks: Mapping[str, EvalTask],
    names: Sequence[str],
    top: int,
    chunk: int = 256,
    within: int | None = None,
) -> Evaluation:
    """Ranks candidates, or scores rows, by the kind of each task.

    Args:
        scorer: gets at most `chunk` users at a time.
        names: metrics of ranking tasks; of pointwise tasks all are computed.
        within: of `rank_candidates`.

    Raises:
        FloatingPointError: a score is NaN.
    """
    evaluation = Evaluation()
    of_ranks, of_lists = _split(names)
    for name, task in tasks.items():
        if task.kind is TaskKind.pointwise:
            score_N = score_pointwise(scorer, task, chunk)
            if np.isnan(score_N).any():
                raise FloatingPointError(f"part '{name}': the score of row {int(np.argmax(np.isnan(score_N)))} is NaN")
            user_U, auc_U = metrics.user_auc(score_N, task.value_N, task.user_N)
            evaluation.users[name], evaluation.per_user[name] = user_U, {"uauc": auc_U}
            evaluation.whole[name] = metrics.pointwise(score_N, task.value_N, task.user_N)
            correlation = metrics.item_correlation(score_N, task.value_N, task.user_N, task.item_N)
            evaluation.whole[name] |= {} if correlation is None else {"item_correlation": correlation}
        else:
            ranking = rank_candidates(_by_position(scorer, task), task, top, chunk, within)
            offset_U = task.target_UI.indptr
            evaluation.users[name], evaluation.rankings[name] = task.user_U, ranking
            without_U = task.user_U[~metrics.has_negatives(offset_U, ranking.candidates_U)]
            defined = [metric for metric in of_ranks if metric != "auc" or len(without_U) < len(task.user_U)]
            evaluation.left_out[name] = {"auc": without_U} if "auc" in of_ranks and len(without_U) else {}
            evaluation.per_user[name] = metrics.per_user(ranking.rank_P, offset_U, ranking.candidates_U, defined)
            values, evaluation.whole[name] = _of_lists(task, ranking, of_lists)
            evaluation.per_user[name] |= values
    return evaluation


def _of_lists(
    task: EvalTask, ranking: Ranking, names: Sequence[tuple[str, int]]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """(metrics of each user, of the whole task) that need the lists, or items' popularity."""
    count_I = np.asarray(binarize(task.history_UI).sum(0) + task.target_UI.sum(0))
    candidates = len(task.candidate_I)
    per_user, whole = {}, {}
    for name, k in names:
        match name:
            case "coverage":
                whole[f"coverage@{k}"] = metrics.coverage(ranking.top_UK, k, candidates)
            case "gini":
                whole[f"gini@{k}"] = metrics.gini(ranking.top_UK, k, candidates)
            case "novelty":
                per_user[f"novelty@{k}"] = metrics.novelty(ranking.top_UK, k, count_I, len(task.user_U))
            case _:
                offset_U, count_P = task.target_UI.indptr, count_I[task.target_UI.indices]
                per_user[f"stratified_recall@{k}"] = metrics.stratified_recall(ranking.rank_P, offset_U, count_P, k)
    return per_user, whole


def _by_position(scorer: Scorer, task: EvalTask) -> Callable[[np.ndarray], Array]:
    """Positions in task.user_U → scores of task.candidate_I, −inf outside a user's own candidates."""
    sampled_candidate_UI = task.sampled_candidate_UI
    if sampled_candidate_UI is None:
        return lambda position_B: scorer(task.user_U[position_B], task.history_UI[position_B], task.candidate_I)

    def of_own(position_B: np.ndarray) -> np.ndarray:
        score_BI = np.full((len(position_B), len(task.candidate_I)), -np.inf, np.float32)
        for row_I, u in zip(score_BI, position_B, strict=True):
            own_I = sampled_candidate_UI[[u]].indices
            row_I[np.searchsorted(task.candidate_I, own_I)] = np.asarray(scorer(task.user_U[[u]], task.history_UI[[u]], own_I))[0]
        return score_BI

    return of_own


def score_pointwise(scorer: Scorer, task: EvalTask, chunk: int = 256) -> np.ndarray:
    """The scores of a pointwise task's rows, taken from those of all candidates where the scorer has no way of its own."""
    if isinstance(scorer, PointwiseScorer):
        return np.asarray(scorer.rows(task))
    user_N, item_N = np.searchsorted(task.user_U, task.user_N), np.searchsorted(task.candidate_I, task.item_N)
    score, score_N = _by_position(scorer, task), np.empty(len(user_N), np.float32)
    for start in range(0, len(task.user_U), chunk):
        position_B = np.minimum(np.arange(start, start + chunk), len(task.user_U) - 1)
        own_N = user_N // chunk == start // chunk
        score_N[own_N] = np.asarray(score(position_B))[user_N[own_N] - start, item_N[own_N]]
    return score_N


def validate(scorer: Scorer, tasks: Mapping[str, EvalTask], metric: str, chunk: int = 256) -> Validation:
    """The tasks by one metric. Of a pointwise task it is uauc where the metric is for rankings.

    Raises:
        ValueError: a ranking task has no value of the metric.
    """
    names = [] if metric in metrics.POINTWISE else [metric]
    evaluation = evaluate(scorer, tasks, names, 1, chunk, metrics.parse(metric)[1] if names else None)
    means = evaluation.mean()
    pointwise = [name for name, task in tasks.items() if task.kind is TaskKind.pointwise]
    if metric in metrics.POINTWISE and len(pointwise) < len(tasks):
        raise ConfigError(f"evaluation.metric: {metric} is for pointwise tasks, and the split ranks candidates; choose another")
    for name, mean in means.items():
        if name not in pointwise and metric not in mean:
            raise ConfigError(
                f"evaluation.metric: {metric} is undefined in '{name}', whose users took every candidate; choose another"
            )
    used = {name: metric if name not in pointwise or metric in mean else "uauc" for name, mean in means.items()}
    values = {name: means[name][metric] for name, metric in used.items()}
    accuracy = {f"{name} accuracy": means[name]["accuracy"] for name in pointwise}
    return Validation(float(np.mean(list(values.values()))), values | accuracy, _of_users(evaluation, used))


def _of_users(evaluation: Evaluation, metric_of: Mapping[str, str]) -> np.ndarray | None:
    """A value of each user over the tasks, whose mean is the mean over tasks; None where a metric is of a whole task."""
    if any(metric not in evaluation.per_user[task] for task, metric in metric_of.items()):
        return None
    value_T = [evaluation.per_user[task][metric] for task, metric in metric_of.items()]
    user_T = [evaluation.users_of(task, metric) for task, metric in metric_of.items()]
    task_T = [np.full(len(value_U), t) for t, value_U in enumerate(value_T)]
    return pool_over_runs(np.concatenate(value_T), np.concatenate(user_T), np.concatenate(task_T))


def select_setting(
    settings: Sequence[Setting],
    fit: Callable[[Setting, TrainView], Scorer],
    tasks: Iterable[tuple[TrainView, Mapping[str, EvalTask]]],
    metric: str,
    chunk: int = 256,
) -> tuple[Setting, np.ndarray]:
    """(the setting with the best metric, the first of equals; each setting's metric): a mean over pairs, and over a pair's tasks.

    `tasks` is [(train, validation)], or folds of pseudo-cold entities.
    """
    scores = [[validate(fit(setting, train), of_train, metric, chunk)[0] for setting in settings] for train, of_train in tasks]
    mean_S = np.mean(scores, 0)
    return settings[int(np.argmax(mean_S))], mean_S
