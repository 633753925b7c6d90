"""What is hidden from training, and what is asked of a method at test time."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy import sparse

from cold_jax.data import Dataset, Entities


class Task(Enum):
    """What a part asks: an order of all candidates for each user, or a score for each given row."""

    rank = "rank"
    rows = "rows"


@dataclass(frozen=True)
class Part:
    """One question with its answers. Users stand in rows, once each; columns of the matrices are all items."""

    name: str
    task: Task
    user_U: np.ndarray
    shown_UI: sparse.csr_array  # what the method sees of each user: train items of a warm one, the support of a cold one; masked
    positive_UI: sparse.csr_array  # the hidden items
    candidate_I: np.ndarray  # the items that are ranked, ascending
    user_N: np.ndarray  # the given rows, where task is rows; else empty
    item_N: np.ndarray
    value_N: np.ndarray


@dataclass(frozen=True)
class Split:
    """`part_N` names for each interaction where it went; all else follows from it, and so it is what is saved."""

    part_N: np.ndarray  # of str
    train_N: np.ndarray  # indices of the training interactions
    warm_U: np.ndarray  # bool
    warm_I: np.ndarray  # bool
    validation: Mapping[str, Part]
    test: Mapping[str, Part]


@dataclass(frozen=True)
class Train:
    """All that a method may learn from: training interactions, and what is known of every user and item beforehand."""

    interaction_UI: sparse.csr_array  # binary, rows of cold users and columns of cold items are empty
    warm_U: np.ndarray  # bool
    warm_I: np.ndarray  # bool
    user_N: np.ndarray  # the training interactions again: users ascending, each user's in the order (time, row in the source)
    item_N: np.ndarray
    value_N: np.ndarray
    users: Entities
    items: Entities
    item_vectors: Mapping[str, np.ndarray]  # name of the text -> θ's unit vectors of shape (items, D)
    user_vectors: Mapping[str, np.ndarray]
