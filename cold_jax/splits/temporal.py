"""What comes later is hidden from training."""

from dataclasses import dataclass

import numpy as np

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import first_seen
from cold_jax.splits.assemble import Split, assemble
from cold_jax.splits.checks import require_fractions, require_sizes
from cold_jax.splits.labels import Cold


@dataclass(frozen=True)
class TemporalCold:
    """Strictly in time: what was first seen after a moment is cold, and nothing later than that moment trains.

    The last `test` of all interactions are the test's, the `validation` before them validation's, as shares in the order of time. `side` is
    users or items. Cold users show their own first items; of cold items only what known users took is asked for, and what the
    rest took is not used. Other later interactions of known users and items are warm.
    """

    side: str
    validation_fraction: float
    test_fraction: float
    support: list[int]

    def __post_init__(self) -> None:
        if self.side not in ("users", "items"):
            raise ValueError(f"split.side: {self.side!r} is neither users nor items")
        require_fractions(
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
            both=self.validation_fraction + self.test_fraction,
        )
        require_sizes(support=self.support)
        object.__setattr__(self, "support", tuple(self.support))

    def __call__(self, dataset: Dataset) -> Split:
        start, end = np.quantile(dataset.time_N, [1 - self.validation_fraction - self.test_fraction, 1 - self.test_fraction])
        user_N, item_N = (first_seen(x_N, dataset.time_N)[x_N] for x_N in (dataset.user_N, dataset.item_N))
        born_N, known_N = user_N if self.side == "users" else item_N, user_N < start
        stage_N = np.where(dataset.time_N < end, "val", "test")
        of_birth_N = np.where(born_N < end, "val", "test")
        asked_N = born_N >= start if self.side == "users" else (born_N >= start) & known_N & (stage_N == of_birth_N)
        part_N = np.where(dataset.time_N < start, "train", "")
        part_N = np.where((part_N == "") & known_N & (item_N < start), np.char.add("warm_", stage_N), part_N)
        part_N = np.where(asked_N, np.char.add("cold_", of_birth_N), part_N)
        return assemble(dataset, part_N, Cold.users if self.side == "users" else Cold.items, self.support)
