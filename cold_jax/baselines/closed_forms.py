"""Solutions without training: what baselines are made of, and where a trained model starts.

R is the binary matrix of training interactions, c_j the number of item j's, F the entities' features.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import eigh, get_lapack_funcs, solve
from scipy.sparse.linalg import svds

from cold_jax import seeds
from cold_jax.parts import Train, binary


def popularity(train: Train) -> np.ndarray:
    """c, of shape (I,)."""
    return np.asarray(train.interaction_UI.sum(0), np.float64)


def gram(train: Train) -> np.ndarray:
    """RᵀR: how many users two items share."""
    return (train.interaction_UI.T @ train.interaction_UI).toarray().astype(np.float64)


def vectors(train: Train, of: str, text: str) -> np.ndarray:
    """θ's unit vectors of a text of all "items", or of all "users". Raises ValueError where there is no such text."""
    known = train.item_vectors if of == "items" else train.user_vectors
    if text not in known:
        raise ValueError(f"baseline.text: the {of} have no text {text!r}; they have {', '.join(known) or 'none'}")
    return known[text]


def features(train: Train, of: str, texts: Sequence[str], indicators: float, constant: float) -> np.ndarray:
    """[text vectors, weighted indicators] scaled to unit length, then a constant; rows are all "items", or all "users"."""
    entities = train.items if of == "items" else train.users
    blocks = [vectors(train, of, text) for text in texts] + [indicators * block for block in entities.indicators.values()]
    feature_NF = np.concatenate([np.zeros((len(entities), 0)), *blocks], 1)
    return np.concatenate([unit(feature_NF), np.full((len(entities), 1), constant)], 1)


def unit(row_NF: np.ndarray) -> np.ndarray:
    """Rows of unit length; rows of zeros stay."""
    norm_N = np.linalg.norm(row_NF, axis=1, keepdims=True)
    return row_NF / np.where(norm_N > 0, norm_N, 1)


def ridge(feature_NF: np.ndarray, target_NV: np.ndarray | sparse.sparray, penalties: Sequence[float]) -> dict[float, np.ndarray]:
    """λ → argmin_W |target − F W|² + λ|W|² = (FᵀF + λI)⁻¹ Fᵀ target, of shape (F, V), from one eigendecomposition, of the smaller side."""
    if feature_NF.shape[0] < feature_NF.shape[1]:
        value_N, vector_NN = eigh(feature_NF @ feature_NF.T)
        rotated_NV = vector_NN.T @ target_NV
        return {penalty: feature_NF.T @ (vector_NN @ (rotated_NV / (value_N + penalty)[:, None])) for penalty in penalties}
    value_F, vector_FF = eigh(feature_NF.T @ feature_NF)
    rotated_FV = vector_FF.T @ (feature_NF.T @ target_NV)
    return {penalty: vector_FF @ (rotated_FV / (value_F + penalty)[:, None]) for penalty in penalties}


def svd_factors(interaction_UI: sparse.csr_array, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """R diag(c + 1)^-½ ≈ U Σ Vᵀ, P = U Σ, Q = argmin |R − P Qᵀ|² + |Q|²: (source_IV, target_IV), the largest factors first.

    P is linear in a user's history, p_u = Σ_{j shown by u} source_j with source_j = (c_j + 1)^-½ V_j, so it folds any user in.
    """
    scale_I = (np.asarray(interaction_UI.sum(0), np.float64) + 1) ** -0.5
    scaled_UI = interaction_UI.multiply(scale_I[None]).tocsr()
    start = seeds.generator(0, "Lanczos").standard_normal(min(scaled_UI.shape))
    source_IV = scale_I[:, None] * np.asarray(svds(scaled_UI, min(rank, len(start) - 1), v0=start)[2])[::-1].T
    user_UV = interaction_UI @ source_IV
    gram_VV = user_UV.T @ user_UV + np.eye(source_IV.shape[1])
    return source_IV, solve(gram_VV, user_UV.T @ interaction_UI, assume_a="pos").T


def ease(gram_II: np.ndarray, penalty: float) -> np.ndarray:
    """argmin_W |R − R W|² + λ|W|² with diag W = 0, from RᵀR (Steck, WWW 2019, eq. 8)."""
    factor, invert = get_lapack_funcs(("potrf", "potri"), (gram_II,))
    upper_II, _ = invert(factor(gram_II + penalty * np.eye(len(gram_II)))[0])
    inverse_II = np.triu(upper_II) + np.triu(upper_II, 1).T
    weight_II = inverse_II / -np.diag(inverse_II)
    np.fill_diagonal(weight_II, 0)
    return weight_II


def item_knn(gram_II: np.ndarray, shrink: float, neighbours: int | None) -> np.ndarray:
    """W_ji = g_ji / (√(c_j c_i) + shrink) where i is one of the items most similar to j, else 0.

    Each item hands its vote to its neighbours (Deshpande & Karypis, TOIS 2004); None: to all items.
    """
    norm_II = np.sqrt(np.outer(np.diag(gram_II), np.diag(gram_II))) + shrink
    weight_II = gram_II / np.where(norm_II > 0, norm_II, 1)
    np.fill_diagonal(weight_II, 0)
    return weight_II if neighbours is None else weight_II * (weight_II >= _largest(weight_II, neighbours))


def nearest(vector_ND: np.ndarray, row_B: np.ndarray, among_N: np.ndarray, neighbours: int) -> np.ndarray:
    """Cosines of rows with their nearest others among the True ones, divided by their sum, else 0; of shape (B, N)."""
    weight_BN = np.maximum(vector_ND[row_B] @ vector_ND.T, 0) * among_N
    weight_BN[np.arange(len(row_B)), row_B] = 0
    return largest(weight_BN, neighbours)


def largest(weight_BN: np.ndarray, count: int) -> np.ndarray:
    """The largest of each row, divided by their sum; the others are 0."""
    weight_BN = weight_BN * (weight_BN >= _largest(weight_BN, count))
    return weight_BN / np.maximum(weight_BN.sum(1, keepdims=True), 1e-12)


def _largest(value_BN: np.ndarray, count: int) -> np.ndarray:
    """The count-th largest value of each row."""
    place = max(value_BN.shape[1] - count, 0)
    return np.partition(value_BN, place, 1)[:, place : place + 1]


class FoldInStart(NamedTuple):
    """score_ui = (p_u · profile + Σ_{j shown by u} source_j / k^½) · target_i + bias_i, k the number of items shown."""

    source_IV: np.ndarray
    target_IV: np.ndarray
    bias_I: np.ndarray
    profile_DV: np.ndarray


def earliest(train: Train, k: int) -> sparse.csr_array:
    """The k earliest training interactions of each user: the support that a warm one would show if he were cold."""
    place_N = np.arange(len(train.user_N)) - np.searchsorted(train.user_N, train.user_N)
    return binary(train.user_N[place_N < k], train.item_N[place_N < k], (len(train.users), len(train.items)))


def profiles(train: Train) -> np.ndarray:
    """Vectors of the users' main text, of no columns where users have none."""
    return next(iter(train.user_vectors.values()), np.zeros((len(train.users), 0)))


def unit_rows(shown_UI: sparse.csr_array) -> sparse.csr_array:
    """Binary rows divided by the root of what they count."""
    return shown_UI.multiply(np.maximum(shown_UI.sum(1), 1)[:, None] ** -0.5).tocsr()


@lru_cache(maxsize=1)  # a baseline, and then the start of what is compared with it
def fold_in_start(
    train: Train,
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

    shown = [unit_rows(earliest(train, k)[warm_U]) for k in supports]
    factor_IV = svd_factors(train.interaction_UI, factors)[0]
    factor_IV /= np.sqrt(np.mean([((shown_UI @ factor_IV) ** 2).sum(1).mean() for shown_UI in shown if shown_UI.nnz]))
    vector_UD = profiles(train)
    of_profile, of_item, of_factor = np.asarray(penalties) ** -0.5
    shown_IF = np.concatenate([of_item * np.eye(len(mean_I)), of_factor * factor_IV], 1)
    width, items = vector_UD.shape[1], len(mean_I)
    gram_FF = np.zeros((width + shown_IF.shape[1],) * 2)
    cross_FI = np.zeros((len(gram_FF), items))
    for shown_UI in shown:
        x_UF = np.concatenate([of_profile * vector_UD[warm_U], shown_UI @ shown_IF], 1)
        gram_FF += x_UF.T @ x_UF / len(shown)
        cross_FI += x_UF.T @ (value_UI - mean_I) / len(shown)
    smoothed_I = floor * mean_I.max() + mean_I
    map_FI = solve(gram_FF + np.eye(len(gram_FF)), cross_FI, assume_a="pos") * (temperature / smoothed_I)

    spread_V, direction_IV = eigh(map_FI.T @ gram_FF @ map_FI, subset_by_index=[max(items - rank, 0), items - 1])
    size_V = np.sqrt(np.sqrt(np.maximum(spread_V, 1e-12) * items / len(warm_U)))
    map_FV = map_FI @ direction_IV / size_V
    return FoldInStart(
        shown_IF @ map_FV[width:], direction_IV * size_V, temperature * np.log(smoothed_I), of_profile * map_FV[:width]
    )
