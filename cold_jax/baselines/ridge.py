"""Ridge regressions from text to interactions or to collaborative factors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from scipy import sparse

from cold_jax.baselines import closed_forms
from cold_jax.baselines.base import Baseline, Person, Tasks, Terms, check_grids, history_scorer, of_candidates, tuned
from cold_jax.baselines.features import feature_count, feature_matrix, feature_names
from cold_jax.baselines.memory import DOUBLE
from cold_jax.data.matrices import normalize_rows
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.ranges import require
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
        require("baseline", self, at_least_0=["indicators", "constant"])

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
        require("baseline", self, at_least_0=["indicators", "constant"], at_least_1=["folds"])

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
        require("baseline", self, at_least_0=["indicators", "constant"])

    def needs(self, train: TrainView) -> int:
        features = feature_count(train, "users", self.texts)
        return DOUBLE * features * (4 * len(train.users) + 4 * len(train.items) + 3 * features)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        feature_UF = feature_matrix(train, "users", self.texts, self.indicators, self.constant)

        def fit(train: TrainView) -> Callable[[float], Scorer]:
            maps = closed_forms.ridge_maps(feature_UF[train.warm_U], train.interaction_UI[train.warm_U])
            return lambda penalty: ProfileRidgeScorer(feature_UF, maps(penalty), names, self.texts, self.constant)

        names = feature_names(train, "users", self.texts)
        return tuned(fit, self.penalties, train, [(train, validation)], self.metric)


@dataclass(frozen=True)
class ProfileRidgeScorer:
    feature_UF: np.ndarray
    map_FI: np.ndarray
    names: list[str]  # of features.feature_names
    texts: list[str]
    constant: float

    def __call__(self, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        return self.feature_UF[user_U] @ self._map_of(candidate_I)

    @cached_property
    def _map_of(self) -> Callable[[np.ndarray], np.ndarray]:
        return of_candidates(lambda candidate_I: self.map_FI[:, candidate_I])

    def terms(self, person: Person, history: Sequence[int], item: int) -> Terms:
        """The constant's is the item's; a text's is one, and so is each attribute's. A new user has no attributes."""
        if person.number is not None:
            feature_F = self.feature_UF[person.number]
        elif len(self.texts) == 1:
            feature_F = np.zeros(len(self.names))
            feature_F[: len(person.profile_D)], feature_F[-1] = normalize_rows(person.profile_D[None])[0], self.constant
        else:
            raise ConfigError(
                f"explain: a new user has one text, and this ridge reads {', '.join(self.texts) or 'attributes alone'}; "
                "give a user of the data, as in --user ID"
            )
        part: dict[str, float] = {}
        for name, value in zip(self.names, feature_F * self.map_FI[:, item], strict=True):
            if value:
                part[name] = part.get(name, 0.0) + float(value)
        item_part = part.pop("constant", 0.0)
        attributes = sorted(part.items(), key=lambda pair: -abs(pair[1]))
        return Terms(item_part, np.zeros(len(history)), sum(part.values()), attributes)
