"""Item-item models: EASE and item-kNN."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from scipy import sparse
from scipy.linalg import get_lapack_funcs

from cold_jax.baselines.base import Baseline, Tasks, check_grids, history_scorer, of_candidates, tuned, weighted_scorer
from cold_jax.baselines.closed_forms import truncated_svd
from cold_jax.baselines.features import item_counts, item_gram
from cold_jax.baselines.memory import DOUBLE
from cold_jax.baselines.neighbours import largest_entries
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView

KEPT = 2**27  # bytes of EASE's weights that are kept for another baseline


@dataclass(frozen=True)
class Ease(Baseline):
    """score_ui = Σ_{j in H_u} W_ji + a · c_i / max c, W of `ease_weights`, a = `popularity` (reference recipe: 0 and 0.3).

    Of more than `dense_items` items RᵀR is cut to its largest `factors` eigenvalues: `ease_factors`.
    """

    popularity: float
    penalties: list[float]
    metric: str
    dense_items: int
    factors: int

    def __post_init__(self) -> None:
        check_grids(self, self.metric, penalties=self.penalties)
        require("baseline", self, at_least_0=["popularity"], at_least_1=["dense_items", "factors"])

    def needs(self, train: TrainView) -> int:
        items = len(train.items)
        return DOUBLE * items * (6 * items if items <= self.dense_items else 6 * self.factors)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        count_I = item_counts(train)
        prior_I = self.popularity * count_I / count_I.max()

        def fit(train: TrainView) -> Callable[[float], Scorer]:
            if len(train.items) > self.dense_items:
                value_V, vector_IV = _gram_factors(train, self.factors)
                return lambda penalty: _factored_scorer(train, value_V, vector_IV, penalty, prior_I)
            weights = (_shared_weights if 4 * DOUBLE * len(train.items) ** 2 <= KEPT else _dense_weights)(train)
            return lambda penalty: weighted_scorer(train, weights(penalty), prior_I)

        return tuned(fit, self.penalties, train, [(train, validation)], self.metric)


@dataclass(frozen=True)
class ItemKnn(Baseline):
    """score_ui = Σ_{j in H_u} W_ji, W of `item_knn_weights`; None among `neighbours` keeps all."""

    shrinks: list[float]
    neighbours: list[int | None]
    metric: str

    def __post_init__(self) -> None:
        check_grids(self, self.metric, shrinks=self.shrinks, neighbours=self.neighbours)

    def needs(self, train: TrainView) -> int:
        pairs = int((np.diff(train.interaction_UI.indptr).astype(np.int64) ** 2).sum())  # that users share, at most
        return 8 * DOUBLE * min(pairs, len(train.items) ** 2)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        def fit(train: TrainView) -> Callable[[tuple[float, int | None]], Scorer]:
            gram_II = item_gram(train)
            return lambda setting: weighted_scorer(train, item_knn_weights(gram_II, *setting), np.zeros(len(train.items)))

        return tuned(fit, list(product(self.shrinks, self.neighbours)), train, [(train, validation)], self.metric)


def _dense_weights(train: TrainView) -> Callable[[float], np.ndarray]:
    """λ → `ease_weights`; as many are kept as KEPT has room for."""
    gram_II, made = item_gram(train).toarray(), {}

    def weights(penalty: float) -> np.ndarray:
        if penalty in made:
            return made[penalty]
        weight_II = ease_weights(gram_II, penalty)
        if (len(made) + 1) * weight_II.nbytes <= KEPT:
            made[penalty] = weight_II
        return weight_II

    return weights


_shared_weights = lru_cache(maxsize=1)(_dense_weights)  # of ease, and then of ease_popularity


def ease_weights(gram_II: np.ndarray, penalty: float) -> np.ndarray:
    """argmin_W |R − R W|² + λ|W|² with diag W = 0, from RᵀR (Steck, WWW 2019, eq. 8)."""
    factor, invert = get_lapack_funcs(("potrf", "potri"), (gram_II,))
    upper_II, _ = invert(factor(gram_II + penalty * np.eye(len(gram_II)))[0])
    inverse_II = np.triu(upper_II) + np.triu(upper_II, 1).T
    weight_II = inverse_II / -np.diag(inverse_II)
    np.fill_diagonal(weight_II, 0)
    return weight_II


@lru_cache(maxsize=1)  # of ease, and then of ease_popularity
def _gram_factors(train: TrainView, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """(eigenvalues, eigenvectors_IV) of RᵀR, the largest first."""
    _, value_V, vector_VI = truncated_svd(sparse.csr_array(train.interaction_UI, dtype=np.float64), factors)
    return value_V**2, vector_VI.T


def ease_factors(value_V: np.ndarray, vector_IV: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(source_IV, target_IV, self_I) with W = source targetᵀ − diag(self), EASE's weights where RᵀR = V diag(value) Vᵀ.

    (RᵀR + λI)⁻¹ = (I − V diag(value / (value + λ)) Vᵀ) / λ. With all eigenvalues these are `ease_weights`; cut, the items' covariance
    that is left out counts as none.
    """
    shrunk_IV = vector_IV * (value_V / (value_V + penalty))
    own_I = (shrunk_IV * vector_IV).sum(1)
    target_IV = vector_IV / (1 - own_I)[:, None]
    return shrunk_IV, target_IV, own_I / (1 - own_I)


def _factored_scorer(train: TrainView, value_V: np.ndarray, vector_IV: np.ndarray, penalty: float, prior_I: np.ndarray) -> Scorer:
    source_IV, target_IV, self_I = ease_factors(value_V, vector_IV, penalty)
    source_IV = np.ascontiguousarray(source_IV)  # else scipy makes such a copy in every product
    target_of = of_candidates(lambda candidate_I: target_IV[candidate_I].T)

    def score(history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        own_UI = history_UI.multiply(self_I[None]).tocsr()[:, candidate_I].toarray()
        return history_UI @ source_IV @ target_of(candidate_I) - own_UI + prior_I[candidate_I]

    return history_scorer(train, score)


def item_knn_weights(gram_II: sparse.csr_array, shrink: float, neighbours: int | None) -> sparse.csr_array:
    """W_ji = g_ji / (√(c_j c_i) + shrink) where i is one of the items most similar to j, else 0; g is RᵀR.

    Each item hands its vote to its neighbours (Deshpande & Karypis, TOIS 2004); None: to all items.
    """
    count_I, column_N = gram_II.diagonal(), gram_II.indices
    row_N = np.repeat(np.arange(len(count_I)), np.diff(gram_II.indptr))
    weight_N = gram_II.data / (np.sqrt(count_I[row_N] * count_I[column_N]) + shrink)
    weight_N[row_N == column_N] = 0
    weight_II = sparse.csr_array((weight_N, column_N, gram_II.indptr), shape=gram_II.shape)
    return weight_II if neighbours is None else largest_entries(weight_II, neighbours)
