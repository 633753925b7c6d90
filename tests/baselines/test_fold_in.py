"""The fold-in against scikit-learn's kernel ridge, and its form for many items against the dense one."""

import numpy as np
import pytest
from fitted import named, scores, train_of
from scipy import sparse
from sklearn.kernel_ridge import KernelRidge

from cold_jax.baselines.features import earliest_history, unit_history
from cold_jax.baselines.fold_in import fold_in_start
from cold_jax.splits.tasks import TrainView

FOLD_IN = {"factors": 3, "power": 0.3, "penalties": (3.0, 2.0, 0.5), "temperature": 2.0, "floor": 0.2}


def fold_in_features(train: TrainView, k: int) -> np.ndarray:
    """x of the warm users who show their k earliest items, which are those of the smallest indices."""
    history_UI = train.interaction_UI.toarray().astype(float)
    history_UI *= history_UI.cumsum(1) <= k
    history_UI /= np.sqrt(np.maximum(history_UI.sum(1, keepdims=True), 1))
    left = np.linalg.svd(train.interaction_UI.toarray() / np.sqrt(train.interaction_UI.sum(0) + 1), full_matrices=False)[2][:3].T
    factor_UV = history_UI @ (left / np.sqrt(train.interaction_UI.sum(0) + 1)[:, None])
    factor_UV /= np.sqrt((factor_UV[train.warm_U] ** 2).sum(1).mean())
    blocks = train.user_vectors["profile"] / np.sqrt(3.0), history_UI / np.sqrt(2.0), factor_UV / np.sqrt(0.5)
    return np.concatenate(blocks, 1)


@pytest.mark.parametrize("more_users", [True, False])
def test_the_fold_in_start_is_kernel_ridge_to_first_order(train: TrainView, more_users: bool):
    """For one k, at full rank: scikit-learn's dual solution with the linear kernel and unit noise; with more users than items, or fewer."""
    train = train if more_users else more_items_than_users()
    warm = int(train.warm_U.sum())
    start = fold_in_start(train, 20, (3,), **FOLD_IN)
    x_UF, taken_UI = fold_in_features(train, 3), train.interaction_UI.toarray().astype(float)[:warm]
    count_U = taken_UI.sum(1)
    value_UI = taken_UI * (count_U / count_U.mean())[:, None] ** -0.3
    mean_I = value_UI.mean(0)
    personal_UI = KernelRidge(alpha=1.0).fit(x_UF[:warm], value_UI - mean_I).predict(x_UF)
    smoothed_I = 0.2 * mean_I.max() + mean_I
    shown = unit_history(earliest_history(train, 3))
    user_UV = train.user_vectors["profile"] @ start.profile_DV + shown @ start.source_IV
    expected_UI = 2 * np.log(smoothed_I) + 2 * personal_UI / smoothed_I
    np.testing.assert_allclose(user_UV @ start.target_IV.T + start.bias_I, expected_UI, rtol=1e-5, atol=1e-6)  # float32 profiles


def test_the_fold_in_start_of_low_rank_is_the_best_of_that_rank(train: TrainView):
    """Eckart and Young: over all pseudo-cold users, stacked."""
    supports = (0, 2, 4)
    shown = sparse.vstack([unit_history(earliest_history(train, k)[:25]) for k in supports])

    def personal(rank: int) -> np.ndarray:
        start = fold_in_start(train, rank, supports, **FOLD_IN)
        profile_UV = train.user_vectors["profile"][:25] @ start.profile_DV
        return (np.tile(profile_UV, (3, 1)) + shown @ start.source_IV) @ start.target_IV.T

    left, size, right = np.linalg.svd(personal(20), full_matrices=False)
    np.testing.assert_allclose(personal(4), (left[:, :4] * size[:4]) @ right[:4], atol=1e-5)


def more_items_than_users() -> TrainView:
    taken_UI = np.random.default_rng(2).random((18, 40)) < 0.3
    taken_UI[15:] = False
    return train_of(taken_UI)


@pytest.mark.parametrize("rank", [14, 4])
def test_in_all_factors_the_fold_in_is_the_dense_one(rank: int):
    """The centred targets of 15 users have 14 factors, so that none is left out."""
    train = more_items_than_users()
    dense, factored = (fold_in_start(train, rank, (0, 0, 1, 3), **FOLD_IN, targets=targets) for targets in (None, 14))

    def personal(start) -> np.ndarray:
        user_UV = train.user_vectors["profile"] @ start.profile_DV + unit_history(earliest_history(train, 3)) @ start.source_IV
        return user_UV @ start.target_IV.T

    np.testing.assert_allclose(factored.bias_I, dense.bias_I, rtol=1e-12)
    np.testing.assert_allclose(personal(factored), personal(dense), atol=1e-4 * np.abs(personal(dense)).max())
    of_users = [np.linalg.norm(start.target_IV, axis=0) for start in (dense, factored)]
    np.testing.assert_allclose(of_users[1], of_users[0], rtol=1e-4)  # the largest last, of the same size


def test_fewer_factors_are_an_approximation():
    train = more_items_than_users()
    values = {"rank": 4, "factors": 3, "supports": [0, 1, 3]}
    dense_UI = scores(named("fold_in", **values, dense_items=40), train)
    errors = [
        np.abs(scores(named("fold_in", **values, dense_items=39, targets=targets), train) - dense_UI).mean()
        for targets in (4, 8, 14)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4 * np.abs(dense_UI).mean()
