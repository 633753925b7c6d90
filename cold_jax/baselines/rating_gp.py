"""What is thought of an item, from ratings: y_ui = 1 where user u's rating of item i reaches split.threshold.

The row (u, i) is what is scored, so a user's and an item's own level count, which a ranking of items for one user doesn't ask for.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, cg

from cold_jax.baselines import blocks
from cold_jax.baselines.base import Baseline, Tasks
from cold_jax.baselines.memory import DOUBLE
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import PointwiseScorer, Scorer
from cold_jax.ranges import require
from cold_jax.splits.pointwise import liked_history
from cold_jax.splits.tasks import EvalTask, TrainView

TOLERANCE = 1e-6  # of a solution, relative to its right-hand side


STILL, STEPS = 1e-3, 30  # Newton's steps end where no logit moves more, and are so many at most


RIDGE = 100.0  # of the logistic regression over the parts of a score


NOISE = 4.0  # about 1 / p(1 − p): the noise of a like in a row's history, relative to a rating's


def likes(train: TrainView) -> np.ndarray:
    """y of the training rows. Raises ConfigError where the split has no threshold."""
    if train.like_N is None:
        raise ConfigError(
            "split.threshold: ratings need the value from which one is a like; give it, as split=warm_pointwise has it"
        )
    return train.like_N.astype(np.float64)


@dataclass(frozen=True)
class BiasModel(Baseline):
    """score_ui = (Σ_v y_vi + s·m) / (c_i + s) + (Σ_j [y_uj − mean of j]) / (n_u + s) − ½, m the mean of all; without the second where `users` is false."""

    shrink: float  # s
    users: bool

    def __post_init__(self) -> None:
        require("baseline", self, at_least_0=["shrink"])

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        like_N = likes(train)
        item_I = _mean(train.item_N, like_N - like_N.mean(), len(train.items), self.shrink) + like_N.mean()
        user_U = _mean(train.user_N, like_N - item_I[train.item_N], len(train.users), self.shrink) * self.users
        return lambda user_B, history_BI, candidate_I: user_U[user_B][:, None] + item_I[candidate_I][None] - 0.5


def _mean(of_N: np.ndarray, value_N: np.ndarray, count: int, shrink: float) -> np.ndarray:
    """Means towards 0."""
    size_X = np.bincount(of_N, minlength=count) + shrink
    return np.bincount(of_N, value_N, count) / np.where(size_X > 0, size_X, 1)


class Posterior(NamedTuple):
    """The mode of logit p(y_ui = 1) = m + f_i + a_u + x_i · w_u."""

    mean: float
    item_I: np.ndarray
    user_U: np.ndarray
    taste_UF: np.ndarray


def mode(
    user_N: np.ndarray,
    item_N: np.ndarray,
    like_N: np.ndarray,
    kernel_II: np.ndarray,
    users: float,
    feature_IF: np.ndarray,
    count: int,
) -> Posterior:
    """f ~ N(0, K), a_u ~ N(0, `users`), w_u ~ N(0, 1) for each of `count` users, found together.

    Newton's steps (Rasmussen & Williams 2006, algorithm 3.1), each a solution (C + W⁻¹) α = b by conjugate gradients, C the prior covariance of the
    rows, W = p(1 − p); a product with C goes through the items and the users, so that it is never built.
    """
    N, items = len(user_N), len(kernel_II)
    of_user_UN = sparse.csr_array((np.ones(N), (user_N, np.arange(N))), shape=(count, N))
    of_item_IN = sparse.csr_array((np.ones(N), (item_N, np.arange(N))), shape=(items, N))
    row_NF = np.concatenate([np.full((N, 1), users**0.5), feature_IF[item_N]], 1)

    def parts(alpha_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return kernel_II @ (of_item_IN @ alpha_N), of_user_UN @ (row_NF * alpha_N[:, None])

    def covariance(alpha_N: np.ndarray) -> np.ndarray:
        item_I, taste_UF = parts(alpha_N)
        return item_I[item_N] + (row_NF * taste_UF[user_N]).sum(1)

    from scipy.special import expit  # 0.05 s

    liked = like_N.sum()
    mean, alpha_N, logit_N = float(np.log((liked + 1) / (N - liked + 1))), np.zeros(N), np.zeros(N)
    for _ in range(STEPS):
        p_N = expit(logit_N + mean)
        weight_N = np.maximum(p_N * (1 - p_N), 1e-4)
        system = LinearOperator((N, N), matvec=lambda x_N, weight_N=weight_N: covariance(x_N) + x_N / weight_N, dtype=np.float64)  # type: ignore[call-issue]
        precondition = LinearOperator((N, N), matvec=lambda x_N, weight_N=weight_N: x_N * weight_N, dtype=np.float64)  # type: ignore[call-issue]
        target_N = logit_N + (like_N - p_N) / weight_N
        alpha_N, _ = cg(system, target_N, alpha_N, rtol=TOLERANCE, maxiter=500, M=precondition)
        before_N, logit_N = logit_N, covariance(alpha_N)
        moved = float((like_N - expit(logit_N + mean)).sum() / weight_N.sum())
        mean += moved
        if max(np.abs(logit_N - before_N).max(), abs(moved)) < STILL:
            break
    item_I, taste_UF = parts(alpha_N)
    return Posterior(mean, item_I, taste_UF[:, 0] * users**0.5, taste_UF[:, 1:])


@dataclass(frozen=True)
class RatingGP(Baseline):
    """logit p(y_ui = 1) = m + f_i + a_u + g_u(i) + s_u f̂_i: Gaussian processes over items, one for all users and one for each.

        f ~ N(0, K + count · l lᵀ),  a_u ~ N(0, users),  g_u ~ N(0, taste · L),  s_u ~ N(0, slope)

    K and L are sums of `blocks`, l is the standardised log(1 + c_i), f̂ the mode of f without g and s. L is centred and cut to its first `rank` eigenvectors.

    Where there are `cuts`, the score is a logistic regression on [f_i, a_u, g_u(i), s_u f̂_i, h], h = L_iH (L_HH + 4I)⁻¹ 1 of the items H that a row's
    user liked before it (`split.history`). Its weights come from forward blocks: the process is fitted to the training rows before a share of the time, and
    scores those up to the next share.
    """

    kernel: dict[str, float]
    count: float
    users: float
    user_kernel: dict[str, float]
    taste: float
    slope_variance: float
    rank: int
    cuts: list[float]
    history: int  # likes of a training row

    def __post_init__(self) -> None:
        object.__setattr__(self, "cuts", (*self.cuts,))
        require("baseline", self, at_least_1=["rank", "history"], at_least_0=["count", "users", "taste", "slope_variance"])
        blocks.check_formula(self.kernel, "baseline.kernel")
        blocks.check_formula(self.user_kernel, "baseline.user_kernel")
        if any(not 0 < cut < 1 for cut in self.cuts) or sorted(self.cuts) != list(self.cuts):
            raise ValueError(f"baseline.cuts: {list(self.cuts)} are not ascending shares between 0 and 1")

    def needs(self, train: TrainView) -> int:
        return 12 * DOUBLE * len(train.items) ** 2

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        kernel_II = blocks.item_kernel(train, self.kernel, "baseline.kernel")
        taste_II = blocks.item_kernel(train, self.user_kernel, "baseline.user_kernel")
        like_N, items = likes(train), len(train.items)
        value_F, vector_IF = eigh(taste_II - taste_II.mean(), subset_by_index=[max(items - self.rank, 0), items - 1])
        feature_IF = vector_IF * np.sqrt(self.taste * np.maximum(value_F, 0))

        def fit(of_N: np.ndarray) -> Fitted:
            rows = train.user_N[of_N], train.item_N[of_N], like_N[of_N]
            log_I = np.log1p(np.bincount(rows[1], minlength=items))
            fame_I = (log_I - log_I.mean()) / max(log_I.std(), 1e-12)
            prior_II = kernel_II + self.count * np.outer(fame_I, fame_I)
            first = mode(*rows, prior_II, self.users, np.zeros((items, 0)), len(train.users))
            tastes_IF = np.concatenate([feature_IF, self.slope_variance**0.5 * first.item_I[:, None]], 1)
            return Fitted(mode(*rows, prior_II, self.users, tastes_IF, len(train.users)), tastes_IF)

        whole = fit(np.full(len(like_N), True))
        if not self.cuts:
            return lambda user_B, history_BI, candidate_I: whole.scores(user_B, candidate_I)

        rows = train.user_N, train.item_N, train.time_N, like_N > 0
        found = []
        for start, end in pairwise([*np.quantile(train.time_N, self.cuts), np.inf]):
            index_N = np.flatnonzero((train.time_N >= start) & (train.time_N < end))
            liked_history_NI = liked_history(rows, index_N, self.history, items)
            feature_NF = fit(train.time_N < start).features(train.user_N[index_N], train.item_N[index_N], liked_history_NI)
            found.append((feature_NF, like_N[index_N]))
        feature_NF, label_N = (np.concatenate(values) for values in zip(*found, strict=True))
        mean_F, scale_F = feature_NF.mean(0), np.maximum(feature_NF.std(0), 1e-12)
        weight_F, bias = logistic((feature_NF - mean_F) / scale_F, label_N, RIDGE)

        def pointwise(task: EvalTask) -> np.ndarray:
            if task.liked_history_NI is None:
                raise ConfigError("baseline.cuts: rows have no history of likes; give split.history, or cuts=[]")
            return (whole.features(task.user_N, task.item_N, task.liked_history_NI) - mean_F) / scale_F @ weight_F + bias

        return PointwiseScorer(pointwise)


class Fitted(NamedTuple):
    """A rating process at its mode; of the features of taste the last is f̂."""

    at: Posterior
    tastes_IF: np.ndarray

    def scores(self, user_B: np.ndarray, candidate_I: np.ndarray) -> np.ndarray:
        """The logits, of shape (B, I)."""
        own_BI = self.at.taste_UF[user_B] @ self.tastes_IF[candidate_I].T
        return self.at.mean + self.at.item_I[candidate_I][None] + self.at.user_U[user_B][:, None] + own_BI

    def features(self, user_N: np.ndarray, item_N: np.ndarray, liked_history_NI: sparse.csr_array) -> np.ndarray:
        """[f_i, a_u, g_u(i), s_u f̂_i, h] of rows."""
        own_NF = self.at.taste_UF[user_N] * self.tastes_IF[item_N]
        of_likes_N = by_likes(self.tastes_IF[:, :-1], item_N, liked_history_NI)
        return np.stack([self.at.item_I[item_N], self.at.user_U[user_N], own_NF[:, :-1].sum(1), own_NF[:, -1], of_likes_N], 1)


def by_likes(feature_IF: np.ndarray, item_N: np.ndarray, liked_history_NI: sparse.csr_array) -> np.ndarray:
    """h of each row: k_iH (K_HH + 4I)⁻¹ 1 with K = x xᵀ, H the items that were liked before it."""
    liked_N = np.zeros(len(item_N))
    for n, liked_K in enumerate(np.split(liked_history_NI.indices, liked_history_NI.indptr[1:-1])):
        if len(liked_K):
            liked_KF = feature_IF[liked_K]
            weight_K = np.linalg.solve(liked_KF @ liked_KF.T + NOISE * np.eye(len(liked_K)), np.ones(len(liked_K)))
            liked_N[n] = feature_IF[item_N[n]] @ (weight_K @ liked_KF)
    return liked_N


def logistic(feature_NF: np.ndarray, label_N: np.ndarray, ridge: float) -> tuple[np.ndarray, float]:
    """argmin_w,b Σ log(1 + exp(−(2y − 1)(w·x + b))) + ½ ridge |w|²."""
    from scipy.optimize import minimize  # heavy
    from scipy.special import expit

    sign_N = 2 * label_N - 1

    def loss(weight_F: np.ndarray) -> tuple[float, np.ndarray]:
        margin_N = sign_N * (feature_NF @ weight_F[:-1] + weight_F[-1])
        pull_N = -sign_N * expit(-margin_N)
        gradient_F = np.append(feature_NF.T @ pull_N + ridge * weight_F[:-1], pull_N.sum())
        return float(np.logaddexp(0, -margin_N).sum() + ridge / 2 * (weight_F[:-1] ** 2).sum()), gradient_F

    found = minimize(
        loss, np.zeros(feature_NF.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-12}
    )
    return found.x[:-1], float(found.x[-1])
