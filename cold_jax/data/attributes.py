"""Columns of attributes to texts and indicators, and files to a data set."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.files import excerpt, number
from cold_jax.errors import DataError, nearest_name
from cold_jax.text import templates

Columns = Mapping[str, Sequence[str]]


Read = Callable[[Path, Mapping[str, str]], Iterator[tuple[int, Sequence[str | None]]]]


"""A reader of one kind of file: (file, {wanted column: the setting that names it}) → line and the wanted cells, in that order.

Cells are text as it stands in the file; None where the format has a null of its own.
"""


@dataclass(frozen=True)
class Attributes:
    """What texts and indicators are made of the columns of items and users: the settings that all kinds of files share."""

    name: str
    item_texts: dict[str, str]  # name of a text → its template; the first is the main one
    user_texts: dict[str, str] | None
    item_sets: dict[str, str] | None  # column → what separates its values ("" where it holds one): an indicator for each value
    user_sets: dict[str, str] | None
    item_bins: dict[str, list[float]] | None  # numeric column → edges: an indicator for each interval [edge, next edge)
    user_bins: dict[str, list[float]] | None
    words: dict[str, dict[str, str]] | None  # column → {value: what a text says instead}
    unknown: list[str]  # values of numeric columns that mean "not known", as the empty one does

    def __post_init__(self) -> None:
        object.__setattr__(self, "unknown", tuple(self.unknown))
        for key in ("user_texts", "item_sets", "user_sets", "item_bins", "user_bins", "words"):
            object.__setattr__(self, key, getattr(self, key) or {})
        for kind in ("item", "user"):
            key = f"{kind}_bins"
            bins = {column: tuple(edges) for column, edges in getattr(self, key).items()}
            object.__setattr__(self, key, bins)
            for column, edges in bins.items():
                if not edges or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
                    raise ValueError(f"data.{key}.{column}: edges must be finite and ascending, not {list(edges)}")
                if column in getattr(self, f"{kind}_sets"):
                    raise ValueError(f"data.{key}.{column}: the column is in {kind}_sets too; choose one")

    def columns(self, kind: str) -> dict[str, str]:
        """The columns of "item" or "user" that are used → the setting that names each."""
        uses = {
            column: f"{kind}_texts.{name}"
            for name, template in getattr(self, f"{kind}_texts").items()
            for column in templates.columns_of(template)
        }
        for key in (f"{kind}_sets", f"{kind}_bins"):
            uses |= {column: f"{key}.{column}" for column in getattr(self, key)}
        return uses

    def entities(self, kind: str, ids: Sequence[str], columns: Columns, where: Callable[[int], str]) -> Entities:
        """Columns of attributes → texts and indicators.

        Args:
          kind: "item" or "user".
          columns: name of the column → a value for each id; "" where it is not known.
          where: position → the place of its row, for error messages.

        Raises:
          DataError: a column is not there, or a numeric one holds something else.
        """
        for column, key in self.columns(kind).items():
            if column not in columns:
                raise DataError(f"data.{key}: no column {column!r}; {nearest_name(column, list(columns))}")
        texts = {n: templates.render_template(t, columns, self.words or {}) for n, t in getattr(self, f"{kind}_texts").items()}
        sets = {c: _members(columns[c], separator) for c, separator in getattr(self, f"{kind}_sets").items()}
        bins = {c: self._intervals(c, columns[c], edges, where) for c, edges in getattr(self, f"{kind}_bins").items()}
        return Entities(tuple(ids), texts, sets | bins)

    def _intervals(self, column: str, values: Sequence[str], edges: list[float], where: Callable[[int], str]) -> np.ndarray:
        indicator = np.zeros((len(values), len(edges) + 1), np.float32)
        for i, value in enumerate(values):
            if value != "" and value not in self.unknown:
                try:
                    indicator[i, np.searchsorted(edges, number(value), side="right")] = 1
                except ValueError as error:
                    raise DataError(f"{where(i)}: {column} {error}; or name the value in data.unknown") from None
        return indicator

    def dataset(
        self,
        read: Read,
        interactions: Path,
        interaction_columns: Mapping[str, str | None],
        items: tuple[Path | None, str],
        users: tuple[Path | None, str],
    ) -> Dataset:
        """The data set of up to three files.

        Entities stand in the order of their attribute file; those that only occur in interactions follow, in the order of their
        first one, with empty attributes.

        Args:
          read: reads one file of the kind at hand.
          interactions: the file of interactions.
          interaction_columns: "user", "item", "value", "time" → the name of the column; None where there is none.
          items: the file of item attributes, if there is one, and its column of ids.
          users: likewise.
        """
        described = {kind: self._described(read, kind, *source) for kind, source in (("item", items), ("user", users))}
        ids = {kind: {i: n for n, i in enumerate(columns[name])} for kind, (name, columns, _) in described.items()}
        named = {what: column for what, column in interaction_columns.items() if column is not None}
        if len(set(named.values())) < len(named):
            raise ValueError(f"data.user, item, value, time: one column is named twice in {named}")
        user_N, item_N, value_N, time_N = _interactions(read, interactions, named, ids["user"], ids["item"])
        made = {}
        for kind, (name, columns, where) in described.items():
            late = len(ids[kind]) - len(columns[name])
            filled = {c: [*values, *[""] * late] for c, values in columns.items()} | {name: list(ids[kind])}
            made[kind] = self.entities(kind, list(ids[kind]), filled, where)
        return Dataset(self.name, user_N, item_N, value_N, time_N, made["user"], made["item"])

    def _described(self, read: Read, kind: str, file: Path | None, name: str) -> tuple[str, Columns, Callable[[int], str]]:
        """The columns of an attribute file as text, the one of ids among them, and the place of each row."""
        if file is None:
            return name, {name: []}, str
        wanted = {name: ""} | self.columns(kind) | {name: f"{kind}_id"}  # the ids first
        lines: dict[str, int] = {}
        rows = []
        for line, (own, *others) in read(file, wanted):
            own = _id(own, kind, f"{file}:{line}")
            if own in lines:
                raise DataError(f"{file}:{line}: {kind} {excerpt(own)} stands in line {lines[own]} already; keep one of them")
            lines[own] = line
            rows.append((own, *(value or "" for value in others)))
        places = list(lines.values())
        values = zip(*rows, strict=True) if rows else [()] * len(wanted)
        return name, dict(zip(wanted, values, strict=True)), lambda i: f"{file}:{places[i]}"


def _members(values: Sequence[str], separator: str) -> np.ndarray:
    """0/1 of (values, distinct members in the order of text)."""
    sets = [set(value.split(separator) if separator else [value]) - {""} for value in values]
    members = {member: n for n, member in enumerate(sorted(set().union(*sets)))}
    indicator = np.zeros((len(values), len(members)), np.float32)
    for i, own in enumerate(sets):
        indicator[i, [members[member] for member in own]] = 1
    return indicator


def _interactions(
    read: Read, file: Path, columns: Mapping[str, str], users: dict[str, int], items: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """user_N, item_N, value_N, time_N; ids that are new get the next number, in `users` and `items` themselves."""
    user_N, item_N, value_N, time_N = array("i"), array("i"), array("d"), array("d")
    optional = [(what, array_N) for what, array_N in (("value", value_N), ("time", time_N)) if what in columns]
    for line, (user, item, *numbers) in read(file, {columns[what]: what for what in columns}):
        place = f"{file}:{line}"
        user_N.append(users.setdefault(_id(user, "user", place), len(users)))
        item_N.append(items.setdefault(_id(item, "item", place), len(items)))
        for (what, array_N), cell in zip(optional, numbers, strict=True):
            try:
                array_N.append(number(cell))
            except ValueError as error:
                raise DataError(f"{place}: {columns[what]} {error}; correct the row or leave it out") from None
    if not user_N:
        raise DataError(f"{file}: no interactions; the file needs at least one row below its header")
    return (
        np.array(user_N, np.int32),
        np.array(item_N, np.int32),
        np.array(value_N, np.float32) if "value" in columns else np.ones(len(user_N), np.float32),
        np.array(time_N, np.float64) if "time" in columns else np.zeros(len(user_N)),
    )


def _id(cell: str | None, kind: str, place: str) -> str:
    if cell is None:
        raise DataError(f"{place}: no {kind} id; every row needs one")
    return cell
