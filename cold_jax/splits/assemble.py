"""What is hidden from training.

The recipe is ColdRec's (its data/split.py): entities are drawn warm or cold, the cold ones are halved into validation and test,
and some of the warm ones' interactions are held out. Everything follows from one label for each interaction (`assemble`), so a
split that is read from a file is the split that was written.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import binary, first_seen
from cold_jax.errors import DataError, LeakError
from cold_jax.splits.labels import COLD, KNOWN, OF_ITEMS, OF_USERS, Cold
from cold_jax.splits.pointwise import pointwise_tasks
from cold_jax.splits.ranking import ranking_tasks
from cold_jax.splits.sequences import next_item_tasks
from cold_jax.splits.tasks import EvalTask, TrainView
from cold_jax.splits.ties import with_tie_break


@dataclass(frozen=True)
class Split:
    """`part_N` names for each interaction where it went; all else follows from it, and so it is what is saved."""

    part_N: np.ndarray  # of str, "" where an interaction is not used
    train_N: np.ndarray  # indices of the training interactions
    warm_U: np.ndarray  # bool: has a training interaction
    warm_I: np.ndarray  # bool
    cold_U: np.ndarray  # bool: is asked about as cold, so must have none
    cold_I: np.ndarray  # bool
    validation: Mapping[str, EvalTask]
    test: Mapping[str, EvalTask]
    threshold: float | None  # from which a value is a like; None: that is not asked
    first_seen_U: np.ndarray | None = None  # each user's first time, told as context; None: it is not


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
            cold_both_*; next_val, next_test where the next item of a sequence is asked for; "" for what is not used.
        support: each k of the parts support_k, where users are cold.
        both_support: how many interactions with warm items a cold user shows, where both sides are cold.
        threshold: the value from which a given row has label 1, where users are not cold; None: no given rows.
        exclude_seen, window: of the parts of `parts.next_items`; of given rows the window is of `parts.given_rows`.
        ranked: where there is a threshold, candidates are ranked too.

    Raises:
        DataError: training or a part is empty, or no given row of the test can be told from another.
        LeakError: a cold entity has interactions among the known ones.
    """
    train_N = np.flatnonzero(part_N == "train")
    if not len(train_N):
        raise DataError(f"split: training is empty: none of the {len(dataset)} interactions has the label train")

    def occurs(entity_N: np.ndarray, count: int, labels: Sequence[str]) -> np.ndarray:
        return np.isin(np.arange(count), entity_N[np.isin(part_N, labels)])

    users, items = (dataset.user_N, len(dataset.users)), (dataset.item_N, len(dataset.items))
    warm_U, warm_I = occurs(*users, ["train"]), occurs(*items, ["train"])
    cold_U = occurs(*users, OF_USERS + COLD * (cold is Cold.users))
    cold_I = occurs(*items, OF_ITEMS + COLD * (cold is Cold.items))

    wants = (cold, cold_I, support, both_support)
    if (part_N == "next_test").any():
        validation, test = (next_item_tasks(dataset, part_N, stage, exclude_seen, window) for stage in ("val", "test"))
    elif not ranked:
        of_items = ["cold_val"] if cold is Cold.items else ["warm_val"]
        validation = pointwise_tasks(dataset, part_N, threshold or 0, of_items, window)
        validation = {name: part for name, part in validation.items() if name == "all"}
        test = pointwise_tasks(dataset, part_N, threshold or 0, ["warm_test", "cold_test"], window)
        if not test:
            raise DataError(
                f"split.threshold: with {threshold} no user has test rows on both sides, so there is nothing to tell apart"
            )
    else:
        test = ranking_tasks(dataset, part_N, "test", *wants)
        if cold is Cold.none and threshold is not None:
            test |= pointwise_tasks(dataset, part_N, threshold, ["warm_test"], window)
        validated = any(label.endswith("_val") for label in np.unique(part_N) if cold is Cold.none or label not in KNOWN)
        validation = ranking_tasks(dataset, part_N, "val", *wants) if validated else {}
    validation, test = (with_tie_break(tasks, dataset.items.ids) for tasks in (validation, test))
    split = Split(part_N, train_N, warm_U, warm_I, cold_U, cold_I, validation, test, threshold)
    assert_no_leak(dataset, split)
    return split


def assert_no_leak(dataset: Dataset, split: Split) -> None:
    """The leak guard: LeakError where a cold entity occurs among the known interactions, or a part asks for what is known."""
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
    for part in (*split.validation.values(), *split.test.values()):
        for known_UI, what in ((train_UI[part.user_U], "in training"), (part.history_UI, "shown to the method")):
            if count := part.target_UI.multiply(known_UI).nnz:
                raise LeakError(f"split: the part '{part.name}' asks for {count} pairs that are {what}")


def split_digest(split: Split) -> str:
    """sha256 over the labels and all parts; a checkpoint of another split is refused by it."""
    sha = hashlib.sha256("\n".join(split.part_N.tolist()).encode())
    for stage, asked in (("validation", split.validation), ("test", split.test)):
        for name, part in asked.items():
            sha.update(f"{stage} {name} {part.kind.value} {part.exclude_seen}".encode())
            shown = (part.history_UI.indptr, part.history_UI.indices, part.history_UI.data)
            matrices = (*shown, part.target_UI.indptr, part.target_UI.indices)
            liked = (
                ()
                if part.liked_history_NI is None
                else (part.liked_history_NI.indptr, part.liked_history_NI.indices, part.liked_history_NI.data)
            )
            among = (
                () if part.sampled_candidate_UI is None else (part.sampled_candidate_UI.indptr, part.sampled_candidate_UI.indices)
            )
            for array in (part.user_U, *matrices, part.candidate_I, part.user_N, part.item_N, part.value_N, *liked, *among):
                sha.update(np.ascontiguousarray(array, np.float64).tobytes())
    sha.update(b"" if split.first_seen_U is None else split.first_seen_U.tobytes())
    return sha.hexdigest()


def train_view(
    dataset: Dataset, split: Split, item_vectors: Mapping[str, np.ndarray], user_vectors: Mapping[str, np.ndarray]
) -> TrainView:
    """All that a method may see of the data. `*_vectors`: the name of a text → θ's vector of it for each entity."""
    index_N = split.train_N[np.lexsort((dataset.time_N[split.train_N], dataset.user_N[split.train_N]))]
    user_N, item_N, value_N = dataset.user_N[index_N], dataset.item_N[index_N], dataset.value_N[index_N]
    known_UI = binary(user_N, item_N, (len(dataset.users), len(dataset.items)))
    like_N = None if split.threshold is None else value_N >= split.threshold
    interactions, entities = (user_N, item_N, value_N, dataset.time_N[index_N], like_N), (dataset.users, dataset.items)
    return TrainView(
        known_UI, split.warm_U, split.warm_I, *interactions, split.first_seen_U, *entities, item_vectors, user_vectors
    )


def with_new_user(dataset: Dataset, split: Split, profile: str) -> tuple[Dataset, Split]:
    """The same with one more user, the last, of whom only his profile text is known."""
    more = {name: np.append(getattr(split, name), False) for name in ("warm_U", "cold_U")}
    first_seen_U = None if split.first_seen_U is None else np.append(split.first_seen_U, np.inf)
    return replace(dataset, users=dataset.users.and_one(profile)), replace(split, **more, first_seen_U=first_seen_U)


def first_seen_users(dataset: Dataset) -> np.ndarray:
    first_U = first_seen(dataset.user_N, dataset.time_N)
    return np.pad(first_U, (0, len(dataset.users) - len(first_U)), constant_values=np.inf)
