"""A data set: who interacted with what and when, and the attributes of users and items."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from cold_jax.errors import DataError
from cold_jax.storage import files


@dataclass(frozen=True)
class Entities:
    """Users, or items. The position in `ids` is the integer id used everywhere else."""

    ids: tuple[str, ...]  # as in the source, byte for byte
    texts: Mapping[str, tuple[str, ...]]  # name of the text -> a text for each entity
    indicators: Mapping[str, np.ndarray]  # name of the attribute -> 0/1 of shape (entities, values)
    without_row: int = 0  # how many occur in interactions, but have no row in the file of attributes
    values: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # name of the attribute -> what each of its columns stands for

    def text(self, name: str, key: str) -> tuple[str, ...]:
        """The texts of that name, which the setting `key` wants. Raises DataError where there are none."""
        if name not in self.texts:
            raise DataError(f"{key}: the items have no text {name!r}; they have {', '.join(self.texts)}")
        return self.texts[name]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Dataset:
    """Interactions in the order of their source, which breaks ties in time. A repeated pair stays repeated."""

    name: str
    user_N: np.ndarray  # int32
    item_N: np.ndarray  # int32
    value_N: np.ndarray  # float32, a rating or 1
    time_N: np.ndarray  # float64, 0 where the source has none
    users: Entities
    items: Entities
    positive_N: np.ndarray | None = None  # bool: satisfies data.positive, and so may be ranked; None: all do
    source: str = ""  # the file, query or collection of the interactions, for messages
    line_N: np.ndarray | None = None  # int32: the line, or row, of each there; None: it is not known

    def __len__(self) -> int:
        return len(self.user_N)

    def rows(self, index_N: np.ndarray) -> "Dataset":
        """The data set of some of its interactions, in this order, all of them positives; users and items stay."""
        rows = {name: getattr(self, name)[index_N] for name in ("user_N", "item_N", "value_N", "time_N")}
        line_N = None if self.line_N is None else self.line_N[index_N]
        return replace(self, **rows, positive_N=None, line_N=line_N)

    def without_user_attributes(self) -> "Dataset":
        """The same with users of whom nothing is known but what they interacted with."""
        return replace(self, users=Entities(self.users.ids, {}, {}))

    @cached_property
    def digest(self) -> str:
        """sha256 over interactions, ids, texts and indicators; a checkpoint of other data is refused by it."""
        parts: list[str | np.ndarray] = [self.user_N, self.item_N, self.value_N, self.time_N]
        for entities in (self.users, self.items):
            parts += [str(len(entities)), *entities.ids]
            for name, texts in entities.texts.items():  # in their order: the first text is the main one
                parts += ["text", name, *texts]
            for name, indicator in sorted(entities.indicators.items()):
                parts += ["indicator", name, np.asarray(indicator, np.float32)]
        return files.digest(*parts)
