"""Ridge regressions from text to interactions or to collaborative factors."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import sparse

from cold_jax.baselines import closed_forms
from cold_jax.baselines.base import Baseline, Tasks, check_grids, history_scorer, tuned
from cold_jax.baselines.features import feature_count, feature_matrix
from cold_jax.baselines.memory import DOUBLE
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.tasks import TrainView


@dataclass(frozen=True)
class RidgeText(Baseline):
    """S = R F_w (F_wᵀF_w + λI)⁻¹ Fᵀ, a ridge for each user on the features of items (reference recipe)."""

    texts: list[str]
    indicators: float
    constant: float
    penalties: list[float]
    metric: str

    def __post_init__(self) -> None:
        check_grids(self, self.metric, penalties=self.penalties)

    def needs(self, train: TrainView) -> int:
        features = feature_count(train, "items", self.texts)
        return DOUBLE * features * (5 * len(train.items) + 3 * features)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        feature_IF = feature_matrix(train, "items", self.texts, self.indicators, self.constant)

        def fit(train: TrainView) -> Callable[[float], Scorer]:
            warm = train.warm_I.astype(np.float64)
            maps = closed_forms.ridge_maps(feature_IF * warm[:, None], sparse.diags_array(warm))

            def of_penalty(penalty: float) -> Scorer:
                source_IF = maps(penalty).T
                return history_scorer(train, lambda history_UI, candidate_I: history_UI @ source_IF @ feature_IF[candidate_I].T)

            return of_penalty

        return tuned(fit, self.penalties, train, [(train, validation)], self.metric)


@dataclass(frozen=True)
class RidgeSvd(Baseline):
    """S = P (F B)ᵀ, P and Q of `svd_factors`, B the ridge of Q_w on F_w: from text to collaborative factors (reference recipe).

    Warm items keep their Q. Where `folds` is a number, rank and λ are chosen on so many folds of pseudo-cold items, drawn by
    `seed`; where it is None, on the validation parts.
    """

    texts: list[str]
    indicators: float
    constant: float
    ranks: list[int]
    penalties: list[float]
    metric: str
    folds: int | None
    seed: int

    def __post_init__(self) -> None:
        check_grids(self, self.metric, ranks=self.ranks, penalties=self.penalties)

    def needs(self, train: TrainView) -> int:
        features = feature_count(train, "items", self.texts)
        return DOUBLE * features * (5 * len(train.items) + 3 * features)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        feature_IF = feature_matrix(train, "items", self.texts, self.indicators, self.constant)

        def fit(train: TrainView) -> Callable[[tuple[int, float]], Scorer]:
            # columns of P are orthogonal, so the solutions of a smaller rank are the first columns of a larger one's
            source_IV, target_IV = closed_forms.svd_factors(train.interaction_UI, max(self.ranks))
            maps = closed_forms.ridge_maps(feature_IF[train.warm_I], target_IV[train.warm_I])

            def of_setting(setting: tuple[int, float]) -> Scorer:
                rank, penalty = setting
                item_IV = np.where(train.warm_I[:, None], target_IV, feature_IF @ maps(penalty))[:, :rank]
                return history_scorer(
                    train, lambda history_UI, candidate_I: history_UI @ source_IV[:, :rank] @ item_IV[candidate_I].T
                )

            return of_setting

        tasks = [(train, validation)] if self.folds is None else pseudo_cold_folds(train, "items", self.folds, self.seed, ())
        return tuned(fit, list(product(self.ranks, self.penalties)), train, tasks, self.metric)


@dataclass(frozen=True)
class RidgeProfile(Baseline):
    """S = F (F_wᵀF_w + λI)⁻¹ F_wᵀ R, F of users: from profile to items, whatever their history (reference recipe)."""

    texts: list[str]
    indicators: float
    constant: float
    penalties: list[float]
    metric: str

    def __post_init__(self) -> None:
        check_grids(self, self.metric, penalties=self.penalties)

    def needs(self, train: TrainView) -> int:
        features = feature_count(train, "users", self.texts)
        return DOUBLE * features * (4 * len(train.users) + 4 * len(train.items) + 3 * features)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        feature_UF = feature_matrix(train, "users", self.texts, self.indicators, self.constant)

        def fit(train: TrainView) -> Callable[[float], Scorer]:
            maps = closed_forms.ridge_maps(feature_UF[train.warm_U], train.interaction_UI[train.warm_U])

            def of_penalty(penalty: float) -> Scorer:
                map_FI = maps(penalty)
                return lambda user_U, history_UI, candidate_I: feature_UF[user_U] @ map_FI[:, candidate_I]

            return of_penalty

        return tuned(fit, self.penalties, train, [(train, validation)], self.metric)
