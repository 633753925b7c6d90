"""Next-item tasks: the last item of a sequence, given all before it."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import binary, order
from cold_jax.splits.tasks import EvalTask, TaskKind, ranking_task


def sequence_history(dataset: Dataset, index_N: np.ndarray) -> sparse.csr_array:
    """Places from the end of each user's given interactions; an item that comes again stands where it is newest."""
    user_N, item_N, items = dataset.user_N[index_N], dataset.item_N[index_N].astype(np.int64), len(dataset.items)
    position_N = np.bincount(user_N, minlength=1)[user_N] - order(user_N, dataset.time_N[index_N])
    sorted_N = np.argsort(position_N, kind="stable")
    pair_N, first_N = np.unique(user_N[sorted_N] * items + item_N[sorted_N], return_index=True)
    position_N = position_N[sorted_N][first_N].astype(np.float32)
    return sparse.csr_array((position_N, divmod(pair_N, items)), shape=(len(dataset.users), items))


def next_item_tasks(
    dataset: Dataset, part_N: np.ndarray, stage: str, exclude_seen: bool, window: int | None
) -> dict[str, EvalTask]:
    """The parts of a stage that ask for the item labelled next_val or next_test, among all items, given all before it.

    A target that its history holds already is not asked for. The test is also asked apart: `cold` for items that stand in nobody's training
    interactions, or in nobody's last `window` interactions less the two held out (LIGER, arXiv 2411.18814: 20), and `warm` for the rest. Where
    earlier items are masked, `unmasked` is `all` in the other reading, for figures that were published so.
    """
    known, asked_N = ["train"] if stage == "val" else ["train", "next_val"], np.flatnonzero(part_N == f"next_{stage}")
    shape = (len(dataset.users), len(dataset.items))
    target_UI = binary(dataset.user_N[asked_N], dataset.item_N[asked_N], shape)
    history_UI = sequence_history(dataset, np.flatnonzero(np.isin(part_N, known)))
    every = replace(
        ranking_task("all", history_UI, target_UI, np.arange(shape[1])), kind=TaskKind.next, exclude_seen=exclude_seen
    )
    if stage == "val":
        return {"all": every}
    index_N = np.flatnonzero(part_N != "")
    end_N = np.bincount(dataset.user_N)[dataset.user_N[index_N]] - order(dataset.user_N[index_N], dataset.time_N[index_N])
    seen_N = index_N[(part_N[index_N] == "train") & (window is None or end_N <= window)]
    cold_U = ~np.isin(every.target_UI.indices, dataset.item_N[seen_N])  # each has one positive
    apart = {name: replace(every.of(of_U), name=name) for name, of_U in (("warm", ~cold_U), ("cold", cold_U)) if of_U.any()}
    return {"all": every, **apart} | ({"unmasked": replace(every, name="unmasked", exclude_seen=False)} if exclude_seen else {})
