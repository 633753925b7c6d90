"""Few drawn candidates, a sampled protocol."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cold_jax import seeds
from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import binary, order
from cold_jax.errors import DataError
from cold_jax.splits.assemble import Split, assemble, assert_no_leak
from cold_jax.splits.checks import require_sizes
from cold_jax.splits.labels import Cold
from cold_jax.splits.tasks import EvalTask, ranking_task
from cold_jax.splits.ties import with_tie_break


def sampled_tasks(
    dataset: Dataset, user_U: np.ndarray, positives: int, candidates: int, supports: Sequence[int], seed: int
) -> dict[str, EvalTask]:
    """For each k a part that hides the newest interactions of each user among items that he never took, drawn, and shows the k before them."""
    shape, all_I = (len(dataset.users), len(dataset.items)), np.arange(len(dataset.items))
    own_N = np.flatnonzero(np.isin(dataset.user_N, user_U))
    user_N, item_N = dataset.user_N[own_N], dataset.item_N[own_N]
    end_N = np.bincount(user_N)[user_N] - order(user_N, dataset.time_N[own_N])
    hidden_UI, taken_UI = (binary(user_N[of_N], item_N[of_N], shape) for of_N in (end_N <= positives, end_N > 0))
    sampled_candidate_UI = hidden_UI.copy()
    for user in user_U:
        rest_I = np.setdiff1d(all_I, taken_UI[[user]].indices)
        count = candidates - hidden_UI[[user]].nnz
        if count > len(rest_I):
            raise DataError(
                f"split.candidates: {candidates}, but user {dataset.users.ids[user]!r} took all but {len(rest_I)} items"
            )
        drawn_I = seeds.generator(seed, "drawn candidates", int(user)).choice(rest_I, count, replace=False)
        sampled_candidate_UI += binary(np.full(count, user), drawn_I, shape)
    parts = {}
    for k in supports:
        shown_N = (end_N > positives) & (end_N <= positives + k)
        history_UI = binary(user_N[shown_N], item_N[shown_N], shape)
        part = ranking_task(f"support_{k}", history_UI - history_UI.multiply(hidden_UI), hidden_UI, all_I)
        parts[part.name] = replace(part, sampled_candidate_UI=sampled_candidate_UI[part.user_U])
    return with_tie_break(parts, dataset.items.ids)


@dataclass(frozen=True)
class SampledCandidates:
    """Few drawn candidates: `users` hide their newest `positives` interactions among items that they never took, `candidates` in all.

    The protocol of training-free recommendation (Kusano et al., arXiv 2512.13001: 500, 3 and 50), where a user shows his profile alone, or the k
    newest of what came before. A sampled protocol: its figures compare with none of a full ranking, nor always in the same order (Krichene & Rendle,
    KDD 2020). Other users train, but for `validation` ones, for whoever wants to train. What is drawn is not in split.csv.
    """

    seed: int
    users: int
    validation_users: int
    positives: int
    candidates: int
    support: list[int]

    def __post_init__(self) -> None:
        require_sizes(support=self.support)
        object.__setattr__(self, "support", tuple(self.support))
        if not 1 <= self.positives < self.candidates:
            raise ValueError(
                f"split.positives: {self.positives} must be 1 or more, and less than split.candidates {self.candidates}"
            )

    def __call__(self, dataset: Dataset) -> Split:
        enough_U = np.flatnonzero(np.bincount(dataset.user_N) >= self.positives + max(self.support))
        if len(enough_U) < self.users + self.validation_users:
            raise DataError(
                f"split.users: {self.users} and split.validation_users {self.validation_users}, but {len(enough_U)} users have the {self.positives} "
                f"hidden and {max(self.support)} shown interactions; choose fewer users or a smaller split.support"
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
        asked = {label: sampled_tasks(dataset, user_U, *sizes) if len(user_U) else {} for label, user_U in labels}
        split = replace(split, validation=asked["cold_val"], test=asked["cold_test"])
        assert_no_leak(dataset, split)
        return split
