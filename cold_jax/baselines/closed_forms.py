"""Solutions without training: what baselines are made of, and where a trained model starts.

R is the binary matrix of training interactions, c_j the number of item j's, F the entities' features.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.linalg import eigh, solve
from scipy.sparse.linalg import svds

from cold_jax import seeds


def ridge_maps(
    feature_NF: np.ndarray, target_NV: np.ndarray | sparse.sparray, penalties: Sequence[float]
) -> dict[float, np.ndarray]:
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
