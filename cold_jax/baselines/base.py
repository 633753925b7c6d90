"""What a trained model has to beat: popularity, neighbours and closed forms, fitted to the same `TrainView`.

R is the binary matrix of training interactions, c_j the number of item j's, F the entities' features, w marks the warm ones.
Settings are chosen on the validation tasks, or on folds of pseudo-cold items. Most baselines are linear in a user's history H_u:
score_ui = Σ_{j in H_u} W_ji. A user without a history then gets popularity's order, and an item without interactions scores 0
unless its text is read; so every score is finite.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from scipy import sparse

from cold_jax.baselines.features import item_counts
from cold_jax.data.matrices import binarize
from cold_jax.errors import ConfigError
from cold_jax.evaluation import metrics
from cold_jax.evaluation.evaluate import Scorer, select_setting
from cold_jax.splits.tasks import EvalTask, TrainView

Setting = TypeVar("Setting")
Taken = TypeVar("Taken")


Tasks = Mapping[str, EvalTask]


class Baseline:
    """A method that is fitted in one go. Subclasses are frozen dataclasses; their fields are the keys of conf/baseline."""

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        """Fits to the training view; settings are chosen on the validation tasks, or on folds of the training view."""
        raise NotImplementedError

    def needs(self, train: TrainView) -> int:
        """An estimate of the bytes that a fit holds at its peak, beside the data; 0: not much."""
        return 0


class Person(NamedTuple):
    """A user whose score is explained."""

    number: int | None  # integer id in the data; None: a new user, or one with another profile
    profile_D: np.ndarray  # θ's vector of their main text


@dataclass(frozen=True)
class Terms:
    """A score as a sum: item + profile + Σ share_H."""

    item: float  # of the item, whoever the user is
    share_H: np.ndarray  # of each item of the history
    profile: float = 0.0
    attributes: list[tuple[str, float]] = field(default_factory=list)  # (what of the profile, its part of `profile`)
    users: list[tuple[int, float]] = field(default_factory=list)  # (a training user, their part of `profile`)


@runtime_checkable
class Additive(Protocol):
    """A scorer whose score is a sum over the history, or over what the profile holds."""

    def terms(self, person: Person, history: Sequence[int], item: int) -> Terms: ...


@dataclass(frozen=True)
class HistoryScorer:
    """A scorer that reads users' histories, binary, and is linear in them; popularity's order for those who have none."""

    count_I: np.ndarray
    score: Callable[[sparse.csr_array, np.ndarray], np.ndarray]

    def __call__(self, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        has_history_U = np.diff(history_UI.indptr) > 0
        return np.where(has_history_U[:, None], self.score(binarize(history_UI), candidate_I), self.count_I[candidate_I])

    def terms(self, person: Person, history: Sequence[int], item: int) -> Terms:
        if not history:
            return Terms(float(self.count_I[item]), np.zeros(0))
        H, shape = len(history), (len(history) + 1, len(self.count_I))
        alone_UI = sparse.csr_array((np.ones(H), (np.arange(H), np.asarray(history))), shape=shape)  # and an empty one
        score_U = np.asarray(self.score(alone_UI, np.array([item])), np.float64)[:, 0]
        return Terms(float(score_U[-1]), score_U[:-1] - score_U[-1])


def of_candidates(take: Callable[[np.ndarray], Taken]) -> Callable[[np.ndarray], Taken]:
    """`take` with its last result kept: all chunks of a task have the same candidates, in the same array."""
    last: tuple[np.ndarray, Taken] | None = None

    def taken(candidate_I: np.ndarray) -> Taken:
        nonlocal last
        now = last
        if now is None or now[0] is not candidate_I:
            last = now = candidate_I, take(candidate_I)
        return now[1]

    return taken


def history_scorer(train: TrainView, score: Callable[[sparse.csr_array, np.ndarray], np.ndarray]) -> HistoryScorer:
    """Of (binary history_UI, candidate_I) → scores, which are linear in the history but for a constant of each item."""
    return HistoryScorer(item_counts(train), score)


def weighted_scorer(train: TrainView, weight_II: np.ndarray | sparse.csr_array, prior_I: np.ndarray) -> Scorer:
    """score_ui = Σ_{j in H_u} W_ji + prior_i."""

    everything_I = np.arange(len(prior_I))

    def columns(candidate_I: np.ndarray) -> np.ndarray:
        """Contiguous, else scipy makes such a copy in every product."""
        return np.ascontiguousarray(weight_II if np.array_equal(candidate_I, everything_I) else weight_II[:, candidate_I])

    weight_of = of_candidates(columns)

    def score(history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        if isinstance(weight_II, np.ndarray):
            return history_UI @ weight_of(candidate_I) + prior_I[candidate_I]
        return sparse.csr_array(history_UI @ weight_II)[:, candidate_I].toarray() + prior_I[candidate_I]

    return history_scorer(train, score)


def tuned(
    fit: Callable[[TrainView], Callable[[Setting], Scorer]],
    settings: Sequence[Setting],
    train: TrainView,
    tasks: Iterable[tuple[TrainView, Tasks]],
    metric: str,
) -> Scorer:
    """The scorer of the setting that is best over the tasks; `fit(train)` holds what its settings have in common."""
    fitted = fit(train)
    if len(settings) == 1:
        return fitted(settings[0])
    scores = []
    for known, parts in tasks:
        at = fitted if known is train else fit(known)
        scores.append(select_setting(settings, lambda setting, _, at=at: at(setting), [(known, parts)], metric)[1])
    return fitted(settings[int(np.argmax(np.mean(scores, 0)))])


def check_grids(baseline: object, metric: str, **grids: Sequence[float | None]) -> None:
    """Lists become tuples; ConfigError with the key where one is empty or holds a number below 0, or the metric is unknown."""
    for key, values in grids.items():
        if not values or not all(value >= 0 for value in values if value is not None):
            raise ConfigError(f"baseline.{key}: {list(values)} must hold one value or more, and none below 0")
        object.__setattr__(baseline, key, tuple(values))
    metrics.require_known("baseline.metric", metric)
