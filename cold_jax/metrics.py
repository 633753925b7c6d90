"""Metrics of each user, of given rows and of whole lists, and the paired statistics between two methods.

Ranking metrics follow from the ranks of a user's positives among his candidates (P runs over all users' positives):

    recall@k     share of the positives with rank ≤ k
    precision@k  number of them / k
    hr@k         1 if there is one
    ndcg@k       Σ 1/log2(1 + rank) over the positives with rank ≤ k, over the same sum for ranks 1 … min(k, |positives|)
    mrr          1 / smallest rank
    auc          share of the (positive, negative) pairs in which the positive stands first

A value that is not a number is an error everywhere: a mean that skipped it, or a rank that it took, would look like a result.
"""

import re
from collections.abc import Sequence
from statistics import NormalDist
from typing import TypedDict

import numpy as np

AT_K = ("recall", "ndcg", "hr", "precision")
WHOLE = ("mrr", "auc")


class Comparison(TypedDict):
    """Method a against method b on the same users."""

    difference: float  # mean of a - b
    ratio: float | None  # mean of a / mean of b; None where b's is zero
    ci95: list[float]  # of the difference
    p: float  # two-sided


def parse(name: str) -> tuple[str, int | None]:
    """`recall@20` → ("recall", 20), `mrr` → ("mrr", None); ValueError for a name that `per_user` does not know."""
    at_k = re.fullmatch(rf"({'|'.join(AT_K)})@([1-9][0-9]*)", name)
    if at_k:
        return at_k[1], int(at_k[2])
    if name in WHOLE:
        return name, None
    raise ValueError(f"metric {name!r} is unknown: known are {', '.join(f'{m}@k' for m in AT_K)} with k ≥ 1, {', '.join(WHOLE)}")


def per_user(rank_P: np.ndarray, offset_U: np.ndarray, candidates_U: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Metrics of each user, each of shape (users,).

    rank_P are the positives' ranks among their user's unmasked candidates, from 1; user u has rank_P[offset_U[u] : offset_U[u+1]]
    (so offset_U has an entry more). candidates_U counts the unmasked candidates, the positives among them.

    ValueError: an unknown name, a user without positives, a rank outside 1 … candidates, auc where all candidates are positive.
    """
    _require_numbers(rank_P=rank_P, candidates_U=candidates_U)
    size_U = np.diff(offset_U).astype(np.int64)
    _require("positives: none; leave such users out", size_U >= 1)
    user_P = np.repeat(np.arange(len(size_U)), size_U)
    _require("rank outside 1 … number of candidates", (rank_P >= 1) & (rank_P <= candidates_U[user_P]), user_P)

    def total(value_P: np.ndarray) -> np.ndarray:
        return np.bincount(user_P, value_P, len(size_U))

    best_U = np.minimum.reduceat(rank_P, offset_U[:-1]) if len(size_U) else np.zeros(0)
    values: dict[str, np.ndarray] = {}
    for name in names:
        match parse(name):
            case "recall", int(k):
                values[name] = total(rank_P <= k) / size_U
            case "precision", int(k):
                values[name] = total(rank_P <= k) / k
            case "hr", int(k):
                values[name] = (best_U <= k).astype(np.float64)
            case "ndcg", int(k):
                ideal = np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))
                values[name] = total((rank_P <= k) / np.log2(1 + rank_P)) / ideal[np.minimum(k, size_U) - 1]
            case "mrr", _:
                values[name] = 1 / best_U
            case "auc", _:
                negatives_U = candidates_U - size_U
                _require("auc: all candidates are positive", negatives_U >= 1)
                # before a positive at rank r stand r - 1 candidates; over a user's n positives, n (n - 1) / 2 of them positive
                before_U = total(rank_P - 1) - size_U * (size_U - 1) / 2
                values[name] = 1 - before_U / (size_U * negatives_U)
    return values


def coverage(top_UK: np.ndarray, k: int, candidates: int) -> float:
    """Share of the `candidates` items that stand among the first k of at least one user; -1 in top_UK is an empty place."""
    if not 1 <= k <= top_UK.shape[1]:
        raise ValueError(f"coverage@{k}: the rankings have {top_UK.shape[1]} places")
    return len(np.setdiff1d(top_UK[:, :k], [-1])) / candidates


def user_auc(score_N: np.ndarray, label_N: np.ndarray, user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(users with rows of both labels, ascending; auc of each). Equal scores count half; labels are 0 and 1 (Mann-Whitney)."""
    _require_numbers(score_N=score_N, label_N=label_N)
    _require("label other than 0 and 1", np.isin(label_N, (0, 1)))
    user_U, user_N = np.unique(user_N, return_inverse=True)
    _, score_N = np.unique(score_N, return_inverse=True)
    key_N = user_N * len(score_N) + score_N  # a user's rows together, in the order of their scores
    sorted_N = np.sort(key_N)
    left_N, right_N = np.searchsorted(sorted_N, key_N, "left"), np.searchsorted(sorted_N, key_N, "right")
    rank_N = (left_N + right_N + 1) / 2  # equal scores share the mean of their ranks

    rows_U = np.bincount(user_N, minlength=len(user_U))
    positives_U = np.bincount(user_N, label_N, len(user_U))
    ranks_U = np.bincount(user_N, label_N * rank_N, len(user_U)) - positives_U * (np.cumsum(rows_U) - rows_U)
    both_U = (positives_U > 0) & (positives_U < rows_U)
    wins_U = ranks_U - positives_U * (positives_U + 1) / 2
    return user_U[both_U], wins_U[both_U] / (positives_U * (rows_U - positives_U))[both_U]


def of_rows(score_N: np.ndarray, label_N: np.ndarray, user_N: np.ndarray) -> dict[str, float]:
    """Metrics of given rows; scores are logits, labels 0 or 1.

    auc over all rows; uauc, the plain mean over users with both labels; accuracy of score > 0; base_rate, the share of ones.
    ValueError where auc or uauc is not defined.
    """
    _, auc = user_auc(score_N, label_N, np.zeros(len(score_N), np.int64))
    _, auc_U = user_auc(score_N, label_N, user_N)
    if not len(auc_U):
        raise ValueError("uauc: no user has rows of both labels" if len(auc) else "auc: the rows have not both labels")
    return {
        "auc": float(auc[0]),
        "uauc": float(auc_U.mean()),
        "accuracy": float(np.mean((score_N > 0) == (label_N == 1))),
        "base_rate": float(np.mean(label_N == 1)),
    }


def compare(a_U: np.ndarray, b_U: np.ndarray, draws: int, generator: np.random.Generator) -> Comparison:
    """A metric of method a against b's on the same users in the same order.

    ci95 is the percentile interval of the mean difference users drawn with replacement (paired bootstrap). p is the two-sided
    randomisation test's: signs of differences flipped, (1 + hits) / (1 + draws) (Smucker, Allan and Carterette, CIKM 2007).
    """
    if a_U.shape != b_U.shape or not len(a_U):
        raise ValueError(f"compare: {a_U.shape} values against {b_U.shape}; both need one for each user, in the same order")
    _require_numbers(a_U=a_U, b_U=b_U)
    difference_U = np.asarray(a_U, np.float64) - b_U
    users, observed = len(difference_U), float(difference_U.mean())
    slack = 1e-12 * np.abs(difference_U).mean()  # sums in another order of the same numbers are the same

    batch = 1 + 2**18 // users  # 2 MiB at a time
    means, hits = [], 0
    for start in range(0, draws, batch):
        count = min(batch, draws - start)
        means.append(difference_U[generator.integers(0, users, (count, users))].mean(1))
        flip_BU = np.unpackbits(generator.integers(0, 256, (count, -(-users // 8)), np.uint8), axis=1, count=users)
        flipped_B = observed - 2 * (flip_BU.astype(np.float64) @ difference_U) / users
        hits += int(np.sum(np.abs(flipped_B) >= abs(observed) - slack))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    base = float(np.mean(b_U))
    return {
        "difference": observed,
        "ratio": float(np.mean(a_U)) / base if base else None,
        "ci95": [float(low), float(high)],
        "p": (1 + hits) / (1 + draws),
    }


def smallest_difference(difference_U: np.ndarray) -> float:
    """(z.975 + z.8) · sd / √users: the mean difference that a paired two-sided test at 5 % finds with a power of 80 %."""
    _require_numbers(difference_U=difference_U)
    if len(difference_U) < 2:
        raise ValueError(f"smallest_difference: {len(difference_U)} users; a standard deviation needs two")
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    return z * float(np.std(difference_U, ddof=1)) / len(difference_U) ** 0.5


def _require_numbers(**arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        _require(f"{name} is not a finite number", np.isfinite(array))


def _require(problem: str, good: np.ndarray, user: np.ndarray | None = None) -> None:
    """ValueError that says where: the first place that is not good, or the user who has it."""
    if not good.all():
        place = int(np.argmin(good))
        where = f"place {place}" if user is None else f"user {user[place]}"
        raise ValueError(f"{problem} ({where}, {int(np.sum(~good))} of {len(good)})")
