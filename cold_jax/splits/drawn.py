"""Few drawn candidates, a sampled protocol."""

from dataclasses import dataclass, replace

import numpy as np

from cold_jax import parts, seeds
from cold_jax.data import DataError, Dataset
from cold_jax.parts import Cold
from cold_jax.splits import Split, assemble, check, require_sizes


@dataclass(frozen=True)
class Drawn:
    """Few drawn candidates: `users` hide their newest `positives` interactions among items that they never took, `candidates` in all.

    The protocol of training-free recommendation (Kusano et al., arXiv 2512.13001: 500, 3 and 50), where a user shows his profile alone, or the k
    newest of what came before. A sampled protocol: its figures compare with none of a full ranking, nor always in the same order (Krichene & Rendle,
    KDD 2020). Other users train, but for `validation` ones, for whoever wants to train. What is drawn is not in split.csv.
    """

    seed: int
    users: int
    validation: int
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
        if len(enough_U) < self.users + self.validation:
            raise DataError(
                f"split.users: {self.users} and split.validation {self.validation}, but {len(enough_U)} users have the {self.positives} "
                f"hidden and {max(self.support)} shown interactions; choose fewer users or a smaller split.support"
            )
        test_U, val_U, _ = np.split(
            seeds.generator(self.seed, "split").permutation(enough_U), np.cumsum([self.users, self.validation])
        )
        labels = [("cold_val", val_U), ("cold_test", test_U)]
        part_N = np.full(len(dataset), "train", "<U9")
        for label, user_U in labels:
            part_N[np.isin(dataset.user_N, user_U)] = label
        split = assemble(dataset, part_N, Cold.users, [0])
        sizes = self.positives, self.candidates, self.support, self.seed
        asked = {label: parts.drawn_parts(dataset, user_U, *sizes) if len(user_U) else {} for label, user_U in labels}
        split = replace(split, validation=asked["cold_val"], test=asked["cold_test"])
        check(dataset, split)
        return split
