"""The fold-in: a ridge from profile and support to all that a user takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import eigh, solve

from cold_jax.baselines.base import Baseline, Person, Tasks, Terms, of_candidates
from cold_jax.baselines.closed_forms import svd_factors
from cold_jax.baselines.features import earliest_history, profile_vectors, unit_history
from cold_jax.baselines.fold_in_factors import CentredTargets, in_factors, weighted
from cold_jax.baselines.gram import gram
from cold_jax.baselines.memory import DOUBLE
from cold_jax.data.matrices import binarize
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView


class FoldInStart(NamedTuple):
    """score_ui = (p_u · profile + Σ_{j in u's history} source_j / k^½) · target_i + bias_i, k the number of items in it."""

    source_IV: np.ndarray
    target_IV: np.ndarray
    bias_I: np.ndarray
    profile_DV: np.ndarray


@dataclass(frozen=True)
class FoldIn(Baseline):
    """Warm users as if they were cold: a ridge from profile and support to all that they took, cut to a rank.

        y_u = R_u · (n_u / mean n)^-power,  μ = mean_u y_u,  x_u = [p_u; Σ_j z_j / k^½],  z_j = [e_j; source_j of svd_factors]
        M = argmin mean_k Σ_u |y_u − μ − x_u M|² + Σ_block λ |M_block|²
        b = T log(m + μ),  v = T M / (m + μ),  m = floor · max μ:  T log(m + μ + x M) to first order
        v is cut to the first eigenvectors of vᵀ (mean_k XᵀX) v; users' and items' coordinates are brought to one size

    It is a Gaussian process over users whose kernel is linear in profile and support, so that one map serves every k. Of more than
    `dense_items` items only the largest `targets` factors of the y_u are regressed on (fold_in_factors), the same in the limit.
    Its values were chosen on the cold validation users of one split of MovieLens-100k.

    rank: of the map. supports: each k; one that is listed several times weighs as much. factors: of svd_factors. *_penalty: λ of the
    profile, of each item of the support, of their factors. temperature: T.
    """

    rank: int
    supports: list[int]
    factors: int
    power: float
    profile_penalty: float
    item_penalty: float
    factor_penalty: float
    temperature: float
    floor: float
    dense_items: int
    targets: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "supports", tuple(self.supports))
        if max(self.supports, default=0) < 1:
            raise ValueError(f"baseline.supports: {list(self.supports)} must hold a k of 1 or more")
        require("baseline", self, at_least_1=["rank", "dense_items", "targets"], above_0=["temperature", "factor_penalty"])
        require("baseline", self, at_least_0=["factors", "power", "profile_penalty", "item_penalty", "floor"])

    def needs(self, train: TrainView) -> int:
        users, items, width = int(train.warm_U.sum()), len(train.items), profile_vectors(train).shape[1]
        features = width + items + self.factors
        if items <= self.dense_items:
            return DOUBLE * (users * (3 * items + 2 * features) + 7 * items * features)
        return DOUBLE * max(self.targets, self.rank) * (4 * users + 8 * features)

    def start(self, train: TrainView, rank: int) -> FoldInStart:
        """The solution cut to a rank; that of the last call is kept, since a tower starts at what a baseline has computed."""
        penalties = self.profile_penalty, self.item_penalty, self.factor_penalty
        targets = None if len(train.items) <= self.dense_items else max(self.targets, rank)
        values = self.factors, self.power, penalties, self.temperature, self.floor
        return fold_in_start(train, rank, tuple(self.supports), *values, targets)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        return FoldInScorer(self.start(train, self.rank), profile_vectors(train))


@dataclass(frozen=True)
class FoldInScorer:
    at: FoldInStart
    profile_UD: np.ndarray

    def __call__(self, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        at = self.at
        user_UV = self.profile_UD[user_U] @ at.profile_DV + unit_history(binarize(history_UI)) @ at.source_IV
        return user_UV @ self._target_of(candidate_I) + at.bias_I[candidate_I]

    @cached_property
    def _target_of(self) -> Callable[[np.ndarray], np.ndarray]:
        return of_candidates(lambda candidate_I: self.at.target_IV[candidate_I].T)

    def terms(self, person: Person, history: Sequence[int], item: int) -> Terms:
        at, chosen_H = self.at, np.asarray(history, np.int64)
        share_H = at.source_IV[chosen_H] @ at.target_IV[item] / max(len(history), 1) ** 0.5
        width = len(at.profile_DV)
        profile = float(person.profile_D[:width] @ at.profile_DV @ at.target_IV[item])
        return Terms(float(at.bias_I[item]), share_H, profile)


@lru_cache(maxsize=1)
def fold_in_start(
    train: TrainView,
    rank: int,
    supports: tuple[int, ...],
    factors: int,
    power: float,
    penalties: tuple[float, float, float],
    temperature: float,
    floor: float,
    targets: int | None = None,
) -> FoldInStart:
    """`FoldIn` with these values; it regresses on `targets` factors of the y_u, or on the y_u themselves: None."""
    warm_U = np.flatnonzero(train.warm_U)
    histories = [unit_history(earliest_history(train, k)[warm_U]) for k in supports]
    factor_IV = svd_factors(train.interaction_UI, factors)[0]
    factor_IV /= np.sqrt(np.mean([((history_UI @ factor_IV) ** 2).sum(1).mean() for history_UI in histories if history_UI.nnz]))
    of_profile, of_item, of_factor = np.asarray(penalties) ** -0.5
    profile_UD, factor_IV = of_profile * profile_vectors(train)[warm_U], of_factor * factor_IV

    def smoothed(mean_I: np.ndarray) -> np.ndarray:
        return floor * mean_I.max() + mean_I

    history_IF: np.ndarray | sparse.csr_array
    if targets is None:
        value_UI = train.interaction_UI[warm_U].toarray().astype(np.float64)
        count_U = value_UI.sum(1)
        value_UI *= (count_U / count_U.mean())[:, None] ** -power
        mean_I = value_UI.mean(0)
        history_IF = np.concatenate([of_item * np.eye(len(mean_I)), factor_IV], 1)
        solved = _dense(value_UI - mean_I, profile_UD, histories, history_IF, temperature / smoothed(mean_I), rank)
    else:
        taken_UI = sparse.csr_array(train.interaction_UI[warm_U], dtype=np.float64)
        count_U = np.asarray(taken_UI.sum(1))
        scaled_UI = sparse.csr_array(taken_UI.multiply((count_U / count_U.mean())[:, None] ** -power))
        mean_I = np.asarray(scaled_UI.sum(0)) / len(warm_U)
        blocks = [of_item * sparse.eye_array(len(mean_I)), sparse.csr_array(factor_IV)]
        history_IF = sparse.csr_array(sparse.hstack(blocks))
        centred = CentredTargets(scaled_UI, mean_I, temperature / smoothed(mean_I))
        solved = in_factors(centred, profile_UD, histories, history_IF, rank, targets)
    map_FV, direction_IV, spread_V = solved
    size_V = np.sqrt(np.sqrt(np.maximum(spread_V, 1e-12) * len(mean_I) / len(warm_U)))
    map_FV, width = map_FV / size_V, profile_UD.shape[1]
    return FoldInStart(
        history_IF @ map_FV[width:], direction_IV * size_V, temperature * np.log(smoothed(mean_I)), of_profile * map_FV[:width]
    )


def _dense(
    target_UI: np.ndarray,
    profile_UD: np.ndarray,
    histories: Sequence[sparse.csr_array],
    history_IF: np.ndarray,
    of_target_I: np.ndarray,
    rank: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M times its directions, of shape (F, V); these directions, of shape (I, V); their eigenvalues), the largest last."""
    features, (users, items) = profile_UD.shape[1] + history_IF.shape[1], target_UI.shape
    gram_FF, mean_UF = np.zeros((features, features)), np.zeros((users, features))
    for history_UI, weight in weighted(histories):
        x_UF = np.concatenate([profile_UD, history_UI @ history_IF], 1)
        gram_FF += weight * gram(x_UF.T)
        mean_UF += weight * x_UF
    regular_FF, scaled_UI = gram_FF + np.eye(features), target_UI * of_target_I
    if users >= items:
        map_FI = solve(regular_FF, mean_UF.T @ scaled_UI, assume_a="pos")
        spread_V, direction_IV = eigh(map_FI.T @ gram_FF @ map_FI, subset_by_index=[max(items - rank, 0), items - 1])
        return map_FI @ direction_IV, direction_IV, spread_V
    # M = A target and target = Rᵀ Qᵀ: its directions are Q times those of R (Aᵀ gram A) Rᵀ, which is users × users
    of_users_FU = solve(regular_FF, mean_UF.T, assume_a="pos")
    basis_IU, r_UU = np.linalg.qr(scaled_UI.T)
    inner_UU = r_UU @ (of_users_FU.T @ gram_FF @ of_users_FU) @ r_UU.T
    spread_V, turn_UV = eigh(inner_UU, subset_by_index=[max(users - rank, 0), users - 1])
    return of_users_FU @ (r_UU.T @ turn_UV), basis_IU @ turn_UV, spread_V
