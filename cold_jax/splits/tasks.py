"""What is evaluated: a task's users, history, targets and candidates; and the view of the data that training has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Entities
from cold_jax.data.matrices import binarize, binary, order
from cold_jax.errors import DataError


class TaskKind(Enum):
    """A task ranks all candidates for each user, ranks what comes next in a sequence, or scores rows one by one."""

    rank = "rank"
    next = "next"
    pointwise = "pointwise"


@dataclass(frozen=True)
class EvalTask:
    """What a method is evaluated on. Each user has one row; columns of the matrices are all items."""

    name: str
    kind: TaskKind
    user_U: np.ndarray
    # What the method is given of each user, as 1: training items of a warm user, the support of a cold one. For kind next all earlier
    # items, as their place from the end: 1 for the newest
    history_UI: sparse.csr_array
    target_UI: sparse.csr_array  # 1 for the items to be found
    candidate_I: np.ndarray  # the items that are ranked, ascending
    user_N: np.ndarray  # the rows of a pointwise task, else empty
    item_N: np.ndarray
    value_N: np.ndarray  # their labels, 0 or 1
    exclude_seen: bool = True  # items of the history are not ranked
    liked_history_NI: sparse.csr_array | None = None  # places from the end of what a row's user liked before it; None: not given
    sampled_candidate_UI: sparse.csr_array | None = None  # 1 for each user's candidates, equally many; None: candidate_I for all
    tie_break_I: np.ndarray | None = None  # position of each of all items among equal scores (splits.ties); no figure without it

    def of(self, rows: np.ndarray) -> "EvalTask":
        """The ranking task of some of its users, by their rows (positions, or a mask)."""
        sampled_candidate_UI = None if self.sampled_candidate_UI is None else self.sampled_candidate_UI[rows]
        of_users = {
            "history_UI": self.history_UI[rows],
            "target_UI": self.target_UI[rows],
            "sampled_candidate_UI": sampled_candidate_UI,
        }
        return replace(self, user_U=self.user_U[rows], **of_users)


@dataclass(frozen=True, eq=False)
class TrainView:
    """All that a method may learn from: training interactions, and the attributes of all users and items."""

    interaction_UI: sparse.csr_array  # binary, rows of cold users and columns of cold items are empty
    warm_U: np.ndarray  # bool
    warm_I: np.ndarray  # bool
    user_N: np.ndarray  # the training interactions again: users ascending, each user's in the order (time, row in the source)
    item_N: np.ndarray
    value_N: np.ndarray
    time_N: np.ndarray
    like_N: np.ndarray | None  # bool: the value reaches split.threshold; None where there is none
    first_seen_U: np.ndarray | None  # the first time of each user, infinity where they have no interaction; None: not given
    users: Entities
    items: Entities
    item_vectors: Mapping[str, np.ndarray]  # name of the text -> θ's unit vectors of shape (items, D)
    user_vectors: Mapping[str, np.ndarray]


def ranking_task(name: str, history_UI: sparse.csr_array, target_UI: sparse.csr_array, candidate_I: np.ndarray) -> EvalTask:
    """The ranking task of all users who have a target that is not in their history; both matrices have a row for each user."""
    target_UI = sparse.csr_array(target_UI - target_UI.multiply(binarize(history_UI)))
    target_UI.eliminate_zeros()
    user_U, none_N = np.flatnonzero(np.diff(target_UI.indptr)), np.empty(0, np.int64)
    return EvalTask(
        name, TaskKind.rank, user_U, history_UI[user_U], target_UI[user_U], candidate_I, none_N, none_N, none_N.astype(np.float32)
    )


def support_tasks(
    user_N: np.ndarray, item_N: np.ndarray, time_N: np.ndarray, shape: tuple[int, int], supports: Sequence[int], whose: str
) -> dict[str, EvalTask]:
    """For each k a task `support_k`: the k earliest interactions of each user are the history, the rest targets among all items.

    Args:
      shape: (users, items).
      whose: whom the interactions are of, for error messages.

    Raises:
      DataError: no user has more than k interactions.
    """
    position_N, tasks = order(user_N, time_N), {}
    longest = int(position_N.max(initial=-1)) + 1
    if not longest:
        raise DataError(f"split: there is no interaction of any {whose}; make more of them cold")
    for k in supports:
        if k >= longest:
            length = "larger than" if k > longest else "all of"
            raise DataError(
                f"split.support: {k} is {length} the history of every {whose} (longest {longest}); choose a smaller one"
            )
        early_N = position_N < k
        history_UI, target_UI = (binary(user_N[of_N], item_N[of_N], shape) for of_N in (early_N, ~early_N))
        tasks[f"support_{k}"] = ranking_task(f"support_{k}", history_UI, target_UI, np.arange(shape[1]))
    return tasks
