"""What comes next, without training: items are compared with those of a history, the newest counting most.

    score_ui = Σ_k decay^(k−1) W[h_k, i] + w · c_i,   h_k the user's k-th newest item,   W = Σ_m w_m W_m

The W_m are similarities of texts, which know items without interactions too, and counts of what followed what. Each is brought to unit
standard deviation over the validation users' scores; the weights w_m are chosen there, one after the other, the first being 1.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy import sparse

from cold_jax import seeds
from cold_jax.baselines.base import Baseline, Tasks, check_grids, of_candidates
from cold_jax.baselines.blocks import FLOOR
from cold_jax.baselines.features import item_counts, text_vectors
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import Scorer, validate
from cold_jax.ranges import require
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView
from cold_jax.text import similarity

BACKWARD, DECAY = 0.5, 0.8  # of transitions against the order, and with each step of distance
USERS = 256  # whose scores by words are sparse at once, a row of which may be full


class Similarity(Protocol):
    """A member's W, as what makes its scores."""

    def scores(self, weight_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        """weight_UI W of the candidates, of shape (U, C), in single precision."""
        ...


@dataclass(frozen=True)
class Products:
    """W = x xᵀ, by way of x alone: W would be items × items. include_self: an item's own row counts.

    Items of one text are scored once: the digits of a product may depend on its column, and equal scores shall be equal.
    """

    x_IF: np.ndarray | sparse.csr_array
    include_self: bool
    same_I: np.ndarray | None = None  # the first item of each item's text; None: each its own

    @cached_property
    def _of(self) -> Callable[[np.ndarray], tuple[np.ndarray | sparse.csr_array, np.ndarray | None]]:
        """Candidates → (xᵀ of their distinct ones, of shape (F, K); each one's place among those, None where they are all distinct)."""

        def take(candidate_I: np.ndarray) -> tuple[np.ndarray | sparse.csr_array, np.ndarray | None]:
            own_C, place_C = candidate_I, None
            if self.same_I is not None:
                own_C, place_C = np.unique(self.same_I[candidate_I], return_inverse=True)
            x_KF = self.x_IF[own_C]
            return x_KF.T if isinstance(x_KF, np.ndarray) else sparse.csr_array(x_KF.T), place_C

        return of_candidates(take)

    @cached_property
    def _square_I(self) -> np.ndarray:
        return np.asarray((self.x_IF * self.x_IF).sum(1), np.float32)

    def scores(self, weight_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        (x_FK, place_C), score_UC = self._of(candidate_I), np.empty((len(weight_UI.indptr) - 1, len(candidate_I)), np.float32)
        for start in range(0, len(score_UC), USERS):
            profile_BF = weight_UI[slice(start, start + USERS)] @ self.x_IF
            score_BK = profile_BF @ x_FK if isinstance(x_FK, np.ndarray) else sparse.csr_array(profile_BF @ x_FK).toarray()
            score_UC[start : start + USERS] = score_BK if place_C is None else score_BK[:, place_C]
        if not self.include_self:
            own_UC = sparse.coo_array((weight_UI @ sparse.diags_array(self._square_I))[:, candidate_I])
            score_UC[own_UC.row, own_UC.col] -= own_UC.data
        return score_UC


@dataclass(frozen=True)
class Weights:
    """W itself, of few entries."""

    weight_II: sparse.csr_array

    def scores(self, weight_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        return sparse.csr_array(weight_UI @ self.weight_II)[:, candidate_I].toarray()


def title_features(train: TrainView, title: str) -> sparse.csr_array:
    """TF-IDF of titles with pairs of words, beside a tenth of the categories' and a fifth of the brand's, which a title names first."""
    title_I = train.items.text(title, "baseline.title")
    first = [similarity.words(text)[:2] for text in title_I]
    brands = [[*own[:1], *([" ".join(own)] if len(own) == 2 else [])] for own in first]
    blocks = [(1.0, similarity.of_words(title_I)), (0.2, similarity.tfidf(brands))]
    blocks += [(0.1, similarity.unit_rows(sparse.csr_array(of_IF))) for of_IF in train.items.indicators.values()]
    return sparse.csr_array(sparse.hstack([np.sqrt(weight) * block_IF for weight, block_IF in blocks]), dtype=np.float32)


def transition_weights(train: TrainView) -> sparse.csr_array:
    """W_ij = c_i^-½ c_j^-¼ Σ 0.8^(d−1) over the times that j came d after i, and half that over those it came before."""
    count_I = np.maximum(item_counts(train), 1)
    weight_II = sparse.csr_array((len(count_I), len(count_I)))
    for distance in range(1, 32):  # beyond, 0.8^distance is below a thousandth
        same_N = train.user_N[distance:] == train.user_N[:-distance]
        before_N, after_N = train.item_N[:-distance][same_N], train.item_N[distance:][same_N]
        forward_II = sparse.coo_array((np.ones(len(before_N)), (before_N, after_N)), shape=weight_II.shape).tocsr()
        weight_II += DECAY ** (distance - 1) * (forward_II + BACKWARD * forward_II.T)
    scaled_II = sparse.diags_array(count_I**-0.5) @ weight_II @ sparse.diags_array(count_I**-0.25)
    return sparse.csr_array(scaled_II, dtype=np.float32)


def decayed(history_UI: sparse.csr_array, decay: float) -> sparse.csr_array:
    """Places from the end → their weights decay^(place − 1)."""
    return sparse.csr_array((decay ** (history_UI.data - 1), history_UI.indices, history_UI.indptr), shape=history_UI.shape)


def tune_weights(
    scorers: Mapping[str, Scorer], grid: Sequence[float], metric: str, task: EvalTask, rounds: int = 2
) -> tuple[dict[str, float], float]:
    """(weight of each scorer, the task's metric at them): coordinate search from the first alone, over the grid for each other.

    Weights are of the scores as they are, the grid of scores at unit standard deviation over the task.
    """
    inputs = task.user_U, task.history_UI, task.candidate_I
    score = {name: np.asarray(scorer(*inputs), np.float32) for name, scorer in scorers.items()}
    scale = {name: float(1 / max(score_UI.std(), 1e-12)) for name, score_UI in score.items()}
    row_of = {int(user): row for row, user in enumerate(task.user_U)}
    first, *others = scorers
    weight = dict.fromkeys(scorers, 0.0) | {first: scale[first]}

    def at(**changed: float) -> float:
        total_UI = sum((w * score[name] for name, w in (weight | changed).items() if w), np.zeros((), np.float32))
        return validate(lambda user_U, *_: total_UI[[row_of[int(u)] for u in user_U]], {task.name: task}, metric)[0]

    best = at()
    for _ in range(rounds if len(others) > 1 else min(len(others), 1)):
        for name in others:
            reached = {g: at(**{name: g * scale[name]}) for g in grid}
            best = max(reached.values())
            weight[name] = max(reached, key=lambda g: reached[g]) * scale[name]  # the first of equals
    return weight, best


def sample_users(validation: Mapping[str, EvalTask], users: int, seed: int) -> EvalTask:
    """The next-item task with so many of its users, drawn at random. Raises ConfigError where there is none."""
    task = validation.get("all")
    if task is None or task.kind is not TaskKind.next:
        raise ConfigError("split: closed forms for sequences choose their weights by what comes next; use split=next_item")
    sampled_U = np.sort(seeds.generator(seed, "validation users").permutation(len(task.user_U))[:users])
    return task.of(sampled_U)


@dataclass(frozen=True)
class History(Baseline):
    """The sum above of `members`: line and titles (TF-IDF), vectors (whitened), cosine (of vectors as they are), transitions, popularity.

    include_self: an item's own row counts, which matters where seen items are not masked. users: of the validation task, for the weights.
    """

    members: list[str]
    line: str
    title: str
    decay: float
    include_self: bool
    grid: list[float]
    metric: str
    users: int
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        check_grids(self, self.metric, grid=self.grid)
        require("baseline", self, at_least_1=["users"], above_0=["decay"])
        for member in self.members:
            if member not in ("line", "titles", "vectors", "cosine", "transitions", "popularity"):
                raise ValueError(
                    f"baseline.members: {member!r} is not one of line, titles, vectors, cosine, transitions, popularity"
                )

    def needs(self, train: TrainView) -> int:
        reads = {"vectors", "cosine"} & set(self.members)  # other texts are not even encoded
        width = 4 * text_vectors(train, "items", self.line).shape[1] if reads else 0
        return 4 * len(train.items) * ((len(self.members) + 2) * self.users + width)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        return self.fit(train, validation, self.similarities(train, self.members), {})

    def similarities(self, train: TrainView, members: Iterable[str]) -> dict[str, Similarity]:
        """Of those members that compare items."""
        return {name: SIMILARITIES[name](self, train) for name in members if name in SIMILARITIES}

    def fit(
        self, train: TrainView, validation: Tasks, similarities: Mapping[str, Similarity], others: Mapping[str, Scorer]
    ) -> Scorer:
        """The sum of the members, which are among `similarities`, with other scorers in front of them."""
        count_I = item_counts(train).astype(np.float32)

        def of(member: Similarity) -> Scorer:
            return lambda _, history_UI, candidate_I: member.scores(decayed(history_UI, self.decay), candidate_I)

        def popular(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            return np.tile(count_I[candidate_I], (len(user_U), 1))

        scorers = {**others, **{name: of(similarities[name]) for name in self.members if name in similarities}}
        scorers |= {"popularity": popular} if "popularity" in self.members else {}
        if not scorers:
            raise ConfigError("baseline.members: [] scores nothing; name one or more")
        weight = dict.fromkeys(scorers, 1.0)
        if len(scorers) > 1:
            weight, _ = tune_weights(scorers, self.grid, self.metric, sample_users(validation, self.users, self.seed))
        scorers = {name: scorer for name, scorer in scorers.items() if weight[name]}

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            total_UI = np.zeros((len(user_U), len(candidate_I)), np.float32)
            for name, member in scorers.items():
                total_UI += weight[name] * np.asarray(member(user_U, history_UI, candidate_I), np.float32)
            return total_UI

        return scorer


def _vectors(config: History, train: TrainView) -> Similarity:
    """Whitened: without that a few directions that all texts share drown the rest."""
    vector_ID = text_vectors(train, "items", config.line)
    return Products(similarity.whitened(vector_ID, FLOOR).astype(np.float32), config.include_self, _same(vector_ID))


def _cosine(config: History, train: TrainView) -> Similarity:
    """Of vectors as they are: what an encoder trained on interactions compares by."""
    vector_ID = text_vectors(train, "items", config.line).astype(np.float32)
    return Products(vector_ID, config.include_self, _same(vector_ID))


def _same(vector_ID: np.ndarray) -> np.ndarray | None:
    _, first_K, place_I = np.unique(vector_ID, axis=0, return_index=True, return_inverse=True)
    return first_K[place_I] if len(first_K) < len(vector_ID) else None


def _transitions(config: History, train: TrainView) -> Similarity:
    weight_II = transition_weights(train)
    return Weights(weight_II if config.include_self else sparse.csr_array(weight_II - sparse.diags_array(weight_II.diagonal())))


SIMILARITIES: dict[str, Callable[[History, TrainView], Similarity]] = {
    "line": lambda config, train: Products(
        similarity.of_words(train.items.text(config.line, "baseline.line")), config.include_self
    ),
    "titles": lambda config, train: Products(title_features(train, config.title), config.include_self),
    "vectors": _vectors,
    "cosine": _cosine,
    "transitions": _transitions,
}
