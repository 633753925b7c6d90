"""From a label for each interaction to a split: what trains, what is cold, and the tasks of validation and test.

Everything follows from the labels, so a split that is read from a file is the split that was written.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import binary, first_seen
from cold_jax.errors import DataError, LeakError
from cold_jax.splits.labels import COLD, COLD_ITEMS, COLD_USERS, KNOWN, UNUSED, Cold
from cold_jax.splits.pointwise import pointwise_tasks
from cold_jax.splits.ranking import ranking_tasks
from cold_jax.splits.sequences import next_item_tasks
from cold_jax.splits.tasks import EvalTask, TrainView
from cold_jax.splits.ties import with_tie_break

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """`part_N` labels each interaction; all else follows from it, and so it is what is saved."""

    part_N: np.ndarray  # of str, "" where an interaction is not used
    train_N: np.ndarray  # indices of the training interactions
    warm_U: np.ndarray  # bool: has a training interaction
    warm_I: np.ndarray  # bool
    cold_U: np.ndarray  # bool: is evaluated as cold, so must have none
    cold_I: np.ndarray  # bool
    validation: Mapping[str, EvalTask]
    test: Mapping[str, EvalTask]
    threshold: float | None  # from which a value is a like; None: there are no likes
    first_seen_U: np.ndarray | None = None  # each user's first time, given to methods as context; None: not given


def over_positives(dataset: Dataset, make: Callable[[Dataset], Split]) -> Split:
    """The split that `make` gives of the interactions that satisfy data.positive; the others are not used.

    For splits that rank. An item that a user rated lower than data.positive wants is neither a target nor excluded as seen: it stays a
    candidate for them. Logs a line where values differ and data.positive is not set.
    """
    if dataset.positive_N is None:
        _log_values(dataset)
        return make(dataset)
    index_N = np.flatnonzero(dataset.positive_N)
    split = make(dataset.rows(index_N))
    part_N = np.full(len(dataset), UNUSED, split.part_N.dtype)
    part_N[index_N] = split.part_N
    return replace(split, part_N=part_N, train_N=index_N[split.train_N])


def unlabel_negatives(dataset: Dataset, part_N: np.ndarray) -> np.ndarray:
    """The labels with those removed that data.positive excludes; for labels of a file, as `over_positives` is for a recipe."""
    if dataset.positive_N is None:
        _log_values(dataset)
        return part_N
    return np.where(dataset.positive_N, part_N, UNUSED)


def _log_values(dataset: Dataset) -> None:
    low, high = dataset.value_N.min(initial=np.inf), dataset.value_N.max(initial=-np.inf)
    if low < high:
        message = "data.positive: null, so all %d interactions are positives, whatever their value (%g to %g); '>=%g' would keep the highest"
        log.info(message, len(dataset), low, high, high)


def assemble(
    dataset: Dataset,
    part_N: np.ndarray,
    cold: Cold,
    support: Sequence[int] = (),
    both_support: int = 0,
    threshold: float | None = None,
    exclude_seen: bool = True,
    window: int | None = None,
    ranked: bool = True,
) -> Split:
    """The split that follows from a label for each interaction.

    Args:
      part_N: train, warm_val, warm_test; where one side is cold cold_val, cold_test, where both are cold_users_*, cold_items_*,
        cold_both_*; next_val, next_test where the next item of a sequence is the target; "" for what is not used.
      support: each k of the tasks support_k, where users are cold.
      both_support: how many interactions with known items are a cold user's history, where both sides are cold.
      threshold: the value from which a row of a pointwise task has label 1; None: no pointwise tasks.
      exclude_seen: see `sequences.next_item_tasks`.
      window: see `sequences.next_item_tasks`; of pointwise tasks `pointwise.pointwise_tasks`.
      ranked: where there is a threshold, candidates are ranked too.

    Raises:
      DataError: training or a task is empty, or all rows of the test are alike.
      LeakError: a cold entity has interactions among the known ones.
    """
    train_N = np.flatnonzero(part_N == "train")
    if not len(train_N):
        raise DataError(f"split: training is empty: none of the {len(dataset)} interactions has the label train")

    def occurs(entity_N: np.ndarray, count: int, labels: Sequence[str]) -> np.ndarray:
        return np.isin(np.arange(count), entity_N[np.isin(part_N, labels)])

    users, items = (dataset.user_N, len(dataset.users)), (dataset.item_N, len(dataset.items))
    warm_U, warm_I = occurs(*users, ["train"]), occurs(*items, ["train"])
    cold_U = occurs(*users, COLD_USERS + COLD * (cold is Cold.users))
    cold_I = occurs(*items, COLD_ITEMS + COLD * (cold is Cold.items))

    settings = (cold, cold_I, support, both_support)
    if (part_N == "next_test").any():
        validation, test = (next_item_tasks(dataset, part_N, stage, exclude_seen, window) for stage in ("val", "test"))
    elif not ranked:
        labels = ["cold_val"] if cold is Cold.items else ["warm_val"]
        validation = pointwise_tasks(dataset, part_N, threshold or 0, labels, window)
        validation = {name: task for name, task in validation.items() if name == "all"}
        test = pointwise_tasks(dataset, part_N, threshold or 0, ["warm_test", "cold_test"], window)
        if not test:
            raise DataError(
                f"split.threshold: with {threshold} no user has test rows of both labels, so there is nothing to tell apart"
            )
    else:
        test = ranking_tasks(dataset, part_N, "test", *settings)
        if cold is Cold.none and threshold is not None:
            test |= pointwise_tasks(dataset, part_N, threshold, ["warm_test"], window)
        has_validation = any(label.endswith("_val") for label in np.unique(part_N) if cold is Cold.none or label not in KNOWN)
        validation = ranking_tasks(dataset, part_N, "val", *settings) if has_validation else {}
    validation, test = (with_tie_break(tasks, dataset.items.ids) for tasks in (validation, test))
    split = Split(part_N, train_N, warm_U, warm_I, cold_U, cold_I, validation, test, threshold)
    assert_no_leak(dataset, split)
    return split


def assert_no_leak(dataset: Dataset, split: Split) -> None:
    """Raises LeakError where a cold entity occurs among the known interactions, or a target is in training or in the history."""
    known_N = np.isin(split.part_N, KNOWN)
    known_N[split.train_N] = True
    sides = (("user", dataset.user_N, split.cold_U, dataset.users.ids), ("item", dataset.item_N, split.cold_I, dataset.items.ids))
    for side, entity_N, cold_X, ids in sides:
        count_X = np.where(cold_X, np.bincount(entity_N[known_N], minlength=len(ids)), 0)
        if count_X.any():
            first = int(np.argmax(count_X > 0))
            raise LeakError(
                f"split: {side} {ids[first]!r} is cold, but {count_X[first]} of its interactions are in train, warm_val or "
                f"warm_test ({np.count_nonzero(count_X)} such {side}s, {count_X.sum()} interactions); give them one side only"
            )
    train_UI = binary(dataset.user_N[split.train_N], dataset.item_N[split.train_N], (len(dataset.users), len(dataset.items)))
    for task in (*split.validation.values(), *split.test.values()):
        for known_UI, where in ((train_UI[task.user_U], "in training"), (task.history_UI, "in the users' history")):
            if count := task.target_UI.multiply(known_UI).nnz:
                raise LeakError(f"split: {count} targets of the task '{task.name}' are {where}")


def split_digest(split: Split) -> str:
    """sha256 over the labels and all tasks; a checkpoint of another split is refused by it."""
    sha = hashlib.sha256("\n".join(split.part_N.tolist()).encode())
    for stage, tasks in (("validation", split.validation), ("test", split.test)):
        for name, task in tasks.items():
            sha.update(f"{stage} {name} {task.kind.value} {task.exclude_seen}".encode())
            history, target = task.history_UI, task.target_UI
            liked, sampled = task.liked_history_NI, task.sampled_candidate_UI
            matrices = (history.indptr, history.indices, history.data, target.indptr, target.indices)
            optional = () if liked is None else (liked.indptr, liked.indices, liked.data)
            optional += () if sampled is None else (sampled.indptr, sampled.indices)
            for array in (task.user_U, *matrices, task.candidate_I, task.user_N, task.item_N, task.value_N, *optional):
                sha.update(np.ascontiguousarray(array, np.float64).tobytes())
    sha.update(b"" if split.first_seen_U is None else split.first_seen_U.tobytes())
    return sha.hexdigest()


def train_view(
    dataset: Dataset, split: Split, item_vectors: Mapping[str, np.ndarray], user_vectors: Mapping[str, np.ndarray]
) -> TrainView:
    """All that a method may learn from. `*_vectors`: the name of a text → θ's vector of it for each entity, of shape (entities, D)."""
    index_N = split.train_N[np.lexsort((dataset.time_N[split.train_N], dataset.user_N[split.train_N]))]
    user_N, item_N, value_N = dataset.user_N[index_N], dataset.item_N[index_N], dataset.value_N[index_N]
    known_UI = binary(user_N, item_N, (len(dataset.users), len(dataset.items)))
    like_N = None if split.threshold is None else value_N >= split.threshold
    interactions, entities = (user_N, item_N, value_N, dataset.time_N[index_N], like_N), (dataset.users, dataset.items)
    return TrainView(
        known_UI, split.warm_U, split.warm_I, *interactions, split.first_seen_U, *entities, item_vectors, user_vectors
    )


def first_seen_users(dataset: Dataset) -> np.ndarray:
    """The time of each user's first interaction, infinity where there is none."""
    first_U = first_seen(dataset.user_N, dataset.time_N)
    return np.pad(first_U, (0, len(dataset.users) - len(first_U)), constant_values=np.inf)
