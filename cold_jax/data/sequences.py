"""Sequences: `sequences.txt`, a line for each user with their id and the ids of their items, oldest first, separated by blanks; `items.jsonl`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cold_jax.data import tables
from cold_jax.data.attributes import Attributes
from cold_jax.data.dataset import Dataset
from cold_jax.data.files import excerpt, read_text, require_file
from cold_jax.errors import DataError

_IDS = re.compile(r"[^ \t\r]+")  # other blanks, such as the one that does not break, belong to an id
FILES = (
    "the folder of sequences.txt (a line a user: their id, then their items' ids, oldest first) and items.jsonl "
    '(a line an item: {"item": "17", "title": …})'
)


@dataclass(frozen=True)
class Sequences(Attributes):
    """The two files of a folder. Items have the order of `items.jsonl`; a list there becomes its members with " > " between."""

    root: str | None

    def __call__(self) -> Dataset:
        """Raises DataError where the folder is not given or lacks a file, or a line is malformed."""
        if self.root is None:
            raise DataError(f"data.root: give {FILES}")
        sequences, items = (Path(self.root) / name for name in ("sequences.txt", "items.jsonl"))
        for file in (sequences, items):
            require_file(file, "data.root", self.root)
        columns = {"user": "user", "item": "item", "value": None, "time": None}
        return self.dataset(_read, sequences, columns, (items, "item"), (None, "user"))


def _read(file: Path, wanted: Mapping[str, str]) -> Iterator[tuple[int, list[str | None]]]:
    if file.suffix == ".jsonl":
        for line, cells in tables.read(file, wanted):
            yield line, [cell and cell.replace("\n", " > ") for cell in cells]
        return
    seen: dict[str, int] = {}
    for line, content in enumerate(read_text(file).split("\n"), 1):
        user, *items = _IDS.findall(content) or [""]
        if content.strip() and not items:
            raise DataError(f"{file}:{line}: user {excerpt(user)} has no items; leave such users out")
        if user in seen:
            raise DataError(f"{file}:{line}: user {excerpt(user)} is in line {seen[user]} already; a user has one sequence")
        if items:
            seen[user] = line
        for item in items:
            yield line, [user, item]
