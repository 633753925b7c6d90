"""Products with the normal equations against the matrices themselves."""

import numpy as np
from scipy import sparse

from cold_jax.baselines.fold_in_factors import CentredTargets, NormalEquations

RNG = np.random.default_rng(0)
PROFILE_UD = RNG.normal(size=(9, 4))
SHOWN = [sparse.csr_array(RNG.random((9, 6)) * (RNG.random((9, 6)) < share)) for share in (0.0, 0.0, 0.4, 0.8)]
HISTORY_IF = sparse.csr_array(np.concatenate([0.7 * np.eye(6), RNG.normal(size=(6, 2))], 1))


def features() -> list[np.ndarray]:
    return [np.concatenate([PROFILE_UD, history_UI @ HISTORY_IF.toarray()], 1) for history_UI in SHOWN]


def test_products_are_those_of_the_mean_gram():
    x_FV = RNG.normal(size=(12, 3))
    gram_FF = np.mean([x_UF.T @ x_UF for x_UF in features()], 0)
    np.testing.assert_allclose(NormalEquations(PROFILE_UD, SHOWN, HISTORY_IF)(x_FV), gram_FF @ x_FV, atol=1e-12)


def test_the_right_hand_side_is_the_mean_over_supports():
    target_UV = RNG.normal(size=(9, 3))
    expected_FV = np.mean([x_UF.T @ target_UV for x_UF in features()], 0)
    np.testing.assert_allclose(NormalEquations(PROFILE_UD, SHOWN, HISTORY_IF).cross(target_UV), expected_FV, atol=1e-12)


def test_the_preconditioner_inverts_the_diagonal_blocks():
    gram_FF = np.mean([x_UF.T @ x_UF for x_UF in features()], 0) + np.eye(12)
    block_FF = np.zeros((12, 12))
    block_FF[:4, :4], block_FF[10:, 10:] = gram_FF[:4, :4], gram_FF[10:, 10:]
    block_FF[range(4, 10), range(4, 10)] = np.diag(gram_FF)[4:10]
    x_FV = RNG.normal(size=(12, 3))
    np.testing.assert_allclose(
        NormalEquations(PROFILE_UD, SHOWN, HISTORY_IF).precondition(x_FV), np.linalg.solve(block_FF, x_FV), atol=1e-12
    )


def test_users_without_a_profile_have_no_block():
    x_FV = RNG.normal(size=(8, 3))
    of = NormalEquations(np.zeros((9, 0)), SHOWN, HISTORY_IF)
    gram_FF = np.mean([x_UF[:, 4:].T @ x_UF[:, 4:] for x_UF in features()], 0)
    np.testing.assert_allclose(of(x_FV), gram_FF @ x_FV, atol=1e-12)
    assert of.precondition(x_FV).shape == (8, 3)


def test_centred_targets_are_never_built():
    value_UI, mean_I, scale_I = SHOWN[3], RNG.random(6), RNG.random(6)
    expected_UI = (value_UI.toarray() - mean_I) * scale_I
    of = CentredTargets(value_UI, mean_I, scale_I)
    np.testing.assert_allclose(of @ np.eye(6), expected_UI, atol=1e-12)
    np.testing.assert_allclose(of.T @ np.eye(9), expected_UI.T, atol=1e-12)
