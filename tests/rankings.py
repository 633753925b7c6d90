"""A random data set, and scorers that read a table, for the tests of evaluation."""

import numpy as np

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.evaluation.evaluate import EvaluationConfig, Scorer
from cold_jax.splits.entities import ItemCold, UserCold
from cold_jax.splits.tasks import EvalTask

CONFIG = EvaluationConfig(
    metrics=["recall@2", "ndcg@2", "mrr", "coverage@2"], metric="recall@2", top=3, chunk=4, resamples=100, users=None
)
USER_COLD = UserCold(
    seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, support=[0, 3], use_first_seen=False
)
ITEM_COLD = ItemCold(seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, threshold=None)


def make_dataset(users: int = 40, items: int = 30, interactions: int = 600) -> Dataset:
    generator = np.random.default_rng(0)
    columns = [generator.integers(0, high, interactions).astype(np.int32) for high in (users, items)]
    value_N, time_N = generator.integers(1, 6, interactions).astype(np.float32), generator.integers(0, 9, interactions) * 1.0
    sides = (Entities(tuple(f"{side}{n}" for n in range(count)), {}, {}) for side, count in (("u", users), ("i", items)))
    return Dataset("random", *columns, value_N, time_N, *sides)


def distinct_scores() -> np.ndarray:
    """Scores of 40 users and 30 items, no two of them equal."""
    return np.random.default_rng(5).permutation(40 * 30).reshape(40, 30).astype(np.float32)


def table_scorer(score_UI: np.ndarray) -> Scorer:
    return lambda user_U, history_UI, candidate_I: score_UI[user_U][:, candidate_I]


def oracle(task: EvalTask) -> np.ndarray:
    """1 for the targets of a task, of all users and items."""
    score_UI = np.zeros((40, 30), np.float32)
    score_UI[task.user_U] = task.target_UI.toarray()
    return score_UI
