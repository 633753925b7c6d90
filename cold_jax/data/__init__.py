"""A data set: who interacted with what and when, and what is known of users and items."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Columns = Mapping[str, tuple[str, ...]]


class DataError(ValueError):
    """The data, or a file of it, is wrong; the message names file, line and value, and says what to do."""


@dataclass(frozen=True)
class Entities:
    """Users, or items. The position in `ids` is the integer id that the rest of the code uses."""

    ids: tuple[str, ...]  # the source's own, byte for byte
    texts: Mapping[str, tuple[str, ...]]  # name of the text -> a text for each entity
    indicators: Mapping[str, np.ndarray]  # name of the attribute -> 0/1 of shape (entities, values)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Dataset:
    """Interactions in the order of their source, so that ties in time have an order too."""

    name: str
    user_N: np.ndarray  # int32
    item_N: np.ndarray  # int32
    value_N: np.ndarray  # float32, a rating or 1
    time_N: np.ndarray  # float64, 0 where the source has none
    users: Entities
    items: Entities

    def __len__(self) -> int:
        return len(self.user_N)

    @cached_property
    def digest(self) -> str:
        """sha256 over all that a run can depend on; a checkpoint of other data is refused by it."""
        sha = hashlib.sha256()
        for array_N in (self.user_N, self.item_N, self.value_N, self.time_N):
            sha.update(np.ascontiguousarray(array_N).tobytes())
        for entities in (self.users, self.items):
            for strings in (entities.ids, *(entities.texts[k] for k in sorted(entities.texts))):
                for s in strings:
                    sha.update(s.encode() + b"\x00")
            for k in sorted(entities.indicators):
                sha.update(k.encode() + np.ascontiguousarray(entities.indicators[k], np.float32).tobytes())
        return sha.hexdigest()
