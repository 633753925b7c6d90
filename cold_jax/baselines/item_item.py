"""Item-item models: EASE and item-kNN."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import get_lapack_funcs

from cold_jax.baselines.base import Tasks, check_grids, tuned, weighted_scorer
from cold_jax.baselines.features import item_counts, item_gram
from cold_jax.baselines.neighbours import _kth_largest
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.splits.tasks import TrainView


@dataclass(frozen=True)
class Ease:
    """score_ui = Σ_{j shown by u} W_ji + a · c_i / max c, W of `ease`, a = `popularity` (reference recipe: 0 and 0.3)."""

    popularity: float
    penalties: list[float]
    metric: str

    def __post_init__(self) -> None:
        check_grids(self, self.metric, penalties=self.penalties)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        count_I = item_counts(train)
        prior_I = self.popularity * count_I / count_I.max()

        def fit(train: TrainView) -> Callable[[float], Scorer]:
            gram_II = item_gram(train)
            return lambda penalty: weighted_scorer(train, ease_weights(gram_II, penalty), prior_I)

        return tuned(fit, self.penalties, train, [(train, validation)], self.metric)


@dataclass(frozen=True)
class ItemKnn:
    """score_ui = Σ_{j shown by u} W_ji, W of `item_knn`; None among `neighbours` keeps all."""

    shrinks: list[float]
    neighbours: list[int | None]
    metric: str

    def __post_init__(self) -> None:
        check_grids(self, self.metric, shrinks=self.shrinks, neighbours=self.neighbours)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        def fit(train: TrainView) -> Callable[[tuple[float, int | None]], Scorer]:
            gram_II = item_gram(train)
            return lambda setting: weighted_scorer(train, item_knn_weights(gram_II, *setting), np.zeros(len(train.items)))

        return tuned(fit, list(product(self.shrinks, self.neighbours)), train, [(train, validation)], self.metric)


def ease_weights(gram_II: np.ndarray, penalty: float) -> np.ndarray:
    """argmin_W |R − R W|² + λ|W|² with diag W = 0, from RᵀR (Steck, WWW 2019, eq. 8)."""
    factor, invert = get_lapack_funcs(("potrf", "potri"), (gram_II,))
    upper_II, _ = invert(factor(gram_II + penalty * np.eye(len(gram_II)))[0])
    inverse_II = np.triu(upper_II) + np.triu(upper_II, 1).T
    weight_II = inverse_II / -np.diag(inverse_II)
    np.fill_diagonal(weight_II, 0)
    return weight_II


def item_knn_weights(gram_II: np.ndarray, shrink: float, neighbours: int | None) -> np.ndarray:
    """W_ji = g_ji / (√(c_j c_i) + shrink) where i is one of the items most similar to j, else 0.

    Each item hands its vote to its neighbours (Deshpande & Karypis, TOIS 2004); None: to all items.
    """
    norm_II = np.sqrt(np.outer(np.diag(gram_II), np.diag(gram_II))) + shrink
    weight_II = gram_II / np.where(norm_II > 0, norm_II, 1)
    np.fill_diagonal(weight_II, 0)
    return weight_II if neighbours is None else weight_II * (weight_II >= _kth_largest(weight_II, neighbours))
