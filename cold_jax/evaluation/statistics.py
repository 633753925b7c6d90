"""Paired statistics between two methods."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NotRequired, TypedDict

import numpy as np

from cold_jax.evaluation.metrics import require_numbers


class Comparison(TypedDict):
    """Method a against method b on the same users."""

    difference: float  # mean of a - b
    ratio: float | None  # mean of a / mean of b; None where b's is zero
    ci95: list[float]  # of the difference
    p: float  # two-sided
    p_holm: NotRequired[float]  # corrected over the methods of a family


def compare_paired(a_U: np.ndarray, b_U: np.ndarray, resamples: int, generator: np.random.Generator) -> Comparison:
    """A metric of method a against b's on the same users in the same order: paired bootstrap and randomisation test.

    >>> a_U, b_U = np.array([0.5, 0.25, 0.75, 1.0]), np.array([0.25, 0.25, 0.5, 0.75])
    >>> found = compare_paired(a_U, b_U, resamples=1000, generator=np.random.default_rng(0))
    >>> found["difference"], round(found["ratio"], 4)
    (0.1875, 1.4286)
    """
    return compare_columns(np.asarray(a_U)[:, None], np.asarray(b_U)[:, None], resamples, generator)[0]


def compare_columns(a_UC: np.ndarray, b_UC: np.ndarray, resamples: int, generator: np.random.Generator) -> list[Comparison]:
    """The same of each column. All columns share the users and the signs that are drawn; each has the distribution of one alone."""
    if a_UC.shape != b_UC.shape or not len(a_UC):
        raise ValueError(
            f"compare: {a_UC.shape[:1]} values against {b_UC.shape[:1]}; both need one for each user, in the same order"
        )
    require_numbers(a_U=a_UC, b_U=b_UC)
    difference_UC = np.asarray(a_UC, np.float64) - b_UC
    base_C, mean_C = (np.asarray(x_UC, np.float64).sum(0) / len(x_UC) for x_UC in (b_UC, a_UC))
    interval_C2 = _bootstrap(difference_UC, resamples, generator)
    p_C = _randomisation(difference_UC, resamples, generator)
    return [
        {
            "difference": float(difference),
            "ratio": float(mean / base) if base else None,
            "ci95": interval_2.tolist(),
            "p": float(p),
        }
        for difference, mean, base, interval_2, p in zip(difference_UC.mean(0), mean_C, base_C, interval_C2, p_C, strict=True)
    ]


def bootstrap(value_U: np.ndarray, resamples: int, generator: np.random.Generator) -> list[float]:
    """The percentile interval of 95 % of the mean, users drawn with replacement (Efron and Tibshirani, 1993, ch. 13)."""
    return _bootstrap(np.asarray(value_U, np.float64)[:, None], resamples, generator)[0].tolist()


def _bootstrap(value_UC: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    users, means = len(value_UC), []
    for start in range(0, resamples, _batch(users)):
        count = min(_batch(users), resamples - start)
        drawn_BU = generator.integers(0, users, (count, users)) + users * np.arange(count)[:, None]
        times_BU = np.bincount(drawn_BU.ravel(), minlength=count * users).reshape(count, users)
        means.append(times_BU.astype(np.float64) @ value_UC / users)
    return np.percentile(np.concatenate(means), [2.5, 97.5], axis=0).T


def randomisation(difference_U: np.ndarray, resamples: int, generator: np.random.Generator) -> float:
    """Two-sided p of the mean difference under flipped signs, (1 + hits) / (1 + resamples) (Smucker, Allan and Carterette, CIKM 2007)."""
    return float(_randomisation(np.asarray(difference_U, np.float64)[:, None], resamples, generator)[0])


def _randomisation(difference_UC: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    users, observed_C = len(difference_UC), difference_UC.mean(0)
    slack_C = 1e-12 * np.abs(difference_UC).mean(0)  # sums in another order of the same numbers are the same
    hits_C = np.zeros(len(observed_C))
    for start in range(0, resamples, _batch(users)):
        shape = (min(_batch(users), resamples - start), -(-users // 8))
        flip_BU = np.unpackbits(generator.integers(0, 256, shape, np.uint8), axis=1, count=users)
        flipped_BC = observed_C - 2 * (flip_BU.astype(np.float64) @ difference_UC) / users
        hits_C += (np.abs(flipped_BC) >= np.abs(observed_C) - slack_C).sum(0)
    return (1 + hits_C) / (1 + resamples)


def _batch(users: int) -> int:
    """Draws at a time: 2 MiB of them."""
    return 1 + 2**18 // users


def holm(p_M: Sequence[float]) -> list[float]:
    """A family's p-values corrected: the i-th smallest of M times M + 1 − i, none less than one before, at most 1 (Holm, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order_M = np.argsort(p_M, kind="stable")
    step_M = np.maximum.accumulate(np.asarray(p_M)[order_M] * np.arange(len(p_M), 0, -1))
    corrected_M = np.empty(len(p_M))
    corrected_M[order_M] = np.minimum(step_M, 1)
    return corrected_M.tolist()


def pool_over_runs(value_N: np.ndarray, user_N: np.ndarray, run_N: np.ndarray) -> np.ndarray:
    """A value for each user, of the mean m of the runs' means m_r: x_u = m + U/R · Σ_r (v_ur − m_r) / n_r over the runs that have u.

    Users of several splits may differ, and one user's values are not independent: drawing users, with all that they have, is the
    cluster bootstrap of m to first order. Where every run has every user, x_u is the user's mean over runs.
    """
    user_N, run_N = (np.unique(x_N, return_inverse=True)[1] for x_N in (user_N, run_N))
    users_R = np.bincount(run_N)
    mean_R = np.bincount(run_N, value_N) / users_R
    share_N = (value_N - mean_R[run_N]) / users_R[run_N]
    total_U = np.bincount(user_N, share_N)
    return mean_R.mean() + len(total_U) / len(users_R) * total_U


def minimum_detectable_difference(difference_U: np.ndarray) -> float:
    """(z.975 + z.8) · sd / √users: the mean difference that a paired two-sided test at 5 % finds with a power of 80 %."""
    require_numbers(difference_U=difference_U)
    if len(difference_U) < 2:
        raise ValueError(f"minimum_detectable_difference: {len(difference_U)} users; a standard deviation needs two")
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    return z * float(np.std(difference_U, ddof=1)) / len(difference_U) ** 0.5
