"""What is hidden from training.

The recipe is ColdRec's (its data/split.py): entities are drawn warm or cold, the cold ones are halved into validation and test,
and some of the warm ones' interactions are held out. Everything follows from one label for each interaction (`assemble`), so a
split that is read from a file is the split that was written.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cold_jax import parts, seeds
from cold_jax.data import DataError, Dataset
from cold_jax.parts import COLD, KNOWN, LABELS, NEXT, OF_ITEMS, OF_USERS, Cold, Part, Task, Train, binary, folds, order  # noqa: F401
from cold_jax.results import read_split

log = logging.getLogger(__name__)


class LeakError(ValueError):
    """A cold entity's interactions, or a part's answers, would reach training."""


@dataclass(frozen=True)
class Split:
    """`part_N` names for each interaction where it went; all else follows from it, and so it is what is saved."""

    part_N: np.ndarray  # of str, "" where an interaction is not used
    train_N: np.ndarray  # indices of the training interactions
    warm_U: np.ndarray  # bool: has a training interaction
    warm_I: np.ndarray  # bool
    cold_U: np.ndarray  # bool: is asked about as cold, so must have none
    cold_I: np.ndarray  # bool
    validation: Mapping[str, Part]
    test: Mapping[str, Part]
    threshold: float | None  # from which a value is a like; None: that is not asked
    came_U: np.ndarray | None = None  # each user's first time, told as context; None: it is not


def assemble(
    dataset: Dataset,
    part_N: np.ndarray,
    cold: Cold,
    support: Sequence[int] = (),
    both_support: int = 0,
    threshold: float | None = None,
    masked: bool = True,
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
        masked, window: of the parts of `parts.next_items`; of given rows the window is of `parts.given_rows`.
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
        validation, test = (parts.next_items(dataset, part_N, stage, masked, window) for stage in ("val", "test"))
    elif not ranked:
        of_items = ["cold_val"] if cold is Cold.items else ["warm_val"]
        validation = parts.given_rows(dataset, part_N, threshold or 0, of_items, window)
        validation = {name: part for name, part in validation.items() if name == "all"}
        test = parts.given_rows(dataset, part_N, threshold or 0, ["warm_test", "cold_test"], window)
        if not test:
            raise DataError(
                f"split.threshold: with {threshold} no user has test rows on both sides, so there is nothing to tell apart"
            )
    else:
        test = parts.questions(dataset, part_N, "test", *wants)
        if cold is Cold.none and threshold is not None:
            test |= parts.given_rows(dataset, part_N, threshold, ["warm_test"], window)
        validated = any(label.endswith("_val") for label in np.unique(part_N) if cold is Cold.none or label not in KNOWN)
        validation = parts.questions(dataset, part_N, "val", *wants) if validated else {}
    split = Split(part_N, train_N, warm_U, warm_I, cold_U, cold_I, validation, test, threshold)
    check(dataset, split)
    return split


def check(dataset: Dataset, split: Split) -> None:
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
        for known_UI, what in ((train_UI[part.user_U], "in training"), (part.shown_UI, "shown to the method")):
            if count := part.positive_UI.multiply(known_UI).nnz:
                raise LeakError(f"split: the part '{part.name}' asks for {count} pairs that are {what}")


def digest(split: Split) -> str:
    """sha256 over the labels and all parts; a checkpoint of another split is refused by it."""
    sha = hashlib.sha256("\n".join(split.part_N.tolist()).encode())
    for stage, asked in (("validation", split.validation), ("test", split.test)):
        for name, part in asked.items():
            sha.update(f"{stage} {name} {part.task.value} {part.masked}".encode())
            shown = (part.shown_UI.indptr, part.shown_UI.indices, part.shown_UI.data)
            matrices = (*shown, part.positive_UI.indptr, part.positive_UI.indices)
            liked = () if part.liked_NI is None else (part.liked_NI.indptr, part.liked_NI.indices, part.liked_NI.data)
            among = () if part.among_UI is None else (part.among_UI.indptr, part.among_UI.indices)
            for array in (part.user_U, *matrices, part.candidate_I, part.user_N, part.item_N, part.value_N, *liked, *among):
                sha.update(np.ascontiguousarray(array, np.float64).tobytes())
    sha.update(b"" if split.came_U is None else split.came_U.tobytes())
    return sha.hexdigest()


def train_view(
    dataset: Dataset, split: Split, item_vectors: Mapping[str, np.ndarray], user_vectors: Mapping[str, np.ndarray]
) -> Train:
    """All that a method may see of the data. `*_vectors`: the name of a text → θ's vector of it for each entity."""
    index_N = split.train_N[np.lexsort((dataset.time_N[split.train_N], dataset.user_N[split.train_N]))]
    user_N, item_N, value_N = dataset.user_N[index_N], dataset.item_N[index_N], dataset.value_N[index_N]
    known_UI = binary(user_N, item_N, (len(dataset.users), len(dataset.items)))
    like_N = None if split.threshold is None else value_N >= split.threshold
    interactions, entities = (user_N, item_N, value_N, dataset.time_N[index_N], like_N), (dataset.users, dataset.items)
    return Train(known_UI, split.warm_U, split.warm_I, *interactions, split.came_U, *entities, item_vectors, user_vectors)


def with_visitor(dataset: Dataset, split: Split, profile: str) -> tuple[Dataset, Split]:
    """The same with one more user, the last, of whom only his profile text is known."""
    more = {name: np.append(getattr(split, name), False) for name in ("warm_U", "cold_U")}
    came_U = None if split.came_U is None else np.append(split.came_U, np.inf)
    return replace(dataset, users=dataset.users.and_one(profile)), replace(split, **more, came_U=came_U)


def _draw(entity_N: np.ndarray, count: int, cold: float, validation: float, generator: np.random.Generator) -> np.ndarray:
    """0 for a warm entity, 1 for a cold one of validation, 2 of test; those without interactions stay out, as 0."""
    drawn = generator.permutation(np.unique(entity_N))
    warm = int((1 - cold) * len(drawn))
    asked = warm + int(validation * (len(drawn) - warm))
    kind_X = np.zeros(count, np.int64)
    kind_X[drawn[warm:asked]], kind_X[drawn[asked:]] = 1, 2
    return kind_X


def _hold_out(dataset: Dataset, part_N: np.ndarray, held_out: float, generator: np.random.Generator) -> np.ndarray:
    """Turns some of the labels "train" into warm_val and warm_test, half and half."""
    index_N = generator.permutation(np.flatnonzero(part_N == "train"))
    count = int(held_out / 2 * len(index_N))
    part_N[index_N[:count]], part_N[index_N[count : 2 * count]] = "warm_val", "warm_test"
    for label in ("warm_val", "warm_test"):  # a warm entity keeps a training interaction
        for entity_N in (dataset.user_N, dataset.item_N):
            part_N[(part_N == label) & ~np.isin(entity_N, entity_N[part_N == "train"])] = "train"
    return part_N


def require_shares(**shares: float) -> None:
    for key, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"split.{key}: {share} is not a share: give 0 or more, and less than 1")


def require_sizes(**sizes: Sequence[int]) -> None:
    for key, size in sizes.items():
        if not size or min(size) < 0 or len(set(size)) < len(size):
            raise ValueError(f"split.{key}: {list(size)} is not one or more sizes, each named once and none below 0")


@dataclass(frozen=True)
class UserCold:
    """Users are cold. Shares: `cold` of the users, `validation` of the cold ones, `held_out` of the warm ones' interactions."""

    seed: int
    cold: float
    validation: float
    held_out: float
    support: list[int]
    first_time: bool  # when a user came is known when he is served, and told as context

    def __post_init__(self) -> None:
        require_shares(cold=self.cold, validation=self.validation, held_out=self.held_out)
        require_sizes(support=self.support)
        object.__setattr__(self, "support", tuple(self.support))

    def __call__(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_U = _draw(dataset.user_N, len(dataset.users), self.cold, self.validation, generator)
        part_N = np.array(["train", "cold_val", "cold_test"])[kind_U[dataset.user_N]]
        split = assemble(dataset, _hold_out(dataset, part_N, self.held_out, generator), Cold.users, self.support)
        return replace(split, came_U=_came(dataset)) if self.first_time else split


@dataclass(frozen=True)
class ItemCold:
    """Items are cold. Shares: `cold` of the items, `validation` of the cold ones, `held_out` of the warm ones' interactions.

    Where there is a threshold, nothing is ranked: held-out rows are scored, of label 1 from it on.
    """

    seed: int
    cold: float
    validation: float
    held_out: float
    threshold: float | None

    def __post_init__(self) -> None:
        require_shares(cold=self.cold, validation=self.validation, held_out=self.held_out)

    def __call__(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_I = _draw(dataset.item_N, len(dataset.items), self.cold, self.validation, generator)
        part_N = np.array(["train", "cold_val", "cold_test"])[kind_I[dataset.item_N]]
        part_N = _hold_out(dataset, part_N, self.held_out, generator)
        return assemble(dataset, part_N, Cold.items, threshold=self.threshold, ranked=self.threshold is None)


@dataclass(frozen=True)
class BothCold:
    """Users and items are cold, drawn apart. What a validation user has with a cold test item, or the reverse, is not used."""

    seed: int
    cold: float
    validation: float
    held_out: float
    both_support: int

    def __post_init__(self) -> None:
        require_shares(cold=self.cold, validation=self.validation, held_out=self.held_out)
        require_sizes(both_support=[self.both_support])

    def __call__(self, dataset: Dataset) -> Split:
        generator = seeds.generator(self.seed, "split")
        kind_U = _draw(dataset.user_N, len(dataset.users), self.cold, self.validation, generator)
        kind_I = _draw(dataset.item_N, len(dataset.items), self.cold, self.validation, generator)
        label = np.array([["train", *OF_ITEMS[:2]], [OF_USERS[0], OF_USERS[2], ""], [OF_USERS[1], "", OF_USERS[3]]])
        part_N = label[kind_U[dataset.user_N], kind_I[dataset.item_N]]
        return assemble(dataset, _hold_out(dataset, part_N, self.held_out, generator), Cold.both, both_support=self.both_support)


@dataclass(frozen=True)
class Warm:
    """Nothing is cold: `held_out` of the interactions is asked for, ranked or only as given rows, of label 1 from the threshold on."""

    seed: int
    held_out: float
    threshold: float | None
    ranked: bool

    def __post_init__(self) -> None:
        require_shares(held_out=self.held_out)

    def __call__(self, dataset: Dataset) -> Split:
        part_N = np.full(len(dataset), "train", "<U9")
        part_N = _hold_out(dataset, part_N, self.held_out, seeds.generator(self.seed, "split"))
        split = assemble(dataset, part_N, Cold.none, threshold=self.threshold, ranked=self.ranked)
        if self.ranked:
            return split
        known = parts.given_rows(dataset, part_N, self.threshold or 0, ["train"])
        return replace(split, test={**split.test, **({"train": known["all"]} if known else {})})


def first_seen(of_N: np.ndarray, time_N: np.ndarray) -> np.ndarray:
    """The first time of each entity up to the last one that occurs; infinity where one never does."""
    first_X = np.full(of_N.max(initial=-1) + 1, np.inf)
    np.minimum.at(first_X, of_N, time_N)
    return first_X


def _came(dataset: Dataset) -> np.ndarray:
    first_U = first_seen(dataset.user_N, dataset.time_N)
    return np.pad(first_U, (0, len(dataset.users) - len(first_U)), constant_values=np.inf)


@dataclass(frozen=True)
class NextItem:
    """Leave-one-out over sequences: a user's last interaction is the test, the one before it validation (Kang & McAuley, ICDM 2018).

    Users with fewer than three only train. mask_seen: earlier items are not ranked (SASRec, S3-Rec), else they are (TIGER, LIGER).
    cold_window: see `parts.next_items`.
    """

    mask_seen: bool
    cold_window: int | None

    def __post_init__(self) -> None:
        if self.cold_window is not None and self.cold_window < 3:
            raise ValueError(f"split.cold_window: {self.cold_window} leaves no training interaction: give 3 or more, or null")

    def __call__(self, dataset: Dataset) -> Split:
        length_N = np.bincount(dataset.user_N)[dataset.user_N]
        end_N = length_N - order(dataset.user_N, dataset.time_N)
        part_N = np.where((end_N > 2) | (length_N < 3), "train", np.where(end_N == 2, *NEXT))
        return assemble(dataset, part_N, Cold.none, masked=self.mask_seen, window=self.cold_window)


def _read(path: Path, dataset: Dataset) -> np.ndarray:
    """The label of each interaction, "" where the file has none. A pair's n-th line is its n-th interaction."""
    rows = read_split(path)
    user_of, item_of = ({name: n for n, name in enumerate(entities.ids)} for entities in (dataset.users, dataset.items))
    user_M = np.array([user_of.get(name, -1) for name in rows.user_id], np.int64)
    item_M = np.array([item_of.get(name, -1) for name in rows.item_id], np.int64)
    pair_N, pair_M = dataset.user_N.astype(np.int64) * len(item_of) + dataset.item_N, user_M * len(item_of) + item_M
    sorted_N = np.argsort(pair_N, stable=True)
    at_M = np.searchsorted(pair_N, pair_M, sorter=sorted_N) + order(pair_M, np.zeros(len(pair_M)))
    there_M = at_M < np.searchsorted(pair_N, pair_M, "right", sorter=sorted_N)
    for fine_M, column, problem in (
        (
            np.array([label in LABELS for label in rows.part], bool),
            rows.part,
            f"is not a part; known are {', '.join(LABELS[:-1])}",
        ),
        (user_M >= 0, rows.user_id, "is not a user of the data"),
        (item_M >= 0, rows.item_id, "is not an item of the data"),
        (there_M, list(zip(rows.user_id, rows.item_id, strict=True)), "is not in the data, or is here more often than there"),
    ):
        if not fine_M.all():
            n = int(np.argmin(fine_M))
            line = n + 2 + "".join([*rows.user_id[:n], *rows.item_id[:n]]).count("\n")
            raise DataError(f"{path}:{line}: {column[n]!r} {problem}")
    part_N = np.full(len(dataset), "", f"<U{max(map(len, LABELS))}")
    part_N[sorted_N[at_M]] = rows.part
    log.info("%s: %d of %d interactions are in no part", path, np.count_nonzero(part_N == ""), len(part_N))
    return part_N


@dataclass(frozen=True)
class FromFile:
    """A file's labels: columns user_id, item_id, part (a label that `assemble` knows); others are ignored.

    ranked, history: whether candidates are ranked, and how many of the last liked items a given row tells; see `assemble`. first_time: when a
    user came is told.
    """

    path: str
    support: list[int]
    both_support: int
    threshold: float | None
    ranked: bool
    history: int | None
    first_time: bool

    def __post_init__(self) -> None:
        require_sizes(support=self.support, both_support=[self.both_support])
        object.__setattr__(self, "support", tuple(self.support))
        if self.threshold is None and not self.ranked:
            raise ValueError("split.threshold: null, and ranked=false: there is nothing to ask; give a threshold for given rows")
        if self.history is not None and self.history < 1:
            raise ValueError(f"split.history: {self.history} must be 1 or more, or null")

    def __call__(self, dataset: Dataset) -> Split:
        path = Path(self.path)
        if not path.is_file():
            raise DataError(f"split.path: there is no file {self.path}")
        part_N = _read(path, dataset)
        cold = parts.cold_side(path, dataset, part_N)
        shown = self.support, self.both_support
        split = assemble(dataset, part_N, cold, *shown, self.threshold, window=self.history, ranked=self.ranked)
        return replace(split, came_U=_came(dataset)) if self.first_time else split
