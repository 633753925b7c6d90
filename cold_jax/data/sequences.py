"""Sequences: `sequences.txt`, a line for each user with his id and the ids of his items, oldest first, apart by blanks; `items.jsonl`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cold_jax.data import tables
from cold_jax.data.attributes import Attributes
from cold_jax.data.dataset import Dataset
from cold_jax.data.files import read_text
from cold_jax.errors import DataError

HOW_TO_GET = (
    "Both files come from the Amazon product data of 2014 (jmcauley.ucsd.edu/data/amazon). sequences.txt is the sequential_data.txt of P5's "
    "preprocessing, the same 5-core sets as in S3-Rec, TIGER and LIGER: a user, then his items, oldest first. items.jsonl has a "
    'line {"item": "17", "title": …, "categories": ["Beauty > Makeup", …]} for each item, out of the set\'s meta file'
)


@dataclass(frozen=True)
class Sequences(Attributes):
    """The two files of a folder. Items stand in the order of `items.jsonl`; a list there becomes its members with " > " between."""

    root: str | None

    def __call__(self) -> Dataset:
        """Raises DataError where the folder is not given or lacks a file, or a line is malformed."""
        if self.root is None:
            raise DataError(f"data.root: give the folder with sequences.txt and items.jsonl. {HOW_TO_GET}")
        sequences, items = (Path(self.root) / name for name in ("sequences.txt", "items.jsonl"))
        for file in (sequences, items):
            if not file.is_file():
                raise DataError(f"data.root: there is no file {file}. {HOW_TO_GET}")
        columns = {"user": "user", "item": "item", "value": None, "time": None}
        return self.dataset(_read, sequences, columns, (items, "item"), (None, "user"))


def _read(file: Path, wanted: Mapping[str, str]) -> Iterator[tuple[int, list[str | None]]]:
    if file.suffix == ".jsonl":
        for line, cells in tables.read(file, wanted):
            yield line, [cell and cell.replace("\n", " > ") for cell in cells]
        return
    seen: dict[str, int] = {}
    for line, content in enumerate(read_text(file).split("\n"), 1):
        user, *items = content.split() or [""]
        if content.strip() and not items:
            raise DataError(f"{file}:{line}: user {user!r} has no items; leave such users out")
        if user in seen:
            raise DataError(f"{file}:{line}: user {user!r} stands in line {seen[user]} already; a user has one sequence")
        if items:
            seen[user] = line
        for item in items:
            yield line, [user, item]
