"""Splits read from a file of (user_id, item_id, part)."""

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cold_jax.data.dataset import Dataset
from cold_jax.data.matrices import order
from cold_jax.errors import DataError
from cold_jax.splits.assemble import Split, assemble, first_seen_users
from cold_jax.splits.checks import require_sizes
from cold_jax.splits.labels import LABELS, cold_side


class SplitRows(NamedTuple):
    """An entry for each interaction."""

    user_id: Sequence[str]
    item_id: Sequence[str]
    part: Sequence[str]


def read_split_rows(path: Path) -> SplitRows:
    """A run's, or any CSV file whose first columns are user_id, item_id, part. ValueError with file and line."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        header = next(reader, [])
        if header[:3] != list(SplitRows._fields):
            raise ValueError(f"the columns are {header}; the first three must be user_id, item_id, part")
        for row in filter(None, reader):
            if len(row) != len(header):
                raise ValueError(f"{len(row)} fields where the header has {len(header)}: {','.join(row)[:80]!r}")
            rows.append(row[:3])
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None
    return SplitRows(*([row[column] for row in rows] for column in range(3)))


log = logging.getLogger(__name__)


def _read_labels(path: Path, dataset: Dataset) -> np.ndarray:
    """The label of each interaction, "" where the file has none. A pair's n-th line is its n-th interaction."""
    rows = read_split_rows(path)
    user_of, item_of = ({name: n for n, name in enumerate(entities.ids)} for entities in (dataset.users, dataset.items))
    user_M = np.array([user_of.get(name, -1) for name in rows.user_id], np.int64)
    item_M = np.array([item_of.get(name, -1) for name in rows.item_id], np.int64)
    pair_N, pair_M = dataset.user_N.astype(np.int64) * len(item_of) + dataset.item_N, user_M * len(item_of) + item_M
    sorted_N = np.argsort(pair_N, stable=True)
    at_M = np.searchsorted(pair_N, pair_M, sorter=sorted_N) + order(pair_M, np.zeros(len(pair_M)))
    there_M = at_M < np.searchsorted(pair_N, pair_M, "right", sorter=sorted_N)
    for fine_M, column, problem in (
        (
            np.array([label in LABELS for label in rows.part], bool),
            rows.part,
            f"is not a part; known are {', '.join(LABELS[:-1])}",
        ),
        (user_M >= 0, rows.user_id, "is not a user of the data"),
        (item_M >= 0, rows.item_id, "is not an item of the data"),
        (there_M, list(zip(rows.user_id, rows.item_id, strict=True)), "is not in the data, or is here more often than there"),
    ):
        if not fine_M.all():
            n = int(np.argmin(fine_M))
            line = n + 2 + "".join([*rows.user_id[:n], *rows.item_id[:n]]).count("\n")
            raise DataError(f"{path}:{line}: {column[n]!r} {problem}")
    part_N = np.full(len(dataset), "", f"<U{max(map(len, LABELS))}")
    part_N[sorted_N[at_M]] = rows.part
    log.info("%s: %d of %d interactions are in no part", path, np.count_nonzero(part_N == ""), len(part_N))
    return part_N


@dataclass(frozen=True)
class FromFile:
    """A file's labels: columns user_id, item_id, part (a label that `assemble` knows); others are ignored.

    ranked, history: whether candidates are ranked, and how many of the last liked items a given row tells; see `assemble`. use_first_seen: when a
    user came is told.
    """

    path: str
    support: list[int]
    both_support: int
    threshold: float | None
    ranked: bool
    history: int | None
    use_first_seen: bool

    def __post_init__(self) -> None:
        require_sizes(support=self.support, both_support=[self.both_support])
        object.__setattr__(self, "support", tuple(self.support))
        if self.threshold is None and not self.ranked:
            raise ValueError("split.threshold: null, and ranked=false: there is nothing to ask; give a threshold for given rows")
        if self.history is not None and self.history < 1:
            raise ValueError(f"split.history: {self.history} must be 1 or more, or null")

    def __call__(self, dataset: Dataset) -> Split:
        path = Path(self.path)
        if not path.is_file():
            raise DataError(f"split.path: there is no file {self.path}")
        part_N = _read_labels(path, dataset)
        cold = cold_side(path, dataset, part_N)
        shown = self.support, self.both_support
        split = assemble(dataset, part_N, cold, *shown, self.threshold, window=self.history, ranked=self.ranked)
        return replace(split, first_seen_U=first_seen_users(dataset)) if self.use_first_seen else split
