"""Attribute columns to texts and indicators, and files to a data set."""

import html
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np

from cold_jax.data.columns import Columns as ReadColumns
from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.files import MissingColumn, Read, Source, excerpt, number
from cold_jax.data.interactions import check_ids_meet, read_interactions, require_id
from cold_jax.data.positives import parse_rule, positive_mask
from cold_jax.errors import ConfigError, DataError, nearest_name
from cold_jax.text import templates

MAX_TEXT = 2**20  # characters of an attribute; encoders read a few hundred words
Columns = Mapping[str, Sequence[str]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attributes:
    """How texts and indicators are made of the columns of items and users: the settings that all file formats share."""

    name: str
    item_texts: dict[str, str]  # name of a text → its template (see text/templates.py); the first is the main one
    user_texts: dict[str, str] | None
    item_sets: dict[str, str] | None  # column → the separator of its values ("" where it holds one): an indicator for each value
    user_sets: dict[str, str] | None
    item_bins: dict[str, list[float]] | None  # numeric column → edges: an indicator for each interval [edge, next edge)
    user_bins: dict[str, list[float]] | None
    words: dict[str, dict[str, str]] | None  # column → {value: what a text has instead}
    unknown: list[str]  # values of numeric columns that mean "not known", as the empty one does
    unescape_html: bool  # &amp; becomes & in attributes, once; tags stay
    positive: str | None  # ">=4": interactions that a ranking split takes as positives; null: all of them

    def __post_init__(self) -> None:
        object.__setattr__(self, "unknown", tuple(self.unknown))
        for key in ("user_texts", "item_sets", "user_sets", "item_bins", "user_bins", "words"):
            object.__setattr__(self, key, getattr(self, key) or {})
        if self.positive is not None:
            parse_rule(self.positive)
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

    @property
    def attributes(self) -> "Attributes":
        """How new items are made of their columns."""
        return self

    def entities(
        self, kind: str, ids: Sequence[str], columns: Columns, where: Callable[[int], str], known: Entities | None = None
    ) -> Entities:
        """Attribute columns → texts and indicators.

        Args:
          kind: "item" or "user".
          columns: name of the column → a value for each id; "" where it is not known.
          where: position → the place of its row, for error messages.
          known: entities whose indicators these are to share; a value that they lack has none, and is logged.

        Raises:
          DataError: a column does not exist, or a numeric one holds something else.
        """
        for column, key in self.columns(kind).items():
            if column not in columns:
                raise DataError(f"data.{key}: no column {column!r}; {nearest_name(column, list(columns))}")
        texts = {n: templates.render_template(t, columns, self.words or {}) for n, t in getattr(self, f"{kind}_texts").items()}
        sets, values = {}, {}
        for column, separator in getattr(self, f"{kind}_sets").items():
            key = f"data.{kind}_sets.{column}"
            if known is None:
                _check_separator(key, separator, columns[column])
            sets[column], values[column] = _members(
                columns[column], separator, None if known is None else known.values[column], key
            )
        bins = {c: self._intervals(c, columns[c], edges, where) for c, edges in getattr(self, f"{kind}_bins").items()}
        values |= {column: interval_names(edges) for column, edges in getattr(self, f"{kind}_bins").items()}
        return Entities(tuple(ids), texts, sets | bins, values=values)

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
        read: Read[Source],
        interactions: Source,
        interaction_columns: Mapping[str, str | None],
        items: tuple[Source | None, str],
        users: tuple[Source | None, str],
        read_columns: ReadColumns[Source] | None = None,
    ) -> Dataset:
        """The data set of up to three files, or other sources, of which the text is the name in messages.

        Entities have the order of their attribute file; those that only occur in interactions follow, in the order of their
        first one, with empty attributes.

        Args:
          read: reads one file of the format at hand.
          interactions: the file of interactions.
          interaction_columns: "user", "item", "value", "time" → the name of the column; None where there is none.
          items: the file of item attributes, if there is one, and its column of ids.
          users: likewise.
          read_columns: of `read_interactions`.
        """
        read = self.naming_settings(read)
        named = {what: column for what, column in interaction_columns.items() if column is not None}
        if len(set(named.values())) < len(named):
            raise ConfigError(f"data.user, item, value, time: one column is named twice in {named}")
        if self.positive is not None and "value" not in named:
            raise DataError(f"data.positive: {self.positive!r} compares values, but data.value names no column; name it")
        described = {kind: self._described(read, kind, *source) for kind, source in (("item", items), ("user", users))}
        ids = {kind: {i: n for n, i in enumerate(columns[name])} for kind, (name, columns, _) in described.items()}
        rows = read_interactions(read, interactions, named, ids["user"], ids["item"], read_columns)
        positive_N = None if self.positive is None else positive_mask(rows.value_N, self.positive)
        if positive_N is not None and not positive_N.any():
            raise DataError(f"data.positive: no value of {interactions} is {self.positive}; they lie in {_range(rows.value_N)}")
        made = {}
        for kind, source, entity_N in (("user", users[0], rows.user_N), ("item", items[0], rows.item_N)):
            name, columns, where = described[kind]
            late = len(ids[kind]) - len(columns[name])
            if source is not None:
                check_ids_meet(kind, source, columns[name], list(ids[kind]), entity_N, interactions)
            filled = {c: [*values, *[""] * late] for c, values in columns.items()} | {name: list(ids[kind])}
            entities = self.entities(kind, list(ids[kind]), filled, where)
            made[kind] = entities if source is None else replace(entities, without_row=late)
        return Dataset(self.name, *rows[:4], made["user"], made["item"], positive_N, str(interactions), rows.line_N)

    def naming_settings(self, read: Read[Source]) -> Read[Source]:
        """`read`, whose message about a missing column names a setting only where this kind of data has it."""
        settings = {field.name for field in fields(self)}

        def rows(source: Source, wanted: Mapping[str, str]) -> Iterator[tuple[int, Sequence[str | None]]]:
            try:
                yield from read(source, wanted)
            except MissingColumn as error:
                raise error if error.setting in settings else DataError(error.of_format) from None

        return rows

    def _described(
        self, read: Read[Source], kind: str, file: Source | None, name: str
    ) -> tuple[str, Columns, Callable[[int], str]]:
        """The columns of an attribute file as text, the id column among them, and the place of each row."""
        if file is None:
            return name, {name: []}, str
        wanted = {name: ""} | self.columns(kind) | {name: f"{kind}_id"}  # the ids first
        plain = html.unescape if self.unescape_html else str
        lines: dict[str, int] = {}
        rows = []
        for line, (cell, *others) in read(file, wanted):
            own = require_id(cell, kind, f"{file}:{line}")
            if own in lines:
                raise DataError(f"{file}:{line}: {kind} {excerpt(own)} occurs before, in {file}:{lines[own]}; keep one of them")
            lines[own] = line
            for column, value in zip(list(wanted)[1:], others, strict=True):
                if value is not None and len(value) > MAX_TEXT:
                    raise DataError(
                        f"{file}:{line}: {column} of {kind} {excerpt(own)} has {len(value):,} characters, and at most {MAX_TEXT:,} are "
                        "read; shorten it, or leave the column out"
                    )
            rows.append((own, *(plain(value or "") for value in others)))
        places = list(lines.values())
        values = zip(*rows, strict=True) if rows else [()] * len(wanted)
        return name, dict(zip(wanted, values, strict=True)), lambda i: f"{file}:{places[i]}"


def _range(value_N: np.ndarray) -> str:
    return f"{value_N.min():g} to {value_N.max():g}"


def _check_separator(key: str, separator: str, values: Sequence[str]) -> None:
    """One log line where a separator never occurs, which is rarely meant."""
    filled = [value for value in values if value]
    if separator and filled and not any(separator in value for value in filled):
        message = "%s: its separator %r occurs in none of %d values, such as %s; each counts as one whole"
        log.warning(message, key, separator, len(filled), excerpt(filled[0]))


def interval_names(edges: Sequence[float]) -> tuple[str, ...]:
    """What the columns of a binned attribute stand for."""
    between = (f"{low:g} to {high:g}" for low, high in pairwise(edges))
    return (f"below {edges[0]:g}", *between, f"from {edges[-1]:g}")


def _members(values: Sequence[str], separator: str, known: Sequence[str] | None, key: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """(0/1 of (values, members), the members: those known, or else the distinct ones in the order of text)."""
    sets = [set(value.split(separator) if separator else [value]) - {""} for value in values]
    distinct = sorted(set().union(*sets))
    members = {member: n for n, member in enumerate(distinct if known is None else known)}
    if new := [member for member in distinct if member not in members]:
        message = "%s: training has no value %s; it counts as none; %s"
        log.warning(message, key, excerpt(new[0]), nearest_name(new[0], list(members)))
    indicator = np.zeros((len(values), len(members)), np.float32)
    for i, own in enumerate(sets):
        indicator[i, [members[member] for member in own if member in members]] = 1
    return indicator, tuple(members)
