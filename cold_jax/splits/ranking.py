"""Ranking tasks: which interactions are targets, among which candidates."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import binary, order
from cold_jax.errors import DataError
from cold_jax.splits.labels import UNUSED, Cold
from cold_jax.splits.tasks import EvalTask, ranking_task, support_tasks

# task -> (the labels of its targets, without their _val or _test; its candidates: all items, the known ones or the cold ones)
RANKING_TASKS = {
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


def ranking_tasks(
    dataset: Dataset, part_N: np.ndarray, stage: str, cold: Cold, cold_I: np.ndarray, support: Sequence[int], both_support: int
) -> dict[str, EvalTask]:
    """The ranking tasks of a stage, "val" or "test", from a label for each interaction (see `splits.assemble`).

    Validation is of cold entities alone, where there are any: a run is chosen by them.

    Raises:
      DataError: a task has no targets.
    """
    shape, all_I = (len(dataset.users), len(dataset.items)), np.arange(len(dataset.items))
    labelled_I = np.isin(all_I, dataset.item_N[part_N != UNUSED])
    candidates = {"all": all_I, "known": np.flatnonzero(labelled_I & ~cold_I), "cold": np.flatnonzero(cold_I)}

    def pairs(index_N: np.ndarray) -> sparse.csr_array:
        return binary(dataset.user_N[index_N], dataset.item_N[index_N], shape)

    # A cold user's support is of known items: a cold item in it would no longer be cold.
    cold_N = np.flatnonzero(part_N == f"cold_users_{stage}")
    support_N = cold_N[order(dataset.user_N[cold_N], dataset.time_N[cold_N]) < both_support]
    history_UI = sparse.csr_array(pairs(np.flatnonzero(part_N == "train")) + pairs(support_N))
    has_holdout = np.isin(part_N, ("warm_val", "warm_test")).any()
    tasks = {}
    for name, (kinds, candidate) in RANKING_TASKS[cold].items():
        if cold is not Cold.none and ((stage == "val" and name in ("warm", "overall")) or (name == "warm" and not has_holdout)):
            continue
        labels = [f"{kind}_{stage}" for kind in kinds]
        target_N = np.flatnonzero(np.isin(part_N, labels))
        tasks[name] = ranking_task(name, history_UI, pairs(target_N), candidates[candidate])
        if not len(tasks[name].user_U):
            why = f"all {len(target_N)} of them are in the users' history too" if len(target_N) else "there is none"
            raise DataError(f"split: the targets of the {stage} task '{name}' are labelled {' or '.join(labels)}, but {why}")
    if cold is Cold.users:
        cold_N, whose = np.flatnonzero(part_N == f"cold_{stage}"), f"cold {'test' if stage == 'test' else 'validation'} user"
        tasks |= support_tasks(dataset.user_N[cold_N], dataset.item_N[cold_N], dataset.time_N[cold_N], shape, support, whose)
    return tasks
