"""The fold-in: a ridge from profile and support to all that a user takes."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import eigh, solve

from cold_jax.baselines.base import Tasks
from cold_jax.baselines.closed_forms import svd_factors
from cold_jax.baselines.features import earliest_history, profile_vectors, unit_history
from cold_jax.data.matrices import binarize
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.splits.tasks import TrainView


@dataclass(frozen=True)
class FoldIn:
    """S of `fold_in_start`. Its values were chosen on the cold validation users of one split of MovieLens-100k."""

    rank: int
    supports: list[int]
    factors: int
    power: float
    profile_penalty: float
    item_penalty: float
    factor_penalty: float
    temperature: float
    floor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "supports", tuple(self.supports))
        if max(self.supports, default=0) < 1:
            raise ValueError(f"baseline.supports: {list(self.supports)} must hold a k of 1 or more")

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        penalties = self.profile_penalty, self.item_penalty, self.factor_penalty
        at = fold_in_start(
            train, self.rank, tuple(self.supports), self.factors, self.power, penalties, self.temperature, self.floor
        )
        profile_UD = profile_vectors(train)

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            user_UV = profile_UD[user_U] @ at.profile_DV + unit_history(binarize(history_UI)) @ at.source_IV
            return user_UV @ at.target_IV[candidate_I].T + at.bias_I[candidate_I]

        return scorer


class FoldInStart(NamedTuple):
    """score_ui = (p_u · profile + Σ_{j shown by u} source_j / k^½) · target_i + bias_i, k the number of items shown."""

    source_IV: np.ndarray
    target_IV: np.ndarray
    bias_I: np.ndarray
    profile_DV: np.ndarray


@lru_cache(maxsize=1)  # a baseline, and then the start of what is compared with it
def fold_in_start(
    train: TrainView,
    rank: int,
    supports: tuple[int, ...],
    factors: int,
    power: float,
    penalties: tuple[float, float, float],
    temperature: float,
    floor: float,
) -> FoldInStart:
    """Warm users as if they were cold: a ridge from profile and support to all that they took, cut to a rank.

        y_u = R_u · (n_u / mean n)^-power,  μ = mean_u y_u,  x_u = [p_u; Σ_j z_j / k^½],  z_j = [e_j; source_j of svd_factors]
        M = argmin mean_k Σ_u |y_u − μ − x_u M|² + Σ_block λ |M_block|²
        b = T log(m + μ),  v = T M / (m + μ),  m = floor · max μ:  T log(m + μ + x M) to first order
        v is cut to the first eigenvectors of vᵀ (mean_k XᵀX) v; users' and items' coordinates are brought to one size

    It is a Gaussian process over users whose kernel is linear in profile and support, so that one map serves every k.

    Args:
        supports: a k that stands several times weighs as much.
        penalties: λ of the profile, of each shown item, of the shown items' factors.
    """
    warm_U = np.flatnonzero(train.warm_U)
    value_UI = train.interaction_UI[warm_U].toarray().astype(np.float64)
    count_U = value_UI.sum(1)
    value_UI *= (count_U / count_U.mean())[:, None] ** -power
    mean_I = value_UI.mean(0)

    shown = [unit_history(earliest_history(train, k)[warm_U]) for k in supports]
    factor_IV = svd_factors(train.interaction_UI, factors)[0]
    factor_IV /= np.sqrt(np.mean([((history_UI @ factor_IV) ** 2).sum(1).mean() for history_UI in shown if history_UI.nnz]))
    vector_UD = profile_vectors(train)
    of_profile, of_item, of_factor = np.asarray(penalties) ** -0.5
    history_IF = np.concatenate([of_item * np.eye(len(mean_I)), of_factor * factor_IV], 1)
    width, items = vector_UD.shape[1], len(mean_I)
    gram_FF = np.zeros((width + history_IF.shape[1],) * 2)
    cross_FI = np.zeros((len(gram_FF), items))
    for history_UI in shown:
        x_UF = np.concatenate([of_profile * vector_UD[warm_U], history_UI @ history_IF], 1)
        gram_FF += x_UF.T @ x_UF / len(shown)
        cross_FI += x_UF.T @ (value_UI - mean_I) / len(shown)
    smoothed_I = floor * mean_I.max() + mean_I
    map_FI = solve(gram_FF + np.eye(len(gram_FF)), cross_FI, assume_a="pos") * (temperature / smoothed_I)

    spread_V, direction_IV = eigh(map_FI.T @ gram_FF @ map_FI, subset_by_index=[max(items - rank, 0), items - 1])
    size_V = np.sqrt(np.sqrt(np.maximum(spread_V, 1e-12) * items / len(warm_U)))
    map_FV = map_FI @ direction_IV / size_V
    return FoldInStart(
        history_IF @ map_FV[width:], direction_IV * size_V, temperature * np.log(smoothed_I), of_profile * map_FV[:width]
    )
