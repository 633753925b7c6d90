"""A trained model's scores, alone or joined with closed forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from cold_jax.baselines.base import check_grids
from cold_jax.baselines.kernels import UserGP
from cold_jax.baselines.rating_gp import RatingGP, logistic
from cold_jax.baselines.sequential import History, sample_users
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import PointwiseScorer, Scorer, score_pointwise, select_setting, validate
from cold_jax.ranges import require
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView

TEXTS = ["titles", "vectors"]  # the members that know new items


@dataclass(frozen=True)
class SingleModel:
    """The model's own scores."""

    def __call__(self, model: Scorer, train: TrainView, validation: Mapping[str, EvalTask]) -> Scorer:
        return model


@dataclass(frozen=True)
class HistoryEnsemble(History):
    """The model beside the closed forms for sequences, weights chosen on validation, the model's being 1.

    cold_item_boost, tolerance: see `boost_cold_items`, whose similarity is that of titles and vectors.
    """

    cold_item_boost: list[float]
    tolerance: float

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "cold_item_boost", tuple(self.cold_item_boost))
        if not self.cold_item_boost:
            raise ValueError("ensemble.cold_item_boost: give one size or more; [0.0] boosts nothing")
        require("ensemble", self, at_least_0=["cold_item_boost"], fractions=["tolerance"])

    def __call__(self, model: Scorer, train: TrainView, validation: Mapping[str, EvalTask]) -> Scorer:  # type: ignore[override]
        if self.cold_item_boost == (0,):
            return self.fit(train, validation, self.similarities(train, self.members), {"model": model})
        similarities = self.similarities(train, dict.fromkeys([*self.members, *TEXTS]))
        joined = self.fit(train, validation, similarities, {"model": model})
        text = replace(self, members=TEXTS).fit(train, validation, similarities, {})
        sample = sample_users(validation, self.users, self.seed)
        return boost_cold_items(
            joined, text, ~train.warm_I, validation["all"], sample, self.cold_item_boost, self.metric, self.tolerance
        )


@dataclass(frozen=True)
class RatingEnsemble(RatingGP):
    """The model beside a Gaussian process over ratings, for pointwise tasks: a logistic regression on both, fitted to the validation rows."""

    def __call__(self, model: Scorer, train: TrainView, validation: Mapping[str, EvalTask]) -> Scorer:  # type: ignore[override]
        scorers = model, super().__call__(train, validation)
        if not validation or next(iter(validation.values())).kind is not TaskKind.pointwise:
            raise ConfigError("ensemble: rating_gp is for pointwise tasks, with rows of validation; use split=item_cold_ratings")
        task = next(iter(validation.values()))

        def stacked(task: EvalTask) -> np.ndarray:
            return np.stack([score_pointwise(scorer, task) for scorer in scorers], 1)

        score_NF = stacked(task)
        scale_F = np.maximum(score_NF.std(0), 1e-12)
        weight_F, bias = logistic(score_NF / scale_F, task.value_N, ridge=1.0)
        return PointwiseScorer(lambda task: stacked(task) / scale_F @ weight_F + bias)


@dataclass(frozen=True)
class UserGPEnsemble(UserGP):
    """z(model) + w z(process), z a score less its mean over a user's candidates at unit standard deviation, w of `weights` by validation."""

    weights: list[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grids(self, self.metric, weights=self.weights)

    def __call__(self, model: Scorer, train: TrainView, validation: Mapping[str, EvalTask]) -> Scorer:  # type: ignore[override]
        if not validation or any(task.kind is not TaskKind.rank for task in validation.values()):
            raise ConfigError(
                "ensemble: user_gp is for lists, with validation users by which its weight is chosen; use split=user_cold"
            )
        process = super().__call__(train, validation)

        def joined(weight: float) -> Scorer:
            def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
                own_UI, of_process_UI = (_standardized(one(user_U, history_UI, candidate_I)) for one in (model, process))
                return own_UI + weight * of_process_UI

            return scorer

        weight, _ = select_setting(self.weights, lambda weight, _: joined(weight), [(train, validation)], self.metric)
        return joined(weight)


def _standardized(score_UI: object) -> np.ndarray:
    score_UI = np.asarray(score_UI, np.float64)
    return (score_UI - score_UI.mean(1, keepdims=True)) / np.maximum(score_UI.std(1, keepdims=True), 1e-12)


def boost_cold_items(
    scorer: Scorer,
    text: Scorer,
    new_I: np.ndarray,
    task: EvalTask,
    sample: EvalTask,
    cold_item_boost: Sequence[float],
    metric: str,
    tolerance: float,
) -> Scorer:
    """s_ui + w (1 + t_ui) for new items, s and the similarity of texts t at unit standard deviation.

    A model ranks items without training interactions too low. w is the weight that ranks the new items among the targets best,
    of those that lose no more than a share `tolerance` of the metric over a `sample` of its users.
    """
    inputs = sample.user_U[:512], sample.history_UI[:512], sample.candidate_I
    own, of_text = (float(np.asarray(one(*inputs)).std()) or 1.0 for one in (scorer, text))  # 0: all items are alike

    def at(weight: float) -> Scorer:
        def boosted(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            score_UI, text_UI = (np.asarray(one(user_U, history_UI, candidate_I)) for one in (scorer, text))
            return score_UI / own + weight * new_I[candidate_I] * (1 + text_UI / of_text)

        return boosted

    new_U = new_I[task.target_UI.indices]  # each user has one positive
    if not new_U.any():
        return scorer
    whole, apart = ([validate(at(w), {"all": one}, metric)[0] for w in cold_item_boost] for one in (sample, task.of(new_U)))
    allowed = [n for n, reached in enumerate(whole) if reached >= (1 - tolerance) * max(whole)]
    return at(cold_item_boost[max(allowed, key=lambda n: apart[n])])
