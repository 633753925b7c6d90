"""python scripts/large_database.py to=FILE.db [rows=10000000] [users=500000] [items=100000]: a shop of that size in SQLite.
python scripts/large_database.py read=FILE.db: reads it with data=sql, and prints minutes and the peak of memory.

Users and items of the interactions are drawn with densities that fall like powers of their rank; times ascend.
"""

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from cold_jax import config, timing
from cold_jax.data.dataset import Dataset

CHUNK = 1_000_000
QUERIES = (
    "data=sql",
    "data.interactions='SELECT customer AS user_id, sku AS item_id, at FROM clicks'",
    "data.time=at",
    "data.items='SELECT sku AS item_id, title FROM products'",
    "data.users='SELECT customer AS user_id, city FROM customers'",
    "data.item_texts={line: '{title}'}",
    "data.user_texts={profile: 'from {city}'}",
)


def main() -> None:
    given = {key: value for key, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    if given.keys() == {"read"}:
        measure(Path(given["read"]))
    elif {"to"} <= given.keys() <= {"to", "rows", "users", "items"}:
        rows, users, items = (
            int(given.get(key, size)) for key, size in (("rows", 10_000_000), ("users", 500_000), ("items", 100_000))
        )
        write(Path(given["to"]), rows, users, items)
    else:
        sys.exit(__doc__)


def write(path: Path, rows: int, users: int, items: int) -> None:
    generator = np.random.default_rng(0)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (customer TEXT, city TEXT)")
        connection.execute("CREATE TABLE products (sku TEXT, title TEXT)")
        connection.execute("CREATE TABLE clicks (customer TEXT, sku TEXT, at INTEGER)")
        connection.executemany("INSERT INTO customers VALUES (?, ?)", ((f"{n:07}", f"city {n % 97}") for n in range(users)))
        connection.executemany(
            "INSERT INTO products VALUES (?, ?)", ((f"s{n:06}", f"thing {n} of kind {n % 31}") for n in range(items))
        )
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            user_N = (users * generator.random(size) ** 2).astype(int).tolist()
            item_N = (items * generator.random(size) ** 3).astype(int).tolist()
            connection.executemany(
                "INSERT INTO clicks VALUES (?, ?, ?)",
                ((f"{user:07}", f"s{item:06}", start + n) for n, (user, item) in enumerate(zip(user_N, item_N, strict=True))),
            )
        connection.commit()


def measure(path: Path) -> None:
    before, start = timing.peak_memory() or 0, time.monotonic()
    data = config.make(config.compose([*QUERIES, f"data.uri='{path.absolute()}'"]).data, "data")()  # pyright: ignore
    assert isinstance(data, Dataset)
    read = time.monotonic()
    digest = data.digest
    end, peak = time.monotonic(), timing.peak_memory() or 0
    print(f"{len(data):,} interactions, {len(data.users):,} users, {len(data.items):,} items; digest {digest[:12]}")
    print(f"{(read - start) / 60:.2f} minutes to read, {(end - read) / 60:.2f} for the digest")
    print(f"{peak / 1e9:.2f} GB at the peak, {before / 1e9:.2f} before")


if __name__ == "__main__":
    main()
