"""How equal scores are ranked: by one random order of the items, the same for every method and every user."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cold_jax.splits.tasks import EvalTask

SALT = b"cold_jax ties"  # a constant: an order that followed the run's seed would differ between runs that are compared


def tie_break(ids: Sequence[str]) -> np.ndarray:
    """Each item's position in a pseudo-random order of the ids, of shape (I,).

    Ids are sorted by a keyed hash. So which of two items comes first depends on their two ids alone, not on the rows of a file, nor on
    what else is in the catalogue.
    """
    digests = [hashlib.blake2b(item_id.encode(), digest_size=16, key=SALT).digest() for item_id in ids]
    position_I = np.empty(len(ids), np.int64)
    position_I[sorted(range(len(ids)), key=lambda item: (digests[item], ids[item]))] = np.arange(len(ids))
    return position_I


def with_tie_break(tasks: Mapping[str, EvalTask], ids: Sequence[str]) -> dict[str, EvalTask]:
    """The same tasks, whose equal scores are ranked by `tie_break`; ids are those of all items."""
    position_I = tie_break(ids)
    return {name: replace(task, tie_break_I=position_I) for name, task in tasks.items()}
