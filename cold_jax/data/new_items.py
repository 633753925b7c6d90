"""Items that came after the training: their rows, and the texts and indicators that the data's settings make of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cold_jax.data import tables
from cold_jax.data.attributes import MAX_TEXT, Attributes
from cold_jax.data.dataset import Entities
from cold_jax.data.files import excerpt
from cold_jax.data.interactions import require_id
from cold_jax.errors import DataError, nearest_name


class NewItem(NamedTuple):
    """One item, as a file or a request has it."""

    id: str
    columns: Mapping[str, str]  # of the data's item table; one that is not there is not known
    text: str | None = None  # instead of what the templates make of the columns
    place: str = ""  # file and line, for messages


def read_items(file: Path, attributes: Attributes, id_column: str) -> list[NewItem]:
    """The rows of a table of items (see data/tables.py), with the same columns as the data's.

    Raises DataError where the file is malformed, a column is missing, or an id occurs twice; the message names file and line.
    """
    if not file.is_file():
        raise DataError(f"{file}: there is no such file; give a table of items, as in items=tomorrow.csv")
    wanted = {id_column: "item_id", **attributes.columns("item")}
    items: dict[str, NewItem] = {}
    for line, cells in attributes.naming_settings(tables.read)(file, wanted):
        row = dict(zip(wanted, (cell or "" for cell in cells), strict=True))
        place = f"{file}:{line}"
        own = require_id(row[id_column], "item", place)
        if own in items:
            raise DataError(f"{place}: item {excerpt(own)} occurs before, in {items[own].place}; keep one of them")
        if longest := next((name for name, value in row.items() if len(value) > MAX_TEXT), None):
            raise DataError(f"{place}: {longest} of item {excerpt(own)} has more than {MAX_TEXT:,} characters; shorten it")
        items[own] = NewItem(own, row, None, place)
    return list(items.values())


def require_new(items: Sequence[NewItem], known: Mapping[str, str]) -> None:
    """Raises DataError for the first item whose id exists; `known` maps ids to where they are from."""
    for item in items:
        if item.id in known:
            raise DataError(f"{item.place}: item {excerpt(item.id)} exists already, in {known[item.id]}; give it another id")


def new_entities(items: Sequence[NewItem], attributes: Attributes, known: Entities) -> Entities:
    """Texts and indicators of new items, the indicators with the columns of the `known` ones.

    Raises DataError where an item has neither text nor a known column, or a column that the data's settings do not use.
    """
    used = attributes.columns("item")
    for item in items:
        if item.text is None and not any(item.columns.get(column, "").strip() for column in used):
            raise DataError(f"{item.place}: item {excerpt(item.id)} has no text and no attribute; there are {', '.join(used)}")
    columns = {column: [item.columns.get(column, "") for item in items] for column in used}
    made = attributes.entities("item", [item.id for item in items], columns, lambda n: items[n].place, known)
    texts = {
        name: tuple(own if item.text is None else item.text for item, own in zip(items, made.texts[name], strict=True))
        for name in known.texts
    }
    return Entities(made.ids, texts, {name: made.indicators[name] for name in known.indicators}, values=known.values)


def require_columns(given: Mapping[str, str], attributes: Attributes, key: str) -> None:
    """Raises DataError for an attribute that the data's settings do not use."""
    used = attributes.columns("item")
    for column in given:
        if column not in used:
            raise DataError(f"{key}: items have no attribute {excerpt(column)}; {nearest_name(column, list(used))}")
