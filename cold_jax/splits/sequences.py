"""Next-item tasks: the last item of a sequence, given all before it."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import binary, order
from cold_jax.errors import DataError
from cold_jax.splits.labels import UNUSED
from cold_jax.splits.tasks import EvalTask, TaskKind, ranking_task


def sequence_history(dataset: Dataset, index_N: np.ndarray) -> sparse.csr_array:
    """Places from the end, 1 for the newest, among each user's interactions `index_N`; a repeated item has the place of its newest one."""
    user_N, item_N, items = dataset.user_N[index_N], dataset.item_N[index_N].astype(np.int64), len(dataset.items)
    place_N = _place_from_end(user_N, dataset.time_N[index_N])
    sorted_N = np.argsort(place_N, kind="stable")
    pair_N, first_N = np.unique(user_N[sorted_N] * items + item_N[sorted_N], return_index=True)
    place_N = place_N[sorted_N][first_N].astype(np.float32)
    return sparse.csr_array((place_N, divmod(pair_N, items)), shape=(len(dataset.users), items))


def next_item_tasks(
    dataset: Dataset, part_N: np.ndarray, stage: str, exclude_seen: bool, window: int | None
) -> dict[str, EvalTask]:
    """The tasks of a stage, "val" or "test", whose target is each user's item labelled next_val or next_test, among all items.

    The history is all before it; a target that occurs in its history is left out. The test also has tasks of some users: `cold`, whose target
    is in nobody's training interactions, or in nobody's last `window` interactions without the two held out (LIGER, arXiv 2411.18814: 20),
    and `warm`, of the rest. Where seen items are excluded, `unmasked` is `all` with them ranked, for figures that were published so.
    Raises DataError where no user is left.
    """
    known, target_N = ["train"] if stage == "val" else ["train", "next_val"], np.flatnonzero(part_N == f"next_{stage}")
    shape = (len(dataset.users), len(dataset.items))
    target_UI = binary(dataset.user_N[target_N], dataset.item_N[target_N], shape)
    history_UI = sequence_history(dataset, np.flatnonzero(np.isin(part_N, known)))
    every = replace(
        ranking_task("all", history_UI, target_UI, np.arange(shape[1])), kind=TaskKind.next, exclude_seen=exclude_seen
    )
    if not len(every.user_U):
        named = "validation" if stage == "val" else "test"
        raise DataError(f"split: no user has a {named} item that is not in their history already")
    if stage == "val":
        return {"all": every}
    index_N = np.flatnonzero(part_N != UNUSED)
    place_N = _place_from_end(dataset.user_N[index_N], dataset.time_N[index_N])
    seen_N = index_N[(part_N[index_N] == "train") & (window is None or place_N <= window)]
    cold_U = ~np.isin(every.target_UI.indices, dataset.item_N[seen_N])  # each user has one target
    some = {name: replace(every.of(of_U), name=name) for name, of_U in (("warm", ~cold_U), ("cold", cold_U)) if of_U.any()}
    return {"all": every, **some} | ({"unmasked": replace(every, name="unmasked", exclude_seen=False)} if exclude_seen else {})


def _place_from_end(user_N: np.ndarray, time_N: np.ndarray) -> np.ndarray:
    return np.bincount(user_N, minlength=1)[user_N] - order(user_N, time_N)
