"""A small random data set in which text predicts taste, for smoke tests and fault tests: nothing is read or fetched.

An item's text holds words of its genre. A user's text names an occupation, and each occupation has a favourite genre. So a model
that learns which occupation goes with which words can rank items it has never seen for users it has never seen.
"""

from dataclasses import dataclass

import numpy as np

from cold_jax.data.attributes import Attributes
from cold_jax.data.dataset import Dataset
from cold_jax.data.positives import parse_rule, positive_mask
from cold_jax.ranges import require

GENRES = {  # genre: its words, its admirers
    "comedy": ("jokes laughter clowns pranks", "baker"),
    "war": ("soldiers battle trenches generals", "historian"),
    "western": ("cowboys horses saloon sheriff", "farmer"),
    "space": ("rockets planets robots aliens", "engineer"),
    "crime": ("detectives murder clues gangsters", "lawyer"),
    "music": ("singers orchestra dancing stage", "teacher"),
}
TASTE = 2.5  # log of the odds by which a user prefers an item of the favourite genre


@dataclass(frozen=True)
class Synthetic:
    """Users take items by popularity and taste, at random times; ratings are 4 or 5 in the favourite genre, else 1 to 3."""

    name: str
    users: int
    items: int
    interactions_per_user: int
    seed: int
    positive: str | None  # see data/attributes.py

    def __post_init__(self) -> None:
        require("data", self, at_least_1=["users", "items"])
        if self.positive is not None:
            parse_rule(self.positive)
        if not 0 < self.interactions_per_user <= self.items:
            raise ValueError(
                f"data.interactions_per_user: {self.interactions_per_user} of {self.items} items; take 1 to {self.items}"
            )

    @property
    def attributes(self) -> Attributes:
        """How texts and indicators are made of the columns title, genre, words and year of an item."""
        return Attributes(
            name=self.name,
            item_texts={"line": "{title} ({year}) with {words}", "title": "{title}"},
            user_texts={"profile": "a {age}-year-old {occupation}"},
            item_sets={"genre": ""},
            user_sets={"occupation": ""},
            item_bins={"year": [1960.0, 1970.0, 1980.0, 1990.0]},
            user_bins={"age": [30.0, 50.0]},
            words={},
            unknown=[],
            unescape_html=False,
            positive=self.positive,
        )

    def __call__(self) -> Dataset:
        """The data set of this seed; times are seconds in the order of the rows."""
        random = np.random.Generator(np.random.Philox(self.seed))
        genres = list(GENRES)
        genre_U = random.integers(len(genres), size=self.users)
        genre_I = random.integers(len(genres), size=self.items)
        match_UI = genre_U[:, None] == genre_I[None, :]

        # the k largest of log-odds + Gumbel noise are a draw of k without replacement
        score_UI = random.normal(size=self.items)[None, :] + TASTE * match_UI + random.gumbel(size=match_UI.shape)
        user_N = np.repeat(np.arange(self.users), self.interactions_per_user)
        item_N = np.argsort(-score_UI, axis=1)[:, : self.interactions_per_user].ravel()
        order_N = random.permutation(len(user_N))
        user_N, item_N = user_N[order_N], item_N[order_N]
        match_N = match_UI[user_N, item_N]
        value_N = np.where(match_N, random.integers(4, 6, len(user_N)), random.integers(1, 4, len(user_N)))

        title = [f"film {random.integers(1000)}" for _ in range(self.items)]
        item_columns = {
            "title": title,
            "genre": [genres[g] for g in genre_I],
            "words": [" ".join(random.permutation(GENRES[genres[g]][0].split())[:3]) for g in genre_I],
            "year": [str(year) for year in random.integers(1950, 2000, self.items)],
        }
        user_columns = {
            "occupation": [GENRES[genres[g]][1] for g in genre_U],
            "age": [str(age) for age in random.integers(15, 70, self.users)],
        }
        made = self.attributes
        value_N = value_N.astype(np.float32)
        return Dataset(
            name=self.name,
            user_N=user_N.astype(np.int32),
            item_N=item_N.astype(np.int32),
            value_N=value_N,
            time_N=1e9 + np.cumsum(random.exponential(60.0, len(user_N))),
            users=made.entities("user", [f"{n:03d}" for n in range(self.users)], user_columns, str),
            items=made.entities("item", [f"{n:03d}" for n in range(self.items)], item_columns, str),
            positive_N=None if self.positive is None else positive_mask(value_N, self.positive),
        )
