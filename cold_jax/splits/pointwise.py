"""Pointwise tasks: rows that are scored one by one, with labels 0 and 1."""

import logging
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import binary
from cold_jax.splits.labels import UNUSED
from cold_jax.splits.tasks import EvalTask, TaskKind

log = logging.getLogger(__name__)


def liked_history(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], index_N: np.ndarray, window: int, items: int
) -> sparse.csr_array:
    """For each row of `index_N` the last items that its user liked before it, in the order (time, row), as places from the end.

    Args:
      rows: users, items, times and whether the item was liked.
      window: how many at most.

    Returns:
      a matrix of shape (len(index_N), items), 1 for the newest.
    """
    user_N, item_N, time_N, liked_N = rows
    sorted_N = np.lexsort((time_N, user_N))
    liked_M = np.flatnonzero(liked_N[sorted_N])  # places of the likes in the sorted rows
    position_N = np.empty(len(user_N), np.int64)
    position_N[sorted_N] = np.arange(len(user_N))
    before_B = np.searchsorted(liked_M, position_N[index_N])
    at_BK = before_B[:, None] - np.arange(1, window + 1)
    like_BK = sorted_N[liked_M[np.maximum(at_BK, 0)]] if len(liked_M) else np.zeros_like(at_BK)
    b, k = np.nonzero((at_BK >= 0) & (user_N[like_BK] == user_N[index_N][:, None]))
    # a repeated item has the place of its newest like
    pair_M, first_M = np.unique(b * items + item_N[like_BK[b, k]], return_index=True)
    return sparse.csr_array((k[first_M] + 1.0, divmod(pair_M, items)), shape=(len(index_N), items), dtype=np.float32)


def pointwise_tasks(
    dataset: Dataset, part_N: np.ndarray, threshold: float, labels: Sequence[str], window: int | None = None
) -> dict[str, EvalTask]:
    """Tasks of the interactions with these labels: each is a row to be scored, labelled 1 where its value reaches the threshold.

    `all` has all rows; where some are of users or items without a training interaction, `cold` has these and `warm` the others. A task is left
    out where no user has both labels, since uAUC is undefined then.

    Args:
      window: how many of the last items that its user liked before it a row is given; None: none.
    """
    index_N = np.flatnonzero(np.isin(part_N, labels))
    user_N, item_N, label_N = dataset.user_N[index_N], dataset.item_N[index_N], dataset.value_N[index_N] >= threshold
    train_N = part_N == "train"
    warm_N = np.isin(user_N, dataset.user_N[train_N]) & np.isin(item_N, dataset.item_N[train_N])
    known_UI = binary(dataset.user_N[train_N], dataset.item_N[train_N], (len(dataset.users), len(dataset.items)))
    liked_history_NI = None
    if window is not None:
        rows = dataset.user_N, dataset.item_N, dataset.time_N, (dataset.value_N >= threshold) & (part_N != UNUSED)
        liked_history_NI = liked_history(rows, index_N, window, len(dataset.items))
    tasks = {}
    for name, of_N in (("all", np.full(len(index_N), True)), ("warm", warm_N), ("cold", ~warm_N)):
        if name != "all" and warm_N.all():
            continue
        own_N, liked_N = user_N[of_N], label_N[of_N]
        if not np.intersect1d(own_N[liked_N], own_N[~liked_N]).size:
            message = "split: no task '%s': with split.threshold %g no user of %s has rows of both labels"
            log.info(message, name, threshold, " and ".join(labels))
            continue
        user_U = np.unique(own_N)
        history_UI = known_UI[user_U]
        none_UI = sparse.csr_array(history_UI.shape, dtype=np.float32)
        columns = user_U, history_UI, none_UI, np.unique(item_N[of_N]), own_N, item_N[of_N], liked_N.astype(np.float32)
        liked = None if liked_history_NI is None else liked_history_NI[of_N]
        tasks[name] = EvalTask(name, TaskKind.pointwise, *columns, liked_history_NI=liked)
    return tasks
