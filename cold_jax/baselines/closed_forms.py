"""Solutions without training: what baselines are made of, and where a trained model starts.

R is the binary matrix of training interactions, c_j the number of item j's, F the entities' features.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.linalg import eigh, solve
from scipy.sparse.linalg import LinearOperator, svds

from cold_jax import seeds
from cold_jax.baselines.gram import gram


def ridge_maps(feature_NF: np.ndarray, target_NV: np.ndarray | sparse.sparray) -> Callable[[float], np.ndarray]:
    """λ → argmin_W |target − F W|² + λ|W|² = (FᵀF + λI)⁻¹ Fᵀ target, of shape (F, V).

    One eigendecomposition, of the smaller side, serves every λ; a map is made when it is called for.
    """
    if feature_NF.shape[0] < feature_NF.shape[1]:
        value_N, vector_NN = eigh(gram(feature_NF))
        rotated_NV = vector_NN.T @ target_NV
        return lambda penalty: feature_NF.T @ (vector_NN @ (rotated_NV / (value_N + penalty)[:, None]))
    value_F, vector_FF = eigh(gram(feature_NF.T))
    rotated_FV = vector_FF.T @ (feature_NF.T @ target_NV)
    return lambda penalty: vector_FF @ (rotated_FV / (value_F + penalty)[:, None])


def truncated_svd(matrix: sparse.csr_array | LinearOperator, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(U, s, Vᵀ), the largest first, of `rank` values or of all but one; the start of the iteration is fixed."""
    smaller = min(matrix.shape or ())
    start = seeds.generator(0, "Lanczos").standard_normal(smaller)
    left_UV, value_V, right_VI = (np.asarray(x) for x in svds(matrix, min(rank, smaller - 1), v0=start))
    order_V = np.argsort(-value_V, stable=True)
    return left_UV[:, order_V], value_V[order_V], right_VI[order_V]


def svd_factors(interaction_UI: sparse.csr_array, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """R diag(c + 1)^-½ ≈ U Σ Vᵀ, P = U Σ, Q = argmin |R − P Qᵀ|² + |Q|²: (source_IV, target_IV), the largest factors first.

    P is linear in a user's history, p_u = Σ_{j in it} source_j with source_j = (c_j + 1)^-½ V_j, so it folds any user in.
    """
    scale_I = (np.asarray(interaction_UI.sum(0), np.float64) + 1) ** -0.5
    scaled_UI = interaction_UI.multiply(scale_I[None]).tocsr()
    start = seeds.generator(0, "Lanczos").standard_normal(min(scaled_UI.shape))
    source_IV = scale_I[:, None] * np.asarray(svds(scaled_UI, min(rank, len(start) - 1), v0=start)[2])[::-1].T
    user_UV = interaction_UI @ source_IV
    gram_VV = user_UV.T @ user_UV + np.eye(source_IV.shape[1])
    return source_IV, solve(gram_VV, user_UV.T @ interaction_UI, assume_a="pos").T


def conjugate_gradients(
    apply: Callable[[np.ndarray], np.ndarray],
    target_FV: np.ndarray,
    precondition: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
    steps: int,
) -> np.ndarray:
    """x with A x = target for a positive definite A, all columns side by side (Hestenes & Stiefel, 1952).

    Ends where no column's residual is longer than `tolerance` times its target. Raises ArithmeticError after so many steps.
    """
    x_FV, residual_FV = np.zeros_like(target_FV), target_FV.copy()
    length_V = np.maximum(np.linalg.norm(target_FV, axis=0), 1e-300)
    step_FV = precondition(residual_FV)
    descent_V = (residual_FV * step_FV).sum(0)
    for _ in range(steps):
        if (np.linalg.norm(residual_FV, axis=0) <= tolerance * length_V).all():
            return x_FV
        applied_FV = apply(step_FV)
        size_V = descent_V / np.maximum((step_FV * applied_FV).sum(0), 1e-300)
        x_FV += size_V * step_FV
        residual_FV -= size_V * applied_FV
        preconditioned_FV = precondition(residual_FV)
        before_V, descent_V = descent_V, (residual_FV * preconditioned_FV).sum(0)
        step_FV *= descent_V / np.maximum(before_V, 1e-300)
        step_FV += preconditioned_FV
    worst = float((np.linalg.norm(residual_FV, axis=0) / length_V).max())
    raise ArithmeticError(
        f"conjugate gradients: the residual is {worst:.1e} of the target after {steps} steps, not {tolerance:.0e}"
    )
