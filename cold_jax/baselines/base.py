"""What a trained model has to beat: popularity, neighbours and closed forms, fitted to the same `TrainView`.

R is the binary matrix of training interactions, c_j the number of item j's, F the entities' features, w marks the warm ones.
Settings are chosen on the validation tasks, or on folds of pseudo-cold items. Most baselines are linear in a user's history H_u:
score_ui = Σ_{j in H_u} W_ji. A user without a history then gets popularity's order, and an item without interactions scores 0
unless its text is read; so every score is finite.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from scipy import sparse

from cold_jax.baselines.features import item_counts
from cold_jax.data.matrices import binarize
from cold_jax.errors import ConfigError
from cold_jax.evaluation import metrics
from cold_jax.evaluation.evaluate import Scorer, select_setting
from cold_jax.splits.tasks import EvalTask, TrainView

Setting = TypeVar("Setting")


Tasks = Mapping[str, EvalTask]


class Baseline:
    """A method that is fitted in one go. Subclasses are frozen dataclasses; their fields are the keys of conf/baseline."""

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        """Fits to the training view; settings are chosen on the validation tasks, or on folds of the training view."""
        raise NotImplementedError

    def needs(self, train: TrainView) -> int:
        """An estimate of the bytes that a fit holds at its peak, beside the data; 0: not much."""
        return 0


def history_scorer(train: TrainView, score: Callable[[sparse.csr_array, np.ndarray], np.ndarray]) -> Scorer:
    """A scorer that reads users' histories; popularity's order for those who have none."""
    count_I = item_counts(train)

    def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        has_history_U = np.diff(history_UI.indptr) > 0
        return np.where(has_history_U[:, None], score(binarize(history_UI), candidate_I), count_I[candidate_I])

    return scorer


def weighted_scorer(train: TrainView, weight_II: np.ndarray | sparse.csr_array, prior_I: np.ndarray) -> Scorer:
    """score_ui = Σ_{j in H_u} W_ji + prior_i."""

    def score(history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        if isinstance(weight_II, np.ndarray):
            return history_UI @ weight_II[:, candidate_I] + prior_I[candidate_I]
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
        if not values or min(value for value in (*values, 0) if value is not None) < 0:
            raise ConfigError(f"baseline.{key}: {list(values)} must hold one value or more, and none below 0")
        object.__setattr__(baseline, key, tuple(values))
    metrics.require_known("baseline.metric", metric)
