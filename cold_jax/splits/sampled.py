"""Few sampled candidates for each user."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cold_jax import seeds
from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import binary, order
from cold_jax.errors import DataError
from cold_jax.ranges import require
from cold_jax.splits.assemble import Split, assemble, assert_no_leak, over_positives
from cold_jax.splits.checks import require_sizes
from cold_jax.splits.labels import Cold
from cold_jax.splits.tasks import EvalTask, ranking_task
from cold_jax.splits.ties import with_tie_break


def sampled_tasks(
    dataset: Dataset, user_U: np.ndarray, positives: int, candidates: int, supports: Sequence[int], seed: int
) -> dict[str, EvalTask]:
    """For each k a task `support_k`: each user's newest `positives` interactions are targets among sampled items without an interaction of theirs,
    `candidates` in all; the k interactions before them are the history.

    Raises:
      DataError: a user has interactions with too many of the items.
    """
    shape, all_I = (len(dataset.users), len(dataset.items)), np.arange(len(dataset.items))
    own_N = np.flatnonzero(np.isin(dataset.user_N, user_U))
    user_N, item_N = dataset.user_N[own_N], dataset.item_N[own_N]
    place_N = np.bincount(user_N)[user_N] - order(user_N, dataset.time_N[own_N])
    target_UI, seen_UI = (binary(user_N[of_N], item_N[of_N], shape) for of_N in (place_N <= positives, place_N > 0))
    sampled_candidate_UI = target_UI.copy()
    for user in user_U:
        rest_I = np.setdiff1d(all_I, seen_UI[[user]].indices)
        count = candidates - target_UI[[user]].nnz
        if count > len(rest_I):
            raise DataError(
                f"split.candidates: {candidates}, but user {dataset.users.ids[user]!r} has interactions with all but {len(rest_I)} items; sample fewer"
            )
        sampled_I = seeds.generator(seed, "drawn candidates", int(user)).choice(rest_I, count, replace=False)
        sampled_candidate_UI += binary(np.full(count, user), sampled_I, shape)
    tasks = {}
    for k in supports:
        history_N = (place_N > positives) & (place_N <= positives + k)
        history_UI = binary(user_N[history_N], item_N[history_N], shape)
        task = ranking_task(f"support_{k}", history_UI - history_UI.multiply(target_UI), target_UI, all_I)
        tasks[task.name] = replace(task, sampled_candidate_UI=sampled_candidate_UI[task.user_U])
    return with_tie_break(tasks, dataset.items.ids)


@dataclass(frozen=True)
class SampledCandidates:
    """Few sampled candidates: test users' newest interactions are ranked among items without an interaction of theirs.

    The protocol of training-free recommendation (Kusano et al., arXiv 2512.13001: 500 users, 3 positives, 50 candidates), where a user's
    history is empty, or the k newest interactions before those. Its figures cannot be compared with those of a full ranking, nor do they
    always have the same order (Krichene & Rendle, KDD 2020). All other users train, but for the validation users. split.csv does not hold
    the sampled items; the seed does.
    """

    seed: int
    users: int  # of the test
    validation_users: int
    positives: int  # of each user
    candidates: int  # of each user, the positives among them
    support: list[int]  # each k

    def __post_init__(self) -> None:
        require_sizes(support=self.support)
        require("split", self, at_least_1=["users"], at_least_0=["validation_users"])
        object.__setattr__(self, "support", tuple(self.support))
        if not 1 <= self.positives < self.candidates:
            raise ValueError(
                f"split.positives: {self.positives} must be 1 or more, and less than split.candidates {self.candidates}"
            )

    def __call__(self, dataset: Dataset) -> Split:
        return over_positives(dataset, self._split)

    def _split(self, dataset: Dataset) -> Split:
        enough_U = np.flatnonzero(np.bincount(dataset.user_N) >= self.positives + max(self.support))
        if len(enough_U) < self.users + self.validation_users:
            raise DataError(
                f"split.users: {self.users} and split.validation_users {self.validation_users}, but {len(enough_U)} users have the {self.positives} "
                f"targets and {max(self.support)} earlier interactions; choose fewer users or a smaller split.support"
            )
        test_U, val_U, _ = np.split(
            seeds.generator(self.seed, "split").permutation(enough_U), np.cumsum([self.users, self.validation_users])
        )
        labels = [("cold_val", val_U), ("cold_test", test_U)]
        part_N = np.full(len(dataset), "train", "<U9")
        for label, user_U in labels:
            part_N[np.isin(dataset.user_N, user_U)] = label
        split = assemble(dataset, part_N, Cold.users, [0])
        sizes = self.positives, self.candidates, self.support, self.seed
        tasks = {label: sampled_tasks(dataset, user_U, *sizes) if len(user_U) else {} for label, user_U in labels}
        split = replace(split, validation=tasks["cold_val"], test=tasks["cold_test"])
        assert_no_leak(dataset, split)
        return split
