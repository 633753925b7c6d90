"""What a run's data are like, in one to three lines: sizes first, then all that may be amiss with them."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.text.tokens import Tokens


class Summary(NamedTuple):
    """Counts, and shares from 0 to 1."""

    name: str
    users: int
    items: int
    interactions: int
    density: float  # distinct (user, item) pairs, of all pairs
    cold_users: float  # share that the split makes cold
    cold_items: float
    users_without_text: int  # whose main text is empty; 0 where the data have no texts of users
    items_without_text: int
    users_without_row: int  # that occur in interactions, but not in the file of attributes
    items_without_row: int
    duplicates: int  # interactions that repeat a (user, item) pair
    texts: int
    texts_cut: int  # texts longer than the encoder's max_length

    def lines(self) -> list[str]:
        """One to three lines for people; the second and third only where they have something to say."""
        sizes = (
            f"{self.name}: {_count(self.users, 'user')}, {_count(self.items, 'item')}, {_count(self.interactions, 'interaction')}"
        )
        cold = [f"{share:.1%} of {side}" for side, share in (("users", self.cold_users), ("items", self.cold_items)) if share]
        first = f"{sizes} (density {self.density:.2%}); cold: {' and '.join(cold) or 'none'}"
        sides = (
            ("user", self.users_without_text, self.users_without_row),
            ("item", self.items_without_text, self.items_without_row),
        )
        missing = [f"{_count(texts, side)} without text" for side, texts, _ in sides if texts]
        missing += [f"{_count(rows, side)} without a row of attributes" for side, _, rows in sides if rows]
        amiss = [f"{_count(self.duplicates, 'interaction')} that repeat a pair, counted once"] if self.duplicates else []
        amiss += [f"{self.texts_cut:,} of {_count(self.texts, 'text')} cut at encoder.max_length"] if self.texts_cut else []
        return [first, *("; ".join(line) for line in (missing, amiss) if line)]


def summarize(dataset: Dataset, cold_U: np.ndarray, cold_I: np.ndarray, tokens: Iterable[Tokens]) -> Summary:
    """The summary of a data set, a split (which users and items it makes cold), and the tokens of all texts."""
    every = list(tokens)
    pairs = len(np.unique(dataset.user_N.astype(np.int64) * max(len(dataset.items), 1) + dataset.item_N))
    return Summary(
        name=dataset.name,
        users=len(dataset.users),
        items=len(dataset.items),
        interactions=len(dataset),
        density=pairs / max(len(dataset.users) * len(dataset.items), 1),
        cold_users=float(np.mean(cold_U)),
        cold_items=float(np.mean(cold_I)),
        users_without_text=_without_text(dataset.users),
        items_without_text=_without_text(dataset.items),
        users_without_row=dataset.users.without_row,
        items_without_row=dataset.items.without_row,
        duplicates=len(dataset) - pairs,
        texts=sum(len(one.length_T) for one in every),
        texts_cut=sum(one.cut for one in every),
    )


def _without_text(entities: Entities) -> int:
    return sum(not text.strip() for text in next(iter(entities.texts.values()), ()))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
