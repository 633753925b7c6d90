"""The labels of interactions, from which a split follows, and which side they make cold."""

from enum import Enum
from pathlib import Path

import numpy as np

from cold_jax.data.dataset import Dataset
from cold_jax.errors import DataError

KNOWN = ("train", "warm_val", "warm_test")  # of users and items that occur in training
COLD = ("cold_val", "cold_test")  # where one side is cold
COLD_USERS = ("cold_users_val", "cold_users_test", "cold_both_val", "cold_both_test")  # where both sides are
COLD_ITEMS = ("cold_items_val", "cold_items_test", "cold_both_val", "cold_both_test")
NEXT = ("next_val", "next_test")  # the last but one of a user's sequence, and the last
UNUSED = ""
LABELS = (*KNOWN, *COLD, *COLD_USERS[:2], *COLD_ITEMS, *NEXT, UNUSED)


class Cold(Enum):
    """Which side has entities without a training interaction."""

    none = "none"
    users = "users"
    items = "items"
    both = "both"


def cold_side(path: Path, dataset: Dataset, part_N: np.ndarray) -> Cold:
    """Which side the labels of a file make cold.

    cold_val and cold_test can be of cold users or of cold items: of the side whose entities never occur among the known interactions; in a
    file that leaks, of the side where fewer of them do.

    Raises:
      DataError: the labels mix two kinds of names, or both sides or neither could be the cold one.
    """
    cold_N, both = np.isin(part_N, COLD), np.isin(part_N, COLD_USERS + COLD_ITEMS).any()
    if both and cold_N.any():
        raise DataError(
            f"{path}: cold_val or cold_test is used beside cold_users_*, cold_items_* or cold_both_*; use one kind of names"
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
            f"{path}: it is unclear which side is cold: of the users in cold_val and cold_test {users:.0%} occur in train, "
            f"warm_val or warm_test too, of the items {items:.0%}; one of them must be 0%"
        )
    return Cold.users if users < items else Cold.items
