"""Neighbours by text vectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from cold_jax.baselines.base import Baseline, Person, Tasks, Terms, history_scorer, of_candidates
from cold_jax.baselines.features import text_vectors
from cold_jax.baselines.gram import row_blocks
from cold_jax.baselines.neighbours import nearest_weights, top_weights
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView


@dataclass(frozen=True)
class ContentMean(Baseline):
    """score_ui = e_i · Σ_{j in H_u} e_j, the order by cosine with the mean of a user's history H_u; nothing is trained."""

    text: str

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        vector_ID = text_vectors(train, "items", self.text)
        vector_of = of_candidates(lambda candidate_I: vector_ID[candidate_I].T)
        return history_scorer(train, lambda history_UI, candidate_I: history_UI @ vector_ID @ vector_of(candidate_I))


@dataclass(frozen=True)
class ContentKnn(Baseline):
    """score_ui = Σ_{j in N(i) ∩ H_u} cos(e_i, e_j) / Σ_{j in N(i)} cos(e_i, e_j), N(i) the warm items nearest in text."""

    text: str
    neighbours: int

    def __post_init__(self) -> None:
        require("baseline", self, at_least_1=["neighbours"])

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        vector_ID = text_vectors(train, "items", self.text)

        def score(history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            blocks = row_blocks(len(candidate_I), len(vector_ID))
            weights = (nearest_weights(vector_ID, candidate_I[own], train.warm_I, self.neighbours) for own in blocks)
            return np.concatenate([history_UI @ weight_CI.T for weight_CI in weights], 1)

        return history_scorer(train, score)


@dataclass(frozen=True)
class ProfileKnn(Baseline):
    """score_ui = Σ_{v in N(u)} cos(e_u, e_v) R_vi / Σ_{v in N(u)} cos(e_u, e_v), N(u) the warm users nearest in profile text."""

    text: str
    neighbours: int

    def __post_init__(self) -> None:
        require("baseline", self, at_least_1=["neighbours"])

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        return ProfileScorer(text_vectors(train, "users", self.text), train.warm_U, train.interaction_UI, self.neighbours)


@dataclass(frozen=True)
class ProfileScorer:
    vector_UD: np.ndarray
    warm_U: np.ndarray
    interaction_UI: sparse.csr_array
    neighbours: int

    def __call__(self, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        weight_BU = nearest_weights(self.vector_UD, user_U, self.warm_U, self.neighbours)
        return weight_BU @ self._taken_of(candidate_I)

    @cached_property
    def _taken_of(self) -> Callable[[np.ndarray], sparse.csr_array]:
        return of_candidates(lambda candidate_I: self.interaction_UI[:, candidate_I])

    def terms(self, person: Person, history: Sequence[int], item: int) -> Terms:
        """Of the neighbours who took the item."""
        if person.number is None:
            weight_1U = top_weights(np.maximum(person.profile_D @ self.vector_UD.T, 0)[None] * self.warm_U, self.neighbours)
        else:
            weight_1U = nearest_weights(self.vector_UD, np.array([person.number]), self.warm_U, self.neighbours)
        taken_U = self.interaction_UI[:, [item]].toarray()[:, 0]
        share_U = weight_1U[0] * taken_U
        users = [(int(u), float(share_U[u])) for u in np.flatnonzero(share_U)]
        return Terms(0.0, np.zeros(len(history)), float(share_U.sum()), users=users)
