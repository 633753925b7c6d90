"""Random and popularity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from cold_jax import seeds
from cold_jax.baselines.base import Baseline, Person, Tasks, Terms
from cold_jax.baselines.features import item_counts
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.splits.tasks import TrainView


@dataclass(frozen=True)
class Random(Baseline):
    """A draw for each pair, a pure function of (seed, user, item)."""

    seed: int

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            draws = [seeds.generator(self.seed, "random baseline", int(user)).random(len(train.items)) for user in user_U]
            return np.stack(draws)[:, candidate_I]

        return scorer


@dataclass(frozen=True)
class Popularity(Baseline):
    """score_ui = c_i for every user."""

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        return CountScorer(item_counts(train))


@dataclass(frozen=True)
class CountScorer:
    count_I: np.ndarray

    def __call__(self, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        return np.tile(self.count_I[candidate_I], (len(user_U), 1))

    def terms(self, person: Person, history: Sequence[int], item: int) -> Terms:
        return Terms(float(self.count_I[item]), np.zeros(len(history)))
