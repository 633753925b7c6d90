"""What comes next, without training: items are compared with those of a history, the newest counting most.

    score_ui = Σ_k decay^(k−1) W[h_k, i] + w · c_i,   h_k the user's k-th newest item,   W = Σ_m w_m W_m

The W_m are similarities of texts, which know items without interactions too, and counts of what followed what. Each is brought to unit
standard deviation over the validation users' scores; the weights w_m are chosen there, one after the other, the first being 1.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from cold_jax import seeds
from cold_jax.baselines import blocks
from cold_jax.baselines.base import Tasks
from cold_jax.baselines.features import item_counts
from cold_jax.evaluation import metrics
from cold_jax.evaluation.evaluate import Scorer, validate
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView
from cold_jax.text import similarity

BACKWARD, FADE = 0.5, 0.8  # of transitions against the order, and with each step of distance


def title_similarity(train: TrainView, title: str) -> np.ndarray:
    """TF-IDF of titles with pairs of words, beside a tenth of the categories' and a fifth of the brand's, which a title names first."""
    first = [similarity.words(text)[:2] for text in train.items.texts[title]]
    brands = [[*own[:1], *([" ".join(own)] if len(own) == 2 else [])] for own in first]
    blocks = [(1.0, similarity.of_words(train.items.texts[title])), (0.2, similarity.tfidf(brands))]
    blocks += [(0.1, similarity.unit_rows(sparse.csr_array(of_IF))) for of_IF in train.items.indicators.values()]
    return text_gram(sparse.csr_array(sparse.hstack([np.sqrt(weight) * block_IF for weight, block_IF in blocks])))


def text_gram(feature_IF: sparse.csr_array) -> np.ndarray:
    return (feature_IF @ feature_IF.T).toarray().astype(np.float32)


def transition_weights(train: TrainView) -> np.ndarray:
    """W_ij = c_i^-½ c_j^-¼ Σ 0.8^(d−1) over the times that j came d after i, and half that over those it came before."""
    count_I = np.maximum(item_counts(train), 1)
    weight_II = np.zeros((len(count_I), len(count_I)), np.float32)
    for distance in range(1, 32):  # beyond, 0.8^distance is below a thousandth
        same_N = train.user_N[distance:] == train.user_N[:-distance]
        before_N, after_N = train.item_N[:-distance][same_N], train.item_N[distance:][same_N]
        np.add.at(weight_II, (before_N, after_N), FADE ** (distance - 1))
        np.add.at(weight_II, (after_N, before_N), BACKWARD * FADE ** (distance - 1))
    return weight_II * (count_I**-0.5)[:, None].astype(np.float32) * (count_I**-0.25).astype(np.float32)


def decayed(history_UI: sparse.csr_array, decay: float) -> sparse.csr_array:
    """Places from the end → their weights decay^(place − 1)."""
    return sparse.csr_array((decay ** (history_UI.data - 1), history_UI.indices, history_UI.indptr), shape=history_UI.shape)


def tune_weights(
    scorers: Mapping[str, Scorer], grid: Sequence[float], metric: str, part: EvalTask, rounds: int = 2
) -> tuple[dict[str, float], float]:
    """(weight of each scorer, the part's metric at them): coordinate search from the first alone, over the grid for each other.

    Weights are of the scores as they are, the grid of scores at unit standard deviation over the part.
    """
    asked = part.user_U, part.history_UI, part.candidate_I
    score = {name: np.asarray(scorer(*asked), np.float32) for name, scorer in scorers.items()}
    scale = {name: float(1 / max(score_UI.std(), 1e-12)) for name, score_UI in score.items()}
    row_of = {int(user): row for row, user in enumerate(part.user_U)}
    first, *others = scorers
    weight = dict.fromkeys(scorers, 0.0) | {first: scale[first]}

    def at(**changed: float) -> float:
        total_UI = sum((w * score[name] for name, w in (weight | changed).items() if w), np.zeros((), np.float32))
        return validate(lambda user_U, *_: total_UI[[row_of[int(u)] for u in user_U]], {part.name: part}, metric)[0]

    best = at()
    for _ in range(rounds if len(others) > 1 else min(len(others), 1)):
        for name in others:
            reached = {g: at(**{name: g * scale[name]}) for g in grid}
            best = max(reached.values())
            weight[name] = max(reached, key=lambda g: reached[g]) * scale[name]  # the first of equals
    return weight, best


def sample_users(validation: Mapping[str, EvalTask], users: int, seed: int) -> EvalTask:
    """The part of what comes next with so many of its users, drawn. Raises ValueError where no such thing is asked."""
    part = validation.get("all")
    if part is None or part.kind is not TaskKind.next:
        raise ValueError("split: closed forms for sequences choose their weights by what comes next; use split=next_item")
    drawn_U = np.sort(seeds.generator(seed, "validation users").permutation(len(part.user_U))[:users])
    return part.of(drawn_U)


@dataclass(frozen=True)
class History:
    """The sum above of `members`: line and titles (TF-IDF), vectors, transitions, popularity.

    own: an item votes for itself, which tells where nothing is masked. users: so many of the validation part choose the weights.
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
        object.__setattr__(self, "grid", tuple(self.grid))
        for member in self.members:
            if member not in ("line", "titles", "vectors", "transitions", "popularity"):
                raise ValueError(f"baseline.members: {member!r} is not one of line, titles, vectors, transitions, popularity")
        try:
            metrics.parse(self.metric)
        except ValueError as error:
            raise ValueError(f"baseline.metric: {error}") from None

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        return self.fit(train, validation, self.kernels(train, self.members), {})

    def kernels(self, train: TrainView, members: Iterable[str]) -> dict[str, np.ndarray]:
        """The W_m of those members that have one, of shape (I, I)."""
        made: dict[str, Callable[[], np.ndarray]] = {
            "line": lambda: text_gram(similarity.of_words(train.items.texts[self.line])),
            "titles": lambda: title_similarity(train, self.title),
            "vectors": lambda: blocks.whitened_cosine(train, self.line, "baseline.line").astype(np.float32),
            "transitions": lambda: transition_weights(train),
        }
        kernels = {name: made[name]() for name in members if name in made}
        if not self.include_self:
            for weight_II in kernels.values():
                np.fill_diagonal(weight_II, 0)
        return kernels

    def fit(self, train: TrainView, validation: Tasks, kernels: Mapping[str, np.ndarray], others: Mapping[str, Scorer]) -> Scorer:
        """The sum of the members, whose kernels are among `kernels`, with other scorers in front of them."""
        kernels = {name: kernels[name] for name in self.members if name in kernels}
        count_I = item_counts(train).astype(np.float32)

        def of(weight_II: np.ndarray) -> Scorer:
            return lambda user_U, history_UI, candidate_I: decayed(history_UI, self.decay) @ weight_II[:, candidate_I]

        def popular(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            return np.tile(count_I[candidate_I], (len(user_U), 1))

        scorers = {**others, **{name: of(weight_II) for name, weight_II in kernels.items()}}
        scorers |= {"popularity": popular} if "popularity" in self.members else {}
        weight = dict.fromkeys(scorers, 1.0)
        if len(scorers) > 1:
            weight, _ = tune_weights(scorers, self.grid, self.metric, sample_users(validation, self.users, self.seed))
        all_I = len(count_I)
        total_II = np.zeros((all_I, all_I), np.float32)
        for name, weight_II in kernels.items():
            total_II += weight[name] * weight_II
        prior_I = weight.get("popularity", 0) * count_I

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            score_UI = decayed(history_UI, self.decay) @ total_II + prior_I
            score_UI = score_UI if len(candidate_I) == all_I else score_UI[:, candidate_I]
            return sum(
                (weight[name] * np.asarray(other(user_U, history_UI, candidate_I)) for name, other in others.items()), score_UI
            )

        return scorer
