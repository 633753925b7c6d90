"""Metrics of each user, of pointwise tasks and of whole lists.

Ranking metrics follow from the ranks of a user's positives among their candidates (P runs over all users' positives):

    recall@k     share of the positives with rank ≤ k
    precision@k  number of them / k
    hr@k         1 if there is one
    ndcg@k       Σ 1/log2(1 + rank) over the positives with rank ≤ k, over the same sum for ranks 1 … min(k, |positives|)
    mrr          1 / smallest rank
    auc          share of the (positive, negative) pairs in which the positive is ranked first

Beyond accuracy; c_i of a task's U users interacted with item i, in their history or as a target.

    stratified_recall@k  Σ c_i^-½ over the positives with rank ≤ k, over the same sum for all (popularity-stratified recall: Steck,
                         RecSys 2011, with β = ½)
    novelty@k            mean of −log2((c_i + 1) / (U + 1)) over the first k, in bits (Zhou et al., PNAS 2010)
    coverage@k           share of the candidates that are among the first k of at least one user
    gini@k               0 where every candidate is among the first k equally often, towards 1 where one of them is alone

A value that is not a number is an error everywhere: a mean that skipped it, or a rank that it took, would look like a result.
"""

import re
from collections.abc import Sequence

import numpy as np

from cold_jax.errors import ConfigError, DataError

AT_K = ("recall", "ndcg", "hr", "precision")


WHOLE = ("mrr", "auc")


POINTWISE = ("uauc", "accuracy", "item_correlation")  # beside auc


BEYOND_ACCURACY = ("coverage", "gini", "novelty", "stratified_recall")  # at k too; they need more than ranks


def require_known(key: str, name: str) -> None:
    """Raises ConfigError, which begins with the setting `key`, where `parse` does."""
    try:
        parse(name)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def parse(name: str) -> tuple[str, int | None]:
    """Name and k. Raises ConfigError for a name that `per_user` does not know.

    >>> parse("recall@20"), parse("mrr")
    (('recall', 20), ('mrr', None))
    """
    at_k = re.fullmatch(rf"({'|'.join(AT_K)})@([1-9][0-9]*)", name)
    if at_k:
        return at_k[1], int(at_k[2])
    if name in WHOLE:
        return name, None
    raise ConfigError(f"metric {name!r} is unknown: known are {', '.join(f'{m}@k' for m in AT_K)} with k ≥ 1, {', '.join(WHOLE)}")


def per_user(rank_P: np.ndarray, offset_U: np.ndarray, candidates_U: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Metrics of each user, each of shape (users,).

    rank_P are the positives' ranks among their user's unmasked candidates, from 1; user u has rank_P[offset_U[u] : offset_U[u+1]]
    (so offset_U has an entry more). candidates_U counts the unmasked candidates, the positives among them.

    Of users who took every candidate auc is undefined: its values are of the others alone (`has_negatives`).

    ValueError: an unknown name, a user without positives, a rank outside 1 … candidates.

    Positives at ranks 1 and 4 for the first user, at rank 2 for the second, of ten candidates each:

    >>> per_user(np.array([1, 4, 2]), np.array([0, 2, 3]), np.array([10, 10]), ["recall@3", "mrr"])
    {'recall@3': array([0.5, 1. ]), 'mrr': array([1. , 0.5])}
    """
    require_numbers(rank_P=rank_P, candidates_U=candidates_U)
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
                defined_U, negatives_U = has_negatives(offset_U, candidates_U), candidates_U - size_U
                # a positive at rank r has r - 1 candidates before it; over a user's n positives, n (n - 1) / 2 of them positive
                before_U = total(rank_P - 1) - size_U * (size_U - 1) / 2
                values[name] = 1 - before_U[defined_U] / (size_U * negatives_U)[defined_U]
    return values


def has_negatives(offset_U: np.ndarray, candidates_U: np.ndarray) -> np.ndarray:
    """Whether a user has a candidate that is no positive; bool of shape (users,), arguments as those of `per_user`."""
    return candidates_U > np.diff(offset_U)


def coverage(top_UK: np.ndarray, k: int, candidates: int) -> float:
    """Share of the `candidates` items that are among the first k of at least one user; -1 in top_UK is an empty place.

    >>> coverage(np.array([[0, 1], [0, 2]]), k=2, candidates=4)
    0.75
    """
    if not 1 <= k <= top_UK.shape[1]:
        raise ValueError(f"coverage@{k}: the rankings have {top_UK.shape[1]} places")
    return len(np.setdiff1d(top_UK[:, :k], [-1])) / candidates


def gini(top_UK: np.ndarray, k: int, candidates: int) -> float:
    """Gini's coefficient of how often each of the `candidates` items is among the first k; -1 in top_UK is an empty place.

    >>> gini(np.array([[0, 1], [0, 2]]), k=1, candidates=4)  # one of four items, for both users
    0.75
    """
    if not 1 <= k <= top_UK.shape[1]:
        raise ValueError(f"gini@{k}: the rankings have {top_UK.shape[1]} places")
    first = top_UK[:, :k]
    seen_I = np.sort(np.unique(first[first >= 0], return_counts=True)[1])
    position_I = np.arange(candidates - len(seen_I), candidates) + 1  # after the items that are in no list
    return float(((2 * position_I - candidates - 1) * seen_I).sum() / (candidates * seen_I.sum()))


def novelty(top_UK: np.ndarray, k: int, count_I: np.ndarray, users: int) -> np.ndarray:
    """−log2((c_i + 1) / (users + 1)), a mean over each user's first k places that are filled; shape (users,)."""
    first_UK = top_UK[:, :k]
    bits_UK = np.log2(users + 1) - np.log2(1 + count_I[first_UK])
    return np.where(first_UK >= 0, bits_UK, 0).sum(1) / (first_UK >= 0).sum(1)


def stratified_recall(rank_P: np.ndarray, offset_U: np.ndarray, count_P: np.ndarray, k: int) -> np.ndarray:
    """Σ c^-½ over a user's positives with rank ≤ k, over the sum for all of them; arguments as those of `per_user`."""
    weight_P = count_P**-0.5
    return np.add.reduceat(weight_P * (rank_P <= k), offset_U[:-1]) / np.add.reduceat(weight_P, offset_U[:-1])


def user_auc(score_N: np.ndarray, label_N: np.ndarray, user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(users with rows of both labels, ascending; auc of each). Equal scores count half; labels are 0 and 1 (Mann-Whitney)."""
    require_numbers(score_N=score_N, label_N=label_N)
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


def pointwise(score_N: np.ndarray, label_N: np.ndarray, user_N: np.ndarray) -> dict[str, float]:
    """Metrics of a pointwise task; scores are logits, labels 0 or 1.

    auc over all rows; uauc, the plain mean over users with both labels; accuracy of score > 0; base_rate, the share of ones.
    ValueError where auc or uauc is not defined.

    >>> pointwise(np.array([2.0, -1.0, 1.0, 0.5]), np.array([1, 0, 0, 1]), np.array([0, 0, 1, 1]))
    {'auc': 0.75, 'uauc': 0.5, 'accuracy': 0.75, 'base_rate': 0.5}
    """
    _, auc = user_auc(score_N, label_N, np.zeros(len(score_N), np.int64))
    _, auc_U = user_auc(score_N, label_N, user_N)
    if not len(auc_U):
        raise DataError("uauc: no user has rows of both labels" if len(auc) else "auc: the rows have not both labels")
    return {
        "auc": float(auc[0]),
        "uauc": float(auc_U.mean()),
        "accuracy": float(np.mean((score_N > 0) == (label_N == 1))),
        "base_rate": float(np.mean(label_N == 1)),
    }


def item_correlation(score_N: np.ndarray, label_N: np.ndarray, user_N: np.ndarray, item_N: np.ndarray) -> float | None:
    """The correlation of items' mean score and mean label, both less their user's mean over these rows, items weighted by their rows.

    An item's quality, whoever rated it; users' rating levels change nothing. None where either is the same for all items.
    """
    require_numbers(score_N=score_N, label_N=label_N)
    user_N, item_N = (np.unique(x_N, return_inverse=True)[1] for x_N in (user_N, item_N))

    def means(value_N: np.ndarray, of_N: np.ndarray) -> np.ndarray:
        return (np.bincount(of_N, value_N) / np.bincount(of_N))[of_N]

    score_N, label_N = (
        means(x_N - means(x_N, user_N), item_N) for x_N in (score_N.astype(np.float64), label_N.astype(np.float64))
    )
    score_N, label_N = score_N - score_N.mean(), label_N - label_N.mean()
    size = np.sqrt((score_N**2).sum() * (label_N**2).sum())
    return float(score_N @ label_N / size) if size > 1e-9 * len(score_N) else None


def require_numbers(**arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        _require(f"{name} is not a finite number", np.isfinite(array))


def _require(problem: str, good: np.ndarray, user: np.ndarray | None = None) -> None:
    """ValueError that says where: the first place that is not good, or the user who has it."""
    if not good.all():
        place = int(np.argmin(good))
        where = f"place {place}" if user is None else f"user {user[place]}"
        raise ValueError(f"{problem} ({where}, {int(np.sum(~good))} of {len(good)})")
