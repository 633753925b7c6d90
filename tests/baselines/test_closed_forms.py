"""The algebra of the closed forms against scikit-learn, NumPy and SciPy."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from cold_jax.baselines import closed_forms
from cold_jax.splits.tasks import TrainView


@pytest.mark.parametrize("columns", [7, 60])  # fewer than rows, and more: the primal and the dual form
def test_ridge_is_that_of_scikit_learn(columns: int):
    generator = np.random.default_rng(0)
    feature_NF, target_NV = generator.normal(size=(40, columns)), (generator.random((40, 5)) < 0.3) * 1.0
    for target in (target_NV, sparse.csr_array(target_NV)):
        maps = closed_forms.ridge_maps(feature_NF, target)
        for penalty in (0.1, 3.0, 100.0):
            expected_FV = Ridge(penalty, fit_intercept=False).fit(feature_NF, target_NV).coef_.T
            np.testing.assert_allclose(maps(penalty), expected_FV, rtol=1e-7, atol=1e-10)


def test_svd_factors_are_numpy_s_and_fold_users_in(train: TrainView):
    taken_UI = train.interaction_UI.toarray().astype(float)
    scaled_UI = taken_UI / np.sqrt(taken_UI.sum(0) + 1)
    left_UV, size_V, _ = np.linalg.svd(scaled_UI, full_matrices=False)
    for rank in (3, 6):
        source_IV, target_IV = closed_forms.svd_factors(train.interaction_UI, rank)
        user_UV = taken_UI @ source_IV
        expected_UV = left_UV[:, :rank] * size_V[:rank]
        np.testing.assert_allclose(np.abs(user_UV), np.abs(expected_UV), rtol=1e-6, atol=1e-10)
        expected_IV = Ridge(1.0, fit_intercept=False).fit(user_UV, taken_UI).coef_
        np.testing.assert_allclose(target_IV, expected_IV, rtol=1e-6, atol=1e-10)


def test_the_truncated_svd_is_numpy_s_from_the_largest_down():
    matrix_UI = np.random.default_rng(0).normal(size=(12, 8))
    left_UV, value_V, right_VI = closed_forms.truncated_svd(sparse.csr_array(matrix_UI), 4)
    expected = np.linalg.svd(matrix_UI, full_matrices=False)
    np.testing.assert_allclose(value_V, expected[1][:4], rtol=1e-10)
    np.testing.assert_allclose(left_UV * value_V @ right_VI, expected[0][:, :4] * expected[1][:4] @ expected[2][:4], atol=1e-10)
    assert len(closed_forms.truncated_svd(sparse.csr_array(matrix_UI), 99)[1]) == 7


def test_conjugate_gradients_solve_columns_side_by_side():
    generator = np.random.default_rng(0)
    root_FF = generator.normal(size=(30, 30))
    system_FF, target_FV = root_FF @ root_FF.T + np.diag(np.arange(1, 31.0)), generator.normal(size=(30, 4))
    target_FV[:, 2] = 0
    diagonal_F = np.diag(system_FF)[:, None]
    solve = lambda steps: closed_forms.conjugate_gradients(  # noqa: E731
        lambda x_FV: system_FF @ x_FV, target_FV, lambda x_FV: x_FV / diagonal_F, 1e-10, steps
    )
    np.testing.assert_allclose(solve(200), np.linalg.solve(system_FF, target_FV), atol=1e-9)
    with pytest.raises(ArithmeticError, match=r"the residual is .* after 3 steps, not 1e-10"):
        solve(3)
