"""Closed forms with kernels: over items, of text and attributes; over users, of profile and support.

R is the binary matrix of training interactions, c_j the number of item j's; w marks the warm entities, * those that are scored.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy import sparse
from scipy.linalg import eigh, solve

from cold_jax.baselines import blocks, closed_forms
from cold_jax.baselines.base import Baseline, Tasks, check_grids, history_scorer, tuned
from cold_jax.baselines.features import earliest_history, item_counts, item_gram, profile_vectors
from cold_jax.baselines.gram import gram
from cold_jax.baselines.item_item import ease_weights
from cold_jax.baselines.memory import DOUBLE
from cold_jax.baselines.neighbours import top_weights
from cold_jax.data.matrices import normalize_rows
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import Scorer, validate
from cold_jax.ranges import require
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.tasks import TrainView

DAY = 86_400.0  # seconds
PENALTY = "λ"  # beside the blocks' names
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ItemKernel(Baseline):
    """S = W (K_ww + λI)⁻¹ K_w*, K of `blocks`, W = A Aᵀ (A Aᵀ + ρI)⁻¹ R, A = R diag(c + 1)^-½: a kernel ridge on softly filtered users.

    Where ρ is None, W = R: a kernel ridge for each user. Since A Aᵀ (A Aᵀ + ρI)⁻¹ = A (Aᵀ A + ρI)⁻¹ Aᵀ, scores are linear in a user's history H_u.
    Where `popularity_scaled` is true, share × popularity, with y_j = (c_j + 10)^½ and their mean m:

        S = [W diag(c + 10)^-½ (K_ww + λI)⁻¹ K_w*] · max(m + (y − m)(K_ww + ½λI)⁻¹ K_w*, 0.3)

    Where `grid` holds numbers, each block's weight is chosen from it, and then λ, one after another, by folds of pseudo-cold items;
    `kernel` is where this begins. Where `folds` is None the split's cold validation items take their place: an encoder that was trained on
    the training interactions knows the pseudo-cold items.
    """

    kernel: dict[str, float]
    shrink: float | None  # ρ
    popularity_scaled: bool
    penalties: list[float]
    grid: list[float]
    metric: str
    folds: int | None
    seed: int

    def __post_init__(self) -> None:
        check_grids(self, self.metric, penalties=self.penalties)
        blocks.check_formula(self.kernel, "baseline.kernel")
        require("baseline", self, at_least_0=["shrink", "grid"], at_least_1=["folds"])
        object.__setattr__(self, "grid", tuple(self.grid))

    def needs(self, train: TrainView) -> int:
        users, items = len(train.users), len(train.items)
        return DOUBLE * items * (2 * users + (9 + len(self.kernel) * bool(self.grid)) * items)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        folds = self._folds(train, validation)
        formula, penalties = (self.kernel, self.penalties) if not self.grid else self._searched(train, folds)
        kernel_II = blocks.item_kernel(train, formula, "baseline.kernel")

        def fit(train: TrainView) -> Callable[[float], Scorer]:
            warm_I, source_II, fame_I = self._sources(train)
            value_I, vector_II = eigh(kernel_II[np.ix_(warm_I, warm_I)])
            rotated_II = vector_II.T @ kernel_II[warm_I]
            mean = fame_I.mean()
            projected_II = (source_II / fame_I if self.popularity_scaled else source_II) @ vector_II

            def of_penalty(penalty: float) -> Scorer:
                weight_II = np.zeros((len(kernel_II), len(kernel_II)))
                weight_II[warm_I] = projected_II @ (rotated_II / (value_I + penalty)[:, None])
                if self.popularity_scaled:
                    expected_I = mean + (fame_I - mean) @ vector_II / (value_I + penalty / 2) @ rotated_II
                    weight_II *= np.maximum(expected_I, 0.3)
                return history_scorer(train, lambda history_UI, candidate_I: history_UI @ weight_II[:, candidate_I])

            return of_penalty

        return tuned(fit, penalties, train, folds, self.metric)

    def _folds(self, train: TrainView, validation: Tasks) -> Iterable[tuple[TrainView, Tasks]]:
        if self.folds is not None:
            return pseudo_cold_folds(train, "items", self.folds, self.seed, ())
        if "cold" not in validation:
            raise ConfigError(
                "baseline.folds: null chooses by the split's cold validation items, and it has none; use split=item_cold, or folds"
            )
        return [(train, {"cold": validation["cold"]})]

    def _sources(self, train: TrainView) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(warm items, A's part of W: a history's row of W is the sum of its items' rows, (c + 10)^½)."""
        warm_I = np.flatnonzero(train.warm_I)
        taken_UI = train.interaction_UI[:, warm_I].toarray().astype(np.float64)
        count_I = taken_UI.sum(0)
        source_II = np.eye(len(warm_I))
        if self.shrink is not None:
            root_I = (count_I + 1) ** -0.5
            gram_II = gram(taken_UI.T)
            filtered_II = root_I[:, None] * gram_II * root_I
            filtered_II[np.diag_indices_from(filtered_II)] += self.shrink
            source_II = root_I[:, None] * solve(filtered_II, root_I[:, None] * gram_II, assume_a="pos")
        return warm_I, source_II, (count_I + 10) ** 0.5

    def _searched(self, train: TrainView, folds: Iterable[tuple[TrainView, Tasks]]) -> tuple[dict[str, float], list[float]]:
        """(weights of the blocks, [λ]), chosen on `folds`."""
        block_II = {block: blocks.item_kernel(train, {block: 1.0}, "baseline.kernel") for block in self.kernel}
        fits = [(known, tasks, *self._sources(known)) for known, tasks in folds]

        def value(setting: dict[str, float]) -> float:
            kernel_II = sum((setting[block] * own_II for block, own_II in block_II.items()), np.zeros(()))
            reached = []
            for known, tasks, warm_I, source_II, fame_I in fits:
                target_II = source_II / fame_I if self.popularity_scaled else source_II
                weight_II = np.zeros(kernel_II.shape)
                for task in tasks.values():
                    own, at = np.ix_(warm_I, warm_I), np.ix_(warm_I, task.candidate_I)
                    ridge_II = solve(kernel_II[own] + setting[PENALTY] * np.eye(len(warm_I)), kernel_II[at], assume_a="pos")
                    weight_II[at] = target_II @ ridge_II
                    if self.popularity_scaled:
                        halved_II = kernel_II[own] + setting[PENALTY] / 2 * np.eye(len(warm_I))
                        rise_I = (fame_I - fame_I.mean()) @ solve(halved_II, kernel_II[at], assume_a="pos")
                        weight_II[at] *= np.maximum(fame_I.mean() + rise_I, 0.3)
                of_fold = history_scorer(known, lambda history_UI, candidate_I, w_II=weight_II: history_UI @ w_II[:, candidate_I])
                reached.append(validate(of_fold, tasks, self.metric)[0])
            return float(np.mean(reached))

        grids = {**dict.fromkeys(self.kernel, self.grid), PENALTY: self.penalties}
        chosen = coordinate_search({**self.kernel, PENALTY: self.penalties[0]}, grids, value)
        by = "cold validation items" if self.folds is None else f"{self.folds} folds"
        log.info("weights by %s: %s", by, ", ".join(f"{name} {weight:g}" for name, weight in chosen.items()))
        return {block: chosen[block] for block in self.kernel}, [chosen[PENALTY]]


def coordinate_search(
    start: Mapping[str, float], grids: Mapping[str, Sequence[float]], value: Callable[[dict[str, float]], float], rounds: int = 2
) -> dict[str, float]:
    """Each number in turn becomes that of its grid, or stays as it is, with which `value` is largest; the first of equals, staying before all."""
    at, known = dict(start), {}

    def valued(setting: dict[str, float]) -> float:
        key = tuple(setting.values())
        if key not in known:
            known[key] = value(setting)
        return known[key]

    for _ in range(rounds):
        for name, grid in grids.items():
            at[name] = max(dict.fromkeys([at[name], *grid]), key=lambda number, name=name: valued(at | {name: number}))
    return at


@dataclass(frozen=True)
class KernelKnn(Baseline):
    """score_ui = Σ_{j in N(i) ∩ H_u} K_ij / Σ_{j in N(i)} K_ij, N(i) the warm items nearest by K of `blocks`."""

    kernel: dict[str, float]
    neighbours: list[int]
    metric: str
    folds: int
    seed: int

    def __post_init__(self) -> None:
        check_grids(self, self.metric, neighbours=self.neighbours)
        blocks.check_formula(self.kernel, "baseline.kernel")
        require("baseline", self, at_least_1=["neighbours", "folds"])

    def needs(self, train: TrainView) -> int:
        return 6 * DOUBLE * len(train.items) ** 2

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        kernel_II = blocks.item_kernel(train, self.kernel, "baseline.kernel")
        np.fill_diagonal(kernel_II, 0)

        def fit(train: TrainView) -> Callable[[int], Scorer]:
            def of_neighbours(neighbours: int) -> Scorer:
                weight_II = top_weights(np.maximum(kernel_II, 0) * train.warm_I, neighbours).T
                return history_scorer(train, lambda history_UI, candidate_I: history_UI @ weight_II[:, candidate_I])

            return of_neighbours

        return tuned(fit, self.neighbours, train, pseudo_cold_folds(train, "items", self.folds, self.seed, ()), self.metric)


@dataclass(frozen=True)
class UserGP(Baseline):
    """S = μ + K_*w (K_ww + λI)⁻¹ (Y − μ), a Gaussian process over users; rows of Y are R_u (n_u / mean n)^-γ, μ is their mean.

        K = a cos(profile) + b cos(support diag(c + 1)^-¼) + d cos(support diag(c + 1)^-½ V_r) + 1 + e exp(−(t − t')² / 2 days²)

    t is a user's first time, where the split has it (split.use_first_seen). V_r are the right factors of `svd_factors`. The support of a warm user is their k earliest training items, as a cold one does; so each k has a kernel of its own, and
    γ, λ and the weight of EASE in S / max S + a · EASE are chosen for each k by folds of pseudo-cold warm users. The profile is the
    users' indicators, or where they have none the vector of their text; a user who is not in the data has none.
    """

    profile: float
    items: float
    factors: float
    arrival_weight: float  # e; 0: a user's first time isn't read
    days: float  # of 86,400 in the data's time
    rank: int
    supports: list[int]
    powers: list[float]
    penalties: list[float]
    ease: list[float]
    ease_penalty: float
    metric: str
    folds: int
    seed: int

    def __post_init__(self) -> None:
        require("baseline", self, at_least_1=["rank", "folds"], above_0=["days"])
        require("baseline", self, at_least_0=["profile", "items", "factors", "arrival_weight", "ease_penalty"])
        check_grids(self, self.metric, powers=self.powers, penalties=self.penalties, ease=self.ease, supports=self.supports)

    def needs(self, train: TrainView) -> int:
        users, items = int(train.warm_U.sum()), len(train.items)
        of_each_k = users * (4 * users + 5 * items) + 6 * items**2 * (max(self.ease) > 0)
        return DOUBLE * (of_each_k + (len(self.supports) - 1) * 3 * users * items)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        fits = {k: self._of_support(train, k) for k in self.supports}

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            history_U = np.diff(history_UI.indptr)
            score_UI = np.empty((len(user_U), len(candidate_I)))
            for k, after in zip(self.supports, [*self.supports[1:], np.inf], strict=True):
                mine = np.flatnonzero((history_U >= k) & (history_U < after))
                if len(mine):
                    score_UI[mine] = fits[k](user_U[mine], history_UI[mine], candidate_I)
            return score_UI

        return scorer

    def _of_support(self, train: TrainView, k: int) -> Scorer:
        fitted = lambda train: self._fit(train, k)  # noqa: E731
        settings = list(product(self.powers, self.penalties, self.ease if k else [0.0]))
        return tuned(fitted, settings, train, pseudo_cold_folds(train, "users", self.folds, self.seed, [k]), self.metric)

    def _fit(self, train: TrainView, k: int) -> Callable[[tuple[float, float, float]], Scorer]:
        features = self._features(train)
        warm_U = np.flatnonzero(train.warm_U)
        warm_UF = features(warm_U, earliest_history(train, k)[warm_U])

        def kernel(user_B: np.ndarray, feature_BF: np.ndarray) -> np.ndarray:
            kernel_BU = gram(warm_UF) if feature_BF is warm_UF else feature_BF @ warm_UF.T
            if self.arrival_weight:
                if train.first_seen_U is None:
                    raise ConfigError(
                        "baseline.arrival_weight: the split has no first times of users; give split.use_first_seen=true, or arrival_weight=0"
                    )
                day_U = np.append(train.first_seen_U / (DAY * self.days), np.inf)  # the last is of those who are not in the data
                day_B = day_U[np.minimum(user_B, len(train.users))]
                kernel_BU += self.arrival_weight * np.exp(-((day_B[:, None] - day_U[warm_U]) ** 2) / 2)
            return kernel_BU

        value_U, vector_UU = eigh(kernel(warm_U, warm_UF))
        taken_UI = train.interaction_UI[warm_U].toarray().astype(np.float64)
        count_U = taken_UI.sum(1)

        @cache
        def ease() -> np.ndarray:
            return ease_weights(item_gram(train).toarray(), self.ease_penalty)

        def of_setting(setting: tuple[float, float, float]) -> Scorer:
            power, penalty, share = setting
            scaled_UI = taken_UI * (count_U / count_U.mean())[:, None] ** -power
            mean_I = scaled_UI.mean(0)
            weight_UI = vector_UU / (value_U + penalty) @ (vector_UU.T @ (scaled_UI - mean_I))

            def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
                score_UI = mean_I + kernel(user_U, features(user_U, history_UI)) @ weight_UI
                if share:
                    score_UI = score_UI / score_UI.max(1, keepdims=True) + share * (history_UI @ ease())
                return score_UI[:, candidate_I]

            return scorer

        return of_setting

    def _features(self, train: TrainView) -> Callable[[np.ndarray, sparse.csr_array], np.ndarray]:
        """Rows x with K = x x'ᵀ, of users and their histories."""
        blocks = [*train.users.indicators.values()] or [profile_vectors(train)]
        profile_UF = np.pad(normalize_rows(np.concatenate(blocks, 1).astype(np.float64)), ((0, 1), (0, 0)))
        count_I = item_counts(train) + 1
        source_IV = closed_forms.svd_factors(train.interaction_UI, self.rank)[0]

        def features(user_U: np.ndarray, history_UI: sparse.csr_array) -> np.ndarray:
            seen_UI = history_UI.toarray().astype(np.float64)
            items_UI, factors_UV = normalize_rows(seen_UI * count_I**-0.25), normalize_rows(seen_UI @ source_IV)
            own_UF = profile_UF[np.minimum(user_U, len(train.users))]
            weighted = (self.profile**0.5 * own_UF, self.items**0.5 * items_UI, self.factors**0.5 * factors_UV)
            return np.concatenate([*weighted, np.ones((len(user_U), 1))], 1)

        return features
