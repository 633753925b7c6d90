"""What is asked of a method: parts with their answers, and all that it may know beforehand.

The protocol is the table `QUESTIONS`: which interactions a part asks for, among which candidates.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import sparse

from cold_jax import seeds
from cold_jax.data import DataError, Dataset, Entities

log = logging.getLogger(__name__)

KNOWN = ("train", "warm_val", "warm_test")
COLD = ("cold_val", "cold_test")  # of the one side that is cold
OF_USERS = ("cold_users_val", "cold_users_test", "cold_both_val", "cold_both_test")
OF_ITEMS = ("cold_items_val", "cold_items_test", "cold_both_val", "cold_both_test")
NEXT = ("next_val", "next_test")  # the last but one of a user's sequence, and its last
LABELS = (*KNOWN, *COLD, *OF_USERS[:2], *OF_ITEMS, *NEXT, "")


class Task(Enum):
    """What a part asks: an order of all candidates for each user, the same for what comes next in a sequence, or a score for each given row."""

    rank = "rank"
    next = "next"
    rows = "rows"


@dataclass(frozen=True)
class Part:
    """One question with its answers. Users stand in rows, once each; columns of the matrices are all items."""

    name: str
    task: Task
    user_U: np.ndarray
    # What the method sees of each user, as 1: train items of a warm one, the support of a cold one. Where task is next, all that came
    # before, as its place from the end: 1 for the newest
    shown_UI: sparse.csr_array
    positive_UI: sparse.csr_array  # the hidden items
    candidate_I: np.ndarray  # the items that are ranked, ascending
    user_N: np.ndarray  # the given rows, where task is rows; else empty
    item_N: np.ndarray
    value_N: np.ndarray  # their labels, 0 or 1
    masked: bool = True  # what is shown is not ranked
    liked_NI: sparse.csr_array | None = None  # places from the end of what a row's user liked before it; None: that is not told
    among_UI: sparse.csr_array | None = None  # 1 for the candidates of each user, all as many; None: candidate_I for everybody

    def of(self, rows: np.ndarray) -> "Part":
        """The part that ranks with some of its users, by their rows (positions, or a mask)."""
        among_UI = None if self.among_UI is None else self.among_UI[rows]
        of_users = {"shown_UI": self.shown_UI[rows], "positive_UI": self.positive_UI[rows], "among_UI": among_UI}
        return replace(self, user_U=self.user_U[rows], **of_users)


@dataclass(frozen=True, eq=False)
class Train:
    """All that a method may learn from: training interactions, and what is known of every user and item beforehand."""

    interaction_UI: sparse.csr_array  # binary, rows of cold users and columns of cold items are empty
    warm_U: np.ndarray  # bool
    warm_I: np.ndarray  # bool
    user_N: np.ndarray  # the training interactions again: users ascending, each user's in the order (time, row in the source)
    item_N: np.ndarray
    value_N: np.ndarray
    time_N: np.ndarray
    like_N: np.ndarray | None  # bool: the value reaches split.threshold; None where there is none
    came_U: np.ndarray | None  # the first time of each user, infinity where he never came; None: that is not told
    users: Entities
    items: Entities
    item_vectors: Mapping[str, np.ndarray]  # name of the text -> θ's unit vectors of shape (items, D)
    user_vectors: Mapping[str, np.ndarray]


class Cold(Enum):
    """Which side has entities without a training interaction."""

    none = "none"
    users = "users"
    items = "items"
    both = "both"


# part -> (the labels that it asks for, less their _val or _test; its candidates: all items, the known ones or the cold ones)
QUESTIONS = {
    Cold.none: {"warm": (("warm",), "all")},
    Cold.users: {"warm": (("warm",), "all")},  # and support_k, for each k
    Cold.items: {"warm": (("warm",), "known"), "cold": (("cold",), "cold"), "overall": (("warm", "cold"), "all")},
    Cold.both: {
        "warm": (("warm",), "known"),
        "cold_users": (("cold_users",), "known"),
        "cold_items": (("cold_items",), "cold"),
        "cold_both": (("cold_both",), "cold"),
        "overall": (("warm", "cold_users", "cold_items", "cold_both"), "all"),
    },
}


def cold_side(path: Path, dataset: Dataset, part_N: np.ndarray) -> Cold:
    """Which side a file's labels call cold. cold_val and cold_test can be about users or items: about those who never occur among
    the known interactions; in a file that leaks, those who hardly do.
    """
    cold_N, both = np.isin(part_N, COLD), np.isin(part_N, OF_USERS + OF_ITEMS).any()
    if both and cold_N.any():
        raise DataError(
            f"{path}: cold_val or cold_test stands beside cold_users_*, cold_items_* or cold_both_*; use one kind of names"
        )
    if not cold_N.any():
        return Cold.both if both else Cold.none
    known_N = np.isin(part_N, KNOWN)
    users, items = (np.isin(np.unique(x_N[cold_N]), x_N[known_N]).mean() for x_N in (dataset.user_N, dataset.item_N))
    if users == items == 0:
        raise DataError(
            f"{path}: in cold_val and cold_test both users and items are new; call these parts cold_both_val, cold_both_test"
        )
    if min(users, items) > 0.5:
        raise DataError(
            f"{path}: it is not plain which side is cold: of the users in cold_val and cold_test {users:.0%} occur in train, "
            f"warm_val or warm_test too, of the items {items:.0%}; one of them must be none"
        )
    return Cold.users if users < items else Cold.items


def order(user_N: np.ndarray, time_N: np.ndarray) -> np.ndarray:
    """The place, from 0, of each interaction among its user's by (time, row in the source)."""
    sorted_N = np.lexsort((time_N, user_N))
    place_N = np.empty(len(user_N), np.int64)
    place_N[sorted_N] = np.arange(len(user_N)) - np.searchsorted(user_N, user_N[sorted_N], sorter=sorted_N)
    return place_N


def binary(user_N: np.ndarray, item_N: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """1 where a pair occurs, however often; column indices ascend."""
    pair_UI = sparse.csr_array((np.ones(len(user_N), np.float32), (user_N, item_N)), shape=shape)
    pair_UI.sum_duplicates()
    pair_UI.data[:] = 1
    return pair_UI


def ones(shown_UI: sparse.csr_array) -> sparse.csr_array:
    """1 for what is shown, whatever its place."""
    return sparse.csr_array((np.ones_like(shown_UI.data), shown_UI.indices, shown_UI.indptr), shape=shown_UI.shape)


def ranking_part(name: str, shown_UI: sparse.csr_array, positive_UI: sparse.csr_array, candidate_I: np.ndarray) -> Part:
    """A part that ranks, from matrices over all users: those who keep a positive that is not shown stand in it."""
    positive_UI = sparse.csr_array(positive_UI - positive_UI.multiply(ones(shown_UI)))
    positive_UI.eliminate_zeros()
    user_U, none_N = np.flatnonzero(np.diff(positive_UI.indptr)), np.empty(0, np.int64)
    return Part(
        name, Task.rank, user_U, shown_UI[user_U], positive_UI[user_U], candidate_I, none_N, none_N, none_N.astype(np.float32)
    )


def support_parts(
    user_N: np.ndarray, item_N: np.ndarray, time_N: np.ndarray, shape: tuple[int, int], supports: Sequence[int], whose: str
) -> dict[str, Part]:
    """For each k a part that shows the k earliest of each user's given interactions and asks for the rest among all items.

    Raises:
        DataError: no user has more than k.
    """
    place_N, parts = order(user_N, time_N), {}
    longest = int(place_N.max(initial=-1)) + 1
    for k in supports:
        if k >= longest:
            length = "larger than" if k > longest else "all of"
            raise DataError(
                f"split.support: {k} is {length} the history of every {whose} (longest {longest}); choose a smaller one"
            )
        early_N = place_N < k
        shown_UI, rest_UI = (binary(user_N[of_N], item_N[of_N], shape) for of_N in (early_N, ~early_N))
        parts[f"support_{k}"] = ranking_part(f"support_{k}", shown_UI, rest_UI, np.arange(shape[1]))
    return parts


def questions(
    dataset: Dataset, part_N: np.ndarray, stage: str, cold: Cold, cold_I: np.ndarray, support: Sequence[int], both_support: int
) -> dict[str, Part]:
    """The parts of a stage, "val" or "test", from a label for each interaction (see `splits.assemble`).

    Validation asks about cold entities alone, where there are any: on them a run is to be chosen.
    """
    shape, all_I = (len(dataset.users), len(dataset.items)), np.arange(len(dataset.items))
    listed_I = np.isin(all_I, dataset.item_N[part_N != ""])
    candidates = {"all": all_I, "known": np.flatnonzero(listed_I & ~cold_I), "cold": np.flatnonzero(cold_I)}

    def pairs(index_N: np.ndarray) -> sparse.csr_array:
        return binary(dataset.user_N[index_N], dataset.item_N[index_N], shape)

    # A cold user's support is of known items: a cold item in it would be cold no more.
    cold_N = np.flatnonzero(part_N == f"cold_users_{stage}")
    support_N = cold_N[order(dataset.user_N[cold_N], dataset.time_N[cold_N]) < both_support]
    shown_UI = sparse.csr_array(pairs(np.flatnonzero(part_N == "train")) + pairs(support_N))
    held_out = np.isin(part_N, ("warm_val", "warm_test")).any()
    parts = {}
    for name, (kinds, candidate) in QUESTIONS[cold].items():
        if cold is not Cold.none and ((stage == "val" and name in ("warm", "overall")) or (name == "warm" and not held_out)):
            continue
        labels = [f"{kind}_{stage}" for kind in kinds]
        asked_N = np.flatnonzero(np.isin(part_N, labels))
        parts[name] = ranking_part(name, shown_UI, pairs(asked_N), candidates[candidate])
        if not len(parts[name].user_U):
            why = f"all {len(asked_N)} of them are shown to the method too" if len(asked_N) else "there is none"
            raise DataError(f"split: the {stage} part '{name}' asks for the interactions in {' and '.join(labels)}, but {why}")
    if cold is Cold.users:
        cold_N, whose = np.flatnonzero(part_N == f"cold_{stage}"), f"cold {'test' if stage == 'test' else 'validation'} user"
        parts |= support_parts(dataset.user_N[cold_N], dataset.item_N[cold_N], dataset.time_N[cold_N], shape, support, whose)
    return parts


def drawn_parts(
    dataset: Dataset, user_U: np.ndarray, positives: int, candidates: int, supports: Sequence[int], seed: int
) -> dict[str, Part]:
    """For each k a part that hides the newest interactions of each user among items that he never took, drawn, and shows the k before them."""
    shape, all_I = (len(dataset.users), len(dataset.items)), np.arange(len(dataset.items))
    own_N = np.flatnonzero(np.isin(dataset.user_N, user_U))
    user_N, item_N = dataset.user_N[own_N], dataset.item_N[own_N]
    end_N = np.bincount(user_N)[user_N] - order(user_N, dataset.time_N[own_N])
    hidden_UI, taken_UI = (binary(user_N[of_N], item_N[of_N], shape) for of_N in (end_N <= positives, end_N > 0))
    among_UI = hidden_UI.copy()
    for user in user_U:
        rest_I = np.setdiff1d(all_I, taken_UI[[user]].indices)
        count = candidates - hidden_UI[[user]].nnz
        if count > len(rest_I):
            raise DataError(
                f"split.candidates: {candidates}, but user {dataset.users.ids[user]!r} took all but {len(rest_I)} items"
            )
        drawn_I = seeds.generator(seed, "drawn candidates", int(user)).choice(rest_I, count, replace=False)
        among_UI += binary(np.full(count, user), drawn_I, shape)
    parts = {}
    for k in supports:
        shown_N = (end_N > positives) & (end_N <= positives + k)
        shown_UI = binary(user_N[shown_N], item_N[shown_N], shape)
        part = ranking_part(f"support_{k}", shown_UI - shown_UI.multiply(hidden_UI), hidden_UI, all_I)
        parts[part.name] = replace(part, among_UI=among_UI[part.user_U])
    return parts


def history(dataset: Dataset, index_N: np.ndarray) -> sparse.csr_array:
    """Places from the end of each user's given interactions; an item that comes again stands where it is newest."""
    user_N, item_N, items = dataset.user_N[index_N], dataset.item_N[index_N].astype(np.int64), len(dataset.items)
    place_N = np.bincount(user_N, minlength=1)[user_N] - order(user_N, dataset.time_N[index_N])
    sorted_N = np.argsort(place_N, kind="stable")
    pair_N, first_N = np.unique(user_N[sorted_N] * items + item_N[sorted_N], return_index=True)
    place_N = place_N[sorted_N][first_N].astype(np.float32)
    return sparse.csr_array((place_N, divmod(pair_N, items)), shape=(len(dataset.users), items))


def next_items(dataset: Dataset, part_N: np.ndarray, stage: str, masked: bool, window: int | None) -> dict[str, Part]:
    """The parts of a stage that ask for the item labelled next_val or next_test, among all items, given all before it.

    A target that its history holds already is not asked for. The test is also asked apart: `cold` for items that stand in nobody's training
    interactions, or in nobody's last `window` interactions less the two held out (LIGER, arXiv 2411.18814: 20), and `warm` for the rest. Where
    earlier items are masked, `unmasked` is `all` in the other reading, for figures that were published so.
    """
    known, asked_N = ["train"] if stage == "val" else ["train", "next_val"], np.flatnonzero(part_N == f"next_{stage}")
    shape = (len(dataset.users), len(dataset.items))
    positive_UI = binary(dataset.user_N[asked_N], dataset.item_N[asked_N], shape)
    shown_UI = history(dataset, np.flatnonzero(np.isin(part_N, known)))
    every = replace(ranking_part("all", shown_UI, positive_UI, np.arange(shape[1])), task=Task.next, masked=masked)
    if stage == "val":
        return {"all": every}
    index_N = np.flatnonzero(part_N != "")
    end_N = np.bincount(dataset.user_N)[dataset.user_N[index_N]] - order(dataset.user_N[index_N], dataset.time_N[index_N])
    seen_N = index_N[(part_N[index_N] == "train") & (window is None or end_N <= window)]
    cold_U = ~np.isin(every.positive_UI.indices, dataset.item_N[seen_N])  # each has one positive
    apart = {name: replace(every.of(of_U), name=name) for name, of_U in (("warm", ~cold_U), ("cold", cold_U)) if of_U.any()}
    return {"all": every, **apart} | ({"unmasked": replace(every, name="unmasked", masked=False)} if masked else {})


def liked_before(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], asked_N: np.ndarray, window: int, items: int
) -> sparse.csr_array:
    """For each asked row, by its index, the last items that its user liked before it in the order (time, row): places from the end.

    Args:
        rows: users, items, times and whether the item was liked.
        window: so many at most.
    """
    user_N, item_N, time_N, liked_N = rows
    sorted_N = np.lexsort((time_N, user_N))
    liked_M = np.flatnonzero(liked_N[sorted_N])  # places of the likes in the sorted rows
    place_N = np.empty(len(user_N), np.int64)
    place_N[sorted_N] = np.arange(len(user_N))
    before_B = np.searchsorted(liked_M, place_N[asked_N])
    at_BK = before_B[:, None] - np.arange(1, window + 1)
    like_BK = sorted_N[liked_M[np.maximum(at_BK, 0)]] if len(liked_M) else np.zeros_like(at_BK)
    b, k = np.nonzero((at_BK >= 0) & (user_N[like_BK] == user_N[asked_N][:, None]))
    # an item liked twice stands where it is newest
    pair_M, first_M = np.unique(b * items + item_N[like_BK[b, k]], return_index=True)
    return sparse.csr_array((k[first_M] + 1.0, divmod(pair_M, items)), shape=(len(asked_N), items), dtype=np.float32)


def given_rows(
    dataset: Dataset, part_N: np.ndarray, threshold: float, labels: Sequence[str], window: int | None = None
) -> dict[str, Part]:
    """Parts of the interactions with these labels themselves, to be scored: label 1 where the value reaches the threshold.

    `all` of them, and where some of them are of users or items without a training interaction, `warm` and `cold` apart. No part where
    no user has both labels: uAUC is undefined then. `window`: a row tells so many of the last items that its user liked before it.
    """
    index_N = np.flatnonzero(np.isin(part_N, labels))
    user_N, item_N, label_N = dataset.user_N[index_N], dataset.item_N[index_N], dataset.value_N[index_N] >= threshold
    train_N = part_N == "train"
    warm_N = np.isin(user_N, dataset.user_N[train_N]) & np.isin(item_N, dataset.item_N[train_N])
    known_UI = binary(dataset.user_N[train_N], dataset.item_N[train_N], (len(dataset.users), len(dataset.items)))
    liked_NI = None
    if window is not None:
        rows = dataset.user_N, dataset.item_N, dataset.time_N, (dataset.value_N >= threshold) & (part_N != "")
        liked_NI = liked_before(rows, index_N, window, len(dataset.items))
    parts = {}
    for name, of_N in (("all", np.full(len(index_N), True)), ("warm", warm_N), ("cold", ~warm_N)):
        if name != "all" and warm_N.all():
            continue
        own_N, likes_N = user_N[of_N], label_N[of_N]
        if not np.intersect1d(own_N[likes_N], own_N[~likes_N]).size:
            wanted = " and ".join(labels)
            log.info("split: no part '%s': with split.threshold %g no user of %s has rows on both sides", name, threshold, wanted)
            continue
        user_U = np.unique(own_N)
        shown_UI = known_UI[user_U]
        none_UI = sparse.csr_array(shown_UI.shape, dtype=np.float32)
        asked = user_U, shown_UI, none_UI, np.unique(item_N[of_N]), own_N, item_N[of_N], likes_N.astype(np.float32)
        parts[name] = Part(name, Task.rows, *asked, liked_NI=None if liked_NI is None else liked_NI[of_N])
    return parts


def folds(
    train: Train, axis: Literal["items", "users"], count: int, seed: int, supports: Sequence[int]
) -> Iterator[tuple[Train, dict[str, Part]]]:
    """Folds of pseudo-cold entities, to choose settings by: warm items, or users, whose interactions are hidden and asked for.

    Of items the part is `cold`, with the fold's items as candidates; of users the parts are `support_k`, among all items.
    """
    warm_X, entity_N = (train.warm_I, train.item_N) if axis == "items" else (train.warm_U, train.user_N)
    drawn = seeds.generator(seed, f"folds of {axis}").permutation(np.flatnonzero(warm_X))
    if not 2 <= count <= len(drawn):
        raise DataError(f"{count} folds of {len(drawn)} warm {axis}: there must be two or more, and no more than {axis}")
    shape = (len(train.warm_U), len(train.warm_I))
    for fold in np.array_split(drawn, count):
        hidden_N = np.isin(entity_N, fold)
        user_N, item_N = train.user_N[~hidden_N], train.item_N[~hidden_N]
        rest = replace(
            train,
            interaction_UI=binary(user_N, item_N, shape),
            warm_U=np.isin(np.arange(shape[0]), user_N),
            warm_I=np.isin(np.arange(shape[1]), item_N),
            user_N=user_N,
            item_N=item_N,
            value_N=train.value_N[~hidden_N],
            time_N=train.time_N[~hidden_N],
            like_N=None if train.like_N is None else train.like_N[~hidden_N],
        )
        user_N, item_N = train.user_N[hidden_N], train.item_N[hidden_N]
        if axis == "items":
            yield rest, {"cold": ranking_part("cold", rest.interaction_UI, binary(user_N, item_N, shape), np.sort(fold))}
        else:
            yield rest, support_parts(user_N, item_N, np.zeros(len(user_N)), shape, supports, "user of the fold")
