"""Items that came after a run was trained: ranked with the others, without training, and kept in the run's folder where they are to stay."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cold_jax.errors import RunError
from cold_jax.storage.files import atomic
from cold_jax.storage.limits import MiB, parse_json, read_file

if TYPE_CHECKING:
    from cold_jax.data.attributes import Attributes
    from cold_jax.data.new_items import NewItem
    from cold_jax.experiment import Prepared
    from cold_jax.runs.folder import Run

ADDED, ADDED_LARGEST = "added_items.jsonl", 1024 * MiB  # in the run's folder: a line for each item that was added
_WHAT = 'each line is {"id": TEXT, "columns": {COLUMN: TEXT}, "text": TEXT or null}'


def read_added(run: Run) -> list[NewItem]:
    """The items that were added to a run. Raises RunError where the file is damaged."""
    from cold_jax.data.new_items import NewItem

    path = run.path / ADDED
    try:
        lines = read_file(path, ADDED_LARGEST, RunError).decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return []
    found: dict[str, NewItem] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = parse_json(line, f"{path}:{number}", RunError)
            if not (isinstance(row, dict) and row.keys() == {"id", "columns", "text"} and _is_texts(row)):
                raise RunError(f"{path}:{number}: damaged ({_WHAT}); mend or delete the line")
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
    lines = [json.dumps({"id": item.id, "columns": dict(item.columns), "text": item.text}, ensure_ascii=False) for item in items]
    with atomic(run.path / ADDED, new=False) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
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
