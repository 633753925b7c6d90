"""python scripts/large_data.py to=FOLDER [users=100000] [items=100000] [interactions=1000000] [seed=0]: tables of a size that people have.

FOLDER gets interactions.csv (user_id, item_id, time), users.csv (user_id, age, job) and items.csv (item_id, title, genre) for data=tables.
Popularity and activity follow power laws, and users of a job prefer a few of the genres. Texts are short, and few of them differ.
"""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

JOBS = ("artist", "baker", "carpenter", "doctor", "engineer", "farmer", "gardener", "hunter", "innkeeper", "judge")
GENRES = ("action", "biography", "comedy", "drama", "epic", "fantasy", "gothic", "horror", "indie", "jazz", "kids", "love")
ADJECTIVES = (
    "red",
    "green",
    "blue",
    "old",
    "new",
    "tiny",
    "grand",
    "quiet",
    "loud",
    "lost",
    "late",
    "early",
    "cold",
    "warm",
    "last",
)
NOUNS = ("river", "house", "road", "song", "night", "garden", "train", "letter", "window", "island", "winter", "mountain", "sea")
POPULARITY = 0.8  # the exponent of Zipf's law


def main() -> None:
    given = {key: value for key, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    if not {"to"} <= given.keys() <= {"to", "users", "items", "interactions", "seed"}:
        sys.exit(__doc__)
    sizes = {"users": 100_000, "items": 100_000, "interactions": 1_000_000, "seed": 0}
    to = Path(given.pop("to"))
    write_tables(to, **sizes | {key: int(value) for key, value in given.items()})


def write_tables(to: Path, users: int, items: int, interactions: int, seed: int) -> None:
    """The three files."""
    user_N, item_N, job_U, genre_I = draw(users, items, interactions, seed)
    generator = np.random.default_rng(1)
    titles = zip(generator.choice(ADJECTIVES, items), generator.choice(NOUNS, items), strict=True)
    to.mkdir(parents=True, exist_ok=True)
    write(
        to / "interactions.csv",
        "user_id,item_id,time",
        ((f"u{u}", f"i{i}", n) for n, (u, i) in enumerate(zip(user_N, item_N, strict=True))),
    )
    ages = generator.integers(15, 80, users)
    write(
        to / "users.csv",
        "user_id,age,job",
        ((f"u{n}", age, JOBS[job]) for n, (age, job) in enumerate(zip(ages, job_U, strict=True))),
    )
    rows = ((f"i{n}", f"The {a} {b}", GENRES[genre]) for n, ((a, b), genre) in enumerate(zip(titles, genre_I, strict=True)))
    write(to / "items.csv", "item_id,title,genre", rows)


def draw(users: int, items: int, interactions: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(user_N, item_N, job_U, genre_I): no pair twice, every user at least once."""
    generator = np.random.default_rng(seed)
    job_U, genre_I = generator.integers(0, len(JOBS), users), generator.integers(0, len(GENRES), items)
    activity_U = generator.lognormal(0, 1, users)
    popularity_I = generator.permutation(np.arange(1, items + 1) ** -POPULARITY)
    liking_JG = generator.dirichlet(np.full(len(GENRES), 0.3), len(JOBS))
    user_N = np.concatenate(
        [np.arange(users), generator.choice(users, 2 * interactions - users, p=activity_U / activity_U.sum())]
    )
    item_N = np.empty_like(user_N)
    genre_N = np.empty_like(user_N)
    uniform_N = generator.random(len(user_N))
    for job in range(len(JOBS)):
        own_N = np.flatnonzero(job_U[user_N] == job)
        genre_N[own_N] = generator.choice(len(GENRES), len(own_N), p=liking_JG[job])
    for genre in range(len(GENRES)):
        own_N, own_I = np.flatnonzero(genre_N == genre), np.flatnonzero(genre_I == genre)
        cumulative_I = np.cumsum(popularity_I[own_I])
        item_N[own_N] = own_I[np.searchsorted(cumulative_I, uniform_N[own_N] * cumulative_I[-1], side="right")]
    _, first_N = np.unique(user_N * items + item_N, return_index=True)
    kept_N = np.sort(first_N)[:interactions]  # the users' first rows come first
    kept_N = generator.permutation(kept_N)
    return user_N[kept_N], item_N[kept_N], job_U, genre_I


def write(path: Path, header: str, rows: Iterable[tuple[object, ...]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
