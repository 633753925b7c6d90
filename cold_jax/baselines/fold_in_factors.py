"""The fold-in's regression where neither users × items nor features × features fits in memory.

    (Y − μ) D ≈ A Vᵀ   truncated SVD: D scales the items, V are orthonormal
    M ≈ (mean_k XᵀX + I)⁻¹ (mean_k Xᵀ A) Vᵀ   by conjugate gradients, X = [P, H_k B]: profiles, and histories times items' features

It differs from the dense solution by what the SVD leaves out, and by the tolerance of the solver.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.sparse.linalg import LinearOperator

from cold_jax.baselines.closed_forms import conjugate_gradients, truncated_svd

TOLERANCE, STEPS = 1e-6, 500


class CentredTargets(LinearOperator):
    """(Y − μ) D as products with it."""

    def __init__(self, value_UI: sparse.csr_array, mean_I: np.ndarray, scale_I: np.ndarray):
        self.value_UI, self.mean_I, self.scale_I = value_UI, mean_I, scale_I
        super().__init__(np.float64, (len(value_UI.indptr) - 1, len(mean_I)))

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        scaled_I = self.scale_I * x.ravel()
        return self.value_UI @ scaled_I - self.mean_I @ scaled_I

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return self.scale_I * (self.value_UI.T @ x.ravel() - self.mean_I * x.sum())


def in_factors(
    target: LinearOperator,
    profile_UD: np.ndarray,
    histories: Sequence[sparse.csr_array],
    history_IF: sparse.csr_array,
    rank: int,
    targets: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M times its directions, of shape (F, V); these directions, of shape (I, V); their eigenvalues), the largest last.

    histories: the users' histories for each k; one that is listed several times weighs as much.
    """
    left_UV, value_V, right_VI = truncated_svd(target, targets)
    gram = NormalEquations(profile_UD, histories, history_IF)
    target_FV = gram.cross(left_UV * value_V)
    map_FV = conjugate_gradients(lambda x_FV: gram(x_FV) + x_FV, target_FV, gram.precondition, TOLERANCE, STEPS)
    spread_V, turn_VV = eigh(map_FV.T @ gram(map_FV))
    turn_VV = turn_VV[:, -rank:]
    return map_FV @ turn_VV, right_VI.T @ turn_VV, spread_V[-rank:]


class NormalEquations:
    """mean_k XᵀX of X = [P, H_k B], as products with it."""

    def __init__(self, profile_UD: np.ndarray, histories: Sequence[sparse.csr_array], history_IF: sparse.csr_array):
        self.profile_UD, self.history_IF, self.width = profile_UD, history_IF, profile_UD.shape[1]
        self.histories = weighted(histories)
        self.items = len(history_IF.indptr) - 1
        self.profile = cho_factor(profile_UD.T @ profile_UD + np.eye(self.width)) if self.width else None
        of_item_F = np.asarray(history_IF.power(2).sum(0))[: self.items]  # λ⁻¹: these columns are a multiple of the identity
        squares_I = sum(weight * np.asarray(history_UI.power(2).sum(0)) for history_UI, weight in self.histories)
        self.item_I = of_item_F * squares_I + 1
        factor_IV = history_IF[:, self.items :].toarray()
        blocks = [weight * (of_k.T @ of_k) for of_k, weight in ((h @ factor_IV, w) for h, w in self.histories)]
        self.factor = cho_factor(np.sum(blocks, 0) + np.eye(factor_IV.shape[1]))

    def cross(self, target_UV: np.ndarray) -> np.ndarray:
        """mean_k Xᵀ target."""
        history_IV = sum(weight * (history_UI.T @ target_UV) for history_UI, weight in self.histories)
        return np.concatenate([self.profile_UD.T @ target_UV, self.history_IF.T @ history_IV])

    def __call__(self, x_FV: np.ndarray) -> np.ndarray:
        source_IV, profile_UV = self.history_IF @ x_FV[self.width :], self.profile_UD @ x_FV[: self.width]
        mean_UV, history_IV = np.zeros_like(profile_UV), np.zeros_like(source_IV)
        for history_UI, weight in self.histories:
            user_UV = profile_UV + history_UI @ source_IV
            mean_UV += weight * user_UV
            history_IV += weight * (history_UI.T @ user_UV)
        return np.concatenate([self.profile_UD.T @ mean_UV, self.history_IF.T @ history_IV])

    def precondition(self, x_FV: np.ndarray) -> np.ndarray:
        """The inverse of the diagonal blocks: of the profile, of each item, of the factors."""
        end = self.width + self.items
        profile_DV = cho_solve(self.profile, x_FV[: self.width]) if self.profile is not None else x_FV[: self.width]
        return np.concatenate([profile_DV, x_FV[self.width : end] / self.item_I[:, None], cho_solve(self.factor, x_FV[end:])])


def weighted(histories: Sequence[sparse.csr_array]) -> list[tuple[sparse.csr_array, float]]:
    """Each that differs, and its share: a k that is listed three times is multiplied once."""
    different: list[tuple[sparse.csr_array, float]] = []
    for history_UI in histories:
        same = [n for n, (other_UI, _) in enumerate(different) if _equal(other_UI, history_UI)]
        if same:
            different[same[0]] = (history_UI, different[same[0]][1] + 1 / len(histories))
        else:
            different.append((history_UI, 1 / len(histories)))
    return different


def _equal(a_UI: sparse.csr_array, b_UI: sparse.csr_array) -> bool:
    return all(
        np.array_equal(x, y)
        for x, y in zip((a_UI.indptr, a_UI.indices, a_UI.data), (b_UI.indptr, b_UI.indices, b_UI.data), strict=True)
    )
