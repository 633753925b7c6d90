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
from cold_jax.data.files import require_file
from cold_jax.data.matrices import order
from cold_jax.errors import DataError
from cold_jax.ranges import require
from cold_jax.splits.assemble import Split, assemble, first_seen_users, unlabel_negatives
from cold_jax.splits.checks import require_sizes
from cold_jax.splits.labels import LABELS, UNUSED, cold_side

log = logging.getLogger(__name__)


class SplitRows(NamedTuple):
    """An entry for each interaction."""

    user_id: Sequence[str]
    item_id: Sequence[str]
    part: Sequence[str]


def read_split_rows(path: Path) -> SplitRows:
    """The rows of a CSV file whose first columns are user_id, item_id, part. Raises DataError with file and line."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8") from None
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
        raise DataError(f"{path}:{reader.line_num}: {error}") from None
    return SplitRows(*([row[column] for row in rows] for column in range(3)))


def _read_labels(path: Path, dataset: Dataset) -> np.ndarray:
    """The label of each interaction, "" where the file has none. A pair's n-th line is its n-th interaction."""
    rows = read_split_rows(path)
    user_of, item_of = ({name: n for n, name in enumerate(entities.ids)} for entities in (dataset.users, dataset.items))
    user_M = np.array([user_of.get(name, -1) for name in rows.user_id], np.int64)
    item_M = np.array([item_of.get(name, -1) for name in rows.item_id], np.int64)
    pair_N, pair_M = dataset.user_N.astype(np.int64) * len(item_of) + dataset.item_N, user_M * len(item_of) + item_M
    sorted_N = np.argsort(pair_N, stable=True)
    at_M = np.searchsorted(pair_N, pair_M, sorter=sorted_N) + order(pair_M, np.zeros(len(pair_M)))
    exists_M = at_M < np.searchsorted(pair_N, pair_M, "right", sorter=sorted_N)
    for valid_M, column, problem in (
        (
            np.array([label in LABELS for label in rows.part], bool),
            rows.part,
            f"is not a label; the labels are {', '.join(LABELS[:-1])}",
        ),
        (user_M >= 0, rows.user_id, "is not a user of the data"),
        (item_M >= 0, rows.item_id, "is not an item of the data"),
        (exists_M, list(zip(rows.user_id, rows.item_id, strict=True)), "is not in the data, or is here more often than there"),
    ):
        if not valid_M.all():
            n = int(np.argmin(valid_M))
            line = n + 2 + "".join([*rows.user_id[:n], *rows.item_id[:n]]).count("\n")
            raise DataError(f"{path}:{line}: {column[n]!r} {problem}")
    part_N = np.full(len(dataset), UNUSED, f"<U{max(map(len, LABELS))}")
    part_N[sorted_N[at_M]] = rows.part
    log.info("%s: %d of %d interactions are in no part", path, np.count_nonzero(part_N == UNUSED), len(part_N))
    return part_N


@dataclass(frozen=True)
class FromFile:
    """The labels of a file with columns user_id, item_id, part (see `splits.assemble`); other columns are ignored."""

    path: str
    support: list[int]  # each k, where users are cold
    both_support: int  # where users and items are
    threshold: float | None  # the value from which a row of a pointwise task has label 1; null: no such tasks
    ranked: bool  # false: rows are scored, nothing is ranked
    history: int | None  # how many of the last items that its user liked before it a row is given; null: none
    use_first_seen: bool  # the time of a user's first interaction is given to methods as context

    def __post_init__(self) -> None:
        require_sizes(support=self.support, both_support=[self.both_support])
        object.__setattr__(self, "support", tuple(self.support))
        if self.threshold is None and not self.ranked:
            raise ValueError("split.threshold: null, and split.ranked=false: nothing is evaluated; give a threshold or rank")
        require("split", self, at_least_1=["history"])

    def __call__(self, dataset: Dataset) -> Split:
        path = Path(self.path)
        require_file(path, "split.path", self.path)
        part_N = _read_labels(path, dataset)
        if self.ranked:
            part_N = unlabel_negatives(dataset, part_N)
        cold = cold_side(path, dataset, part_N)
        settings = self.support, self.both_support
        split = assemble(dataset, part_N, cold, *settings, self.threshold, window=self.history, ranked=self.ranked)
        return replace(split, first_seen_U=first_seen_users(dataset)) if self.use_first_seen else split
