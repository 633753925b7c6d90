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
from cold_jax.baselines.base import Baseline, Tasks
from cold_jax.baselines.blocks import Rows
from cold_jax.baselines.features import item_counts
from cold_jax.baselines.gram import BLOCK, row_blocks
from cold_jax.baselines.memory import DOUBLE
from cold_jax.errors import ConfigError
from cold_jax.evaluation import metrics
from cold_jax.evaluation.evaluate import Scorer, validate
from cold_jax.splits.tasks import EvalTask, TaskKind, TrainView
from cold_jax.text import similarity

BACKWARD, DECAY = 0.5, 0.8  # of transitions against the order, and with each step of distance


def title_similarity(train: TrainView, title: str) -> Rows:
    """TF-IDF of titles with pairs of words, beside a tenth of the categories' and a fifth of the brand's, which a title names first."""
    first = [similarity.words(text)[:2] for text in train.items.texts[title]]
    brands = [[*own[:1], *([" ".join(own)] if len(own) == 2 else [])] for own in first]
    blocks = [(1.0, similarity.of_words(train.items.texts[title])), (0.2, similarity.tfidf(brands))]
    blocks += [(0.1, similarity.unit_rows(sparse.csr_array(of_IF))) for of_IF in train.items.indicators.values()]
    return cosines(sparse.csr_array(sparse.hstack([np.sqrt(weight) * block_IF for weight, block_IF in blocks])))


def cosines(feature_IF: sparse.csr_array) -> Rows:
    """Rows of x xᵀ."""
    return lambda own: (feature_IF[own] @ feature_IF.T).toarray().astype(np.float32)


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
        object.__setattr__(self, "grid", tuple(self.grid))
        for member in self.members:
            if member not in ("line", "titles", "vectors", "cosine", "transitions", "popularity"):
                raise ValueError(
                    f"baseline.members: {member!r} is not one of line, titles, vectors, cosine, transitions, popularity"
                )
        metrics.require_known("baseline.metric", self.metric)

    def needs(self, train: TrainView) -> int:
        items, blocks = len(train.items), 6 * DOUBLE * BLOCK
        return 4 * items * (items + (len(self.members) + 2) * self.users) + min(blocks, 6 * DOUBLE * items**2)

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        return self.fit(train, validation, self.kernels(train, self.members), {})

    def kernels(self, train: TrainView, members: Iterable[str]) -> dict[str, Rows]:
        """The W_m of those members that have one, in single precision."""
        names = [name for name in members if name in KERNELS]
        return {
            name: KERNELS[name](self, train) if self.include_self else _without_self(KERNELS[name](self, train)) for name in names
        }

    def fit(self, train: TrainView, validation: Tasks, kernels: Mapping[str, Rows], others: Mapping[str, Scorer]) -> Scorer:
        """The sum of the members, whose kernels are among `kernels`, with other scorers in front of them."""
        kernels = {name: kernels[name] for name in self.members if name in kernels}
        count_I = item_counts(train).astype(np.float32)
        blocks = list(row_blocks(len(count_I), len(count_I)))

        def of(rows: Rows) -> Scorer:
            def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
                weight_UI = decayed(history_UI, self.decay)
                return sum(weight_UI[:, own] @ rows(own)[:, candidate_I] for own in blocks)  # type: ignore[return-value]

            return scorer

        def popular(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            return np.tile(count_I[candidate_I], (len(user_U), 1))

        scorers = {**others, **{name: of(rows) for name, rows in kernels.items()}}
        scorers |= {"popularity": popular} if "popularity" in self.members else {}
        weight = dict.fromkeys(scorers, 1.0)
        if len(scorers) > 1:
            weight, _ = tune_weights(scorers, self.grid, self.metric, sample_users(validation, self.users, self.seed))
        all_I = len(count_I)
        total_II = np.zeros((all_I, all_I), np.float32)
        for own in blocks:
            for name, rows in kernels.items():
                total_II[own] += weight[name] * rows(own)
        prior_I = weight.get("popularity", 0) * count_I

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            score_UI = decayed(history_UI, self.decay) @ total_II + prior_I
            score_UI = score_UI if len(candidate_I) == all_I else score_UI[:, candidate_I]
            return sum(
                (weight[name] * np.asarray(other(user_U, history_UI, candidate_I)) for name, other in others.items()), score_UI
            )

        return scorer


def _without_self(rows: Rows) -> Rows:
    """An item has no weight for itself."""

    def of(own: slice) -> np.ndarray:
        weight_BI = rows(own)
        weight_BI[np.arange(len(weight_BI)), np.arange(own.start, own.stop)] = 0
        return weight_BI

    return of


def _vectors(config: History, train: TrainView) -> Rows:
    rows = blocks.whitened_cosine(train, config.line, "baseline.line")
    return lambda own: rows(own).astype(np.float32)


def _cosine(config: History, train: TrainView) -> Rows:
    """Of vectors as they are: what an encoder trained on interactions compares by."""
    rows = blocks.block_rows(train, f"text({config.line})", "baseline.line")
    return lambda own: rows(own).astype(np.float32)


def _transitions(config: History, train: TrainView) -> Rows:
    weight_II = transition_weights(train)
    return lambda own: weight_II[own].toarray()


KERNELS: dict[str, Callable[[History, TrainView], Rows]] = {
    "line": lambda config, train: cosines(similarity.of_words(train.items.texts[config.line])),
    "titles": lambda config, train: title_similarity(train, config.title),
    "vectors": _vectors,
    "cosine": _cosine,
    "transitions": _transitions,
}
