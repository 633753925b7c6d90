"""Against SciPy's bootstrap, permutation test and t test, and Holm's steps worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cold_jax.evaluation.statistics import (
    bootstrap,
    compare_columns,
    compare_paired,
    holm,
    minimum_detectable_difference,
    pool_over_runs,
)


def paired(users: int, effect: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    b_U = generator.uniform(size=users)
    return b_U + generator.normal(effect, 0.1, users), b_U


@pytest.mark.parametrize(("users", "effect"), [(300, 0.0), (300, 0.01), (50, 0.03), (1200, 0.004)])
def test_compare_agrees_with_scipy(users: int, effect: float):
    a_U, b_U = paired(users, effect, seed=users)
    got = compare_paired(a_U, b_U, 10_000, np.random.default_rng(0))
    interval = stats.bootstrap((a_U - b_U,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    p = stats.permutation_test((a_U - b_U,), np.mean, permutation_type="samples", n_resamples=10_000, rng=1).pvalue
    spread = np.std(a_U - b_U) / users**0.5
    assert got["difference"] == pytest.approx(a_U.mean() - b_U.mean())
    assert got["ratio"] == pytest.approx(a_U.mean() / b_U.mean())
    # both sides are random: an end of 10,000 resamples has a standard error of 0.027 spreads, p of 0.005 at most
    np.testing.assert_allclose(got["ci95"], interval, atol=5 * 0.027 * 2**0.5 * spread)
    assert got["p"] == pytest.approx(p, abs=5 * 0.005 * 2**0.5)


def test_p_counts_ties_as_the_exact_test_does():
    # few users with few values: nearly all sign flips tie with others
    a_U, b_U = np.array([0.3, 0.1, 0.2, 0.0, 0.1, 0.1, 0.3, 0.2]), np.array([0.1, 0.2, 0.0, 0.0, 0.3, 0.0, 0.0, 0.1])
    exact = stats.permutation_test((a_U - b_U,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert compare_paired(a_U, b_U, 50_000, np.random.default_rng(0))["p"] == pytest.approx(exact, abs=5 * 0.5 / 50_000**0.5)


def test_p_is_uniform_where_there_is_nothing():
    generator = np.random.default_rng(3)
    p = [compare_paired(*generator.normal(size=(2, 40)), 500, generator)["p"] for _ in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        b_U = generator.uniform(size=100)
        low, high = compare_paired(b_U + generator.exponential(0.05, 100), b_U, 500, generator)["ci95"]
        hits += low <= 0.05 <= high
    assert 0.90 <= hits / 400 <= 0.98  # the percentile interval of a skewed mean holds a little less than 95 %


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 5))
def test_equal_methods_do_not_differ(values: list[float], seed: int):
    got = compare_paired(np.array(values), np.array(values), 50, np.random.default_rng(seed))
    assert (got["difference"], got["ci95"], got["p"]) == (0, [0, 0], 1)
    assert got["ratio"] == (1 if np.mean(values) else None)


def test_compare_depends_on_nothing_but_its_arguments_and_turns_round():
    a_U, b_U = paired(70_000, 0.001, seed=5)  # more users than a batch of draws has room for
    one = compare_paired(a_U, b_U, 20, np.random.default_rng(7))
    assert one == compare_paired(a_U, b_U, 20, np.random.default_rng(7))
    other = compare_paired(b_U, a_U, 20, np.random.default_rng(7))
    assert (other["difference"], other["p"]) == (pytest.approx(-one["difference"]), one["p"])
    assert other["ci95"] == pytest.approx([-one["ci95"][1], -one["ci95"][0]])


def test_columns_are_compared_as_each_alone():
    a_UC, b_UC = (
        np.stack(values, 1) for values in zip(*(paired(60, effect, seed=8) for effect in (0.0, 0.03, 0.3)), strict=True)
    )
    together = compare_columns(a_UC, b_UC, 200, np.random.default_rng(9))
    for found, a_U, b_U in zip(together, a_UC.T, b_UC.T, strict=True):
        alone = compare_paired(a_U, b_U, 200, np.random.default_rng(9))
        assert found["p"] == alone["p"]
        assert found["ci95"] == pytest.approx(alone["ci95"], abs=1e-12)
        assert (found["difference"], found["ratio"]) == (pytest.approx(alone["difference"]), pytest.approx(alone["ratio"]))
    assert len({found["p"] for found in together}) == 3


def test_compare_refuses_other_users_and_nan():
    with pytest.raises(ValueError, match=r"compare: \(3,\) values against \(2,\)"):
        compare_paired(np.ones(3), np.ones(2), 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"b_U is not a finite number \(place 2, 1 of 3\)"):
        compare_paired(np.ones(3), np.array([0, 0, np.nan]), 10, np.random.default_rng(0))


def test_smallest_difference_is_found_in_four_of_five_trials():
    generator = np.random.default_rng(6)
    smallest = minimum_detectable_difference(generator.normal(0, 0.2, 10_000)) * (10_000 / 200) ** 0.5
    trials_U = generator.normal(smallest, 0.2, (4000, 200))
    assert np.mean(stats.ttest_1samp(trials_U, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.025)


def test_p_is_never_zero():
    assert compare_paired(np.ones(50), np.zeros(50), 99, np.random.default_rng(0))["p"] == 1 / 100


def test_smallest_difference_of_few_users():
    difference_U = np.array([0.1, -0.2, 0.4])
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert minimum_detectable_difference(difference_U) == pytest.approx(z * stats.sem(difference_U), rel=1e-12)


def test_smallest_difference_needs_two_numbers():
    with pytest.raises(ValueError, match="1 users; a standard deviation needs two"):
        minimum_detectable_difference(np.ones(1))
    with pytest.raises(ValueError, match="difference_U is not a finite number"):
        minimum_detectable_difference(np.array([1, np.nan]))


def test_holm_by_hand():
    """Holm's steps: .01 · 4, then the larger of that and .02 · 3, of .03 · 2, of .5 · 1."""
    assert holm([0.03, 0.5, 0.01, 0.02]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_pooled_runs_keep_the_mean_of_means():
    """Runs of other users, of other sizes; and where all have all users, each one's mean."""
    value_N, user_N, run_N = np.array([0.2, 0.4, 0.6, 0.9]), np.array(["a", "b", "c", "a"]), np.array([1, 1, 1, 2])
    pooled_U = pool_over_runs(value_N, user_N, run_N)
    assert pooled_U.mean() == pytest.approx((0.4 + 0.9) / 2)
    np.testing.assert_allclose(pooled_U - 0.65, 3 / 2 * np.array([-0.2 / 3 + 0, 0, 0.2 / 3]), atol=1e-12)
    value_UR = np.random.default_rng(0).random((8, 3))
    user_UR, run_UR = np.indices(value_UR.shape)
    np.testing.assert_allclose(pool_over_runs(value_UR.ravel(), user_UR.ravel(), run_UR.ravel()), value_UR.mean(1))


def test_pooled_users_vary_as_the_cluster_bootstrap():
    """Users of random runs, with a level of their own: the linear values' bootstrap against drawing users with all that they have."""
    generator = np.random.default_rng(0)
    user_bias_U = generator.random(120)
    user_N, run_N = np.nonzero(generator.random((120, 6)) < 0.4)
    value_N = user_bias_U[user_N] + 0.2 * generator.random(len(user_N))
    means = []
    for _ in range(2000):
        times_N = np.bincount(generator.integers(0, 120, 120), minlength=120)[user_N]
        means.append(np.mean(np.bincount(run_N, times_N * value_N) / np.bincount(run_N, times_N)))
    low, high = bootstrap(pool_over_runs(value_N, user_N, run_N), 2000, generator)
    np.testing.assert_allclose([low, high], np.percentile(means, [2.5, 97.5]), atol=0.01)  # 2,000 draws of an interval of 0.1
