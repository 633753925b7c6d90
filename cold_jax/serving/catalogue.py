"""Items that came after a run was trained: ranked with the others, without training, and kept in the run's folder where they are to stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cold_jax.errors import RunError
from cold_jax.storage.files import atomic
from cold_jax.storage.limits import MiB, read_file
from cold_jax.storage.sealed import read_lines, seal

if TYPE_CHECKING:
    from cold_jax.data.attributes import Attributes
    from cold_jax.data.new_items import NewItem
    from cold_jax.experiment import Prepared
    from cold_jax.runs.folder import Run

ADDED, ADDED_LARGEST = "added_items.jsonl", 1024 * MiB  # in the run's folder: a line for each item that was added
_WHAT = 'each line is {"id": TEXT, "columns": {COLUMN: TEXT}, "text": TEXT or null, "sha256": DIGEST}'


def read_added(run: Run) -> list[NewItem]:
    """The items that were added to a run. Raises RunError where a line is not as it was written."""
    from cold_jax.data.new_items import NewItem

    path = run.path / ADDED
    try:
        data = read_file(path, ADDED_LARGEST, RunError)
    except FileNotFoundError:
        return []
    found: dict[str, NewItem] = {}
    for number, row in enumerate(read_lines(data, str(path), RunError), 1):
        if not (row.keys() == {"id", "columns", "text"} and _is_texts(row)):
            raise RunError(f"{path}:{number}: damaged ({_WHAT}); delete the line, and add the item again")
        if row["id"] in found:
            raise RunError(f"{path}:{number}: item {row['id']!r} occurs twice; delete one of the lines")
        found[row["id"]] = NewItem(row["id"], row["columns"], row["text"], f"{path}:{number}")
    return list(found.values())


def _is_texts(row: Mapping[str, object]) -> bool:
    columns = row["columns"]
    if not isinstance(columns, dict) or not isinstance(row["id"], str) or not isinstance(row["text"], str | None):
        return False
    return all(isinstance(value, str) for value in columns.values())


def write_added(run: Run, items: Sequence[NewItem]) -> Path:
    """Replaces the items that were added to a run, whole or not at all. Returns the file."""
    rows = [{"id": item.id, "columns": dict(item.columns), "text": item.text} for item in items]
    with atomic(run.path / ADDED, new=False) as file:
        file.writelines(seal(row, ensure_ascii=False) + b"\n" for row in rows)
    return run.path / ADDED


def extended(p: Prepared, attributes: Attributes, items: Sequence[NewItem]) -> Prepared:
    """The prepared data with new items after those of the data; tasks and training interactions are the same.

    Raises DataError for a new item without text or attributes, or with an attribute that is none.
    """
    from cold_jax.data.new_items import new_entities
    from cold_jax.encoders.precomputed import ExtendedVectors
    from cold_jax.splits.extend import extend_task, extend_train, join_entities

    if not items:
        return p
    made = new_entities(items, attributes, p.dataset.items)
    joined = join_entities(p.dataset.items, made)
    vectors = ExtendedVectors(p.train.item_vectors, p.loaded, made.texts, "items")
    validation = {name: extend_task(task, len(joined)) for name, task in p.split.validation.items()}
    return p._replace(
        dataset=replace(p.dataset, items=joined),
        split=replace(p.split, validation=validation),
        train=extend_train(p.train, joined, vectors),
    )
