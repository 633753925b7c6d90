"""A data set: who interacted with what and when, and what is known of users and items."""

import gzip
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cold_jax import cache, text

_LARGEST = float(np.finfo(np.float32).max)

Columns = Mapping[str, Sequence[str]]
Read = Callable[[Path, Mapping[str, str]], Iterator[tuple[int, Sequence[str | None]]]]
"""A reader of one kind of file: (file, {wanted column: the setting that names it}) → line and the wanted cells, in that order.

Cells are text as it stands in the file; None where the format has a null of its own.
"""


class DataError(ValueError):
    """The data, or a file of it, is wrong; the message names file, line and value, and says what to do."""


@dataclass(frozen=True)
class Entities:
    """Users, or items. The position in `ids` is the integer id that the rest of the code uses."""

    ids: tuple[str, ...]  # the source's own, byte for byte
    texts: Mapping[str, tuple[str, ...]]  # name of the text -> a text for each entity
    indicators: Mapping[str, np.ndarray]  # name of the attribute -> 0/1 of shape (entities, values)

    def and_one(self, text: str) -> "Entities":
        """With one more at the end, who has no id and of whom nothing but this text is known."""
        texts = {name: (*written, text) for name, written in self.texts.items()}
        indicators = {name: np.pad(value_NF, ((0, 1), (0, 0))) for name, value_NF in self.indicators.items()}
        return Entities((*self.ids, ""), texts, indicators)

    def text(self, name: str, key: str) -> tuple[str, ...]:
        """Items' texts of that name, which the setting `key` asks for. Raises DataError where there are none."""
        if name not in self.texts:
            raise DataError(f"{key}: the items have no text {name!r}; they have {', '.join(self.texts)}")
        return self.texts[name]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Dataset:
    """Interactions in the order of their source, so that ties in time have an order too. A repeated pair is there repeatedly."""

    name: str
    user_N: np.ndarray  # int32
    item_N: np.ndarray  # int32
    value_N: np.ndarray  # float32, a rating or 1
    time_N: np.ndarray  # float64, 0 where the source has none
    users: Entities
    items: Entities

    def __len__(self) -> int:
        return len(self.user_N)

    @cached_property
    def digest(self) -> str:
        """sha256 over all that a run can depend on; a checkpoint of other data is refused by it."""
        parts: list[str | np.ndarray] = [self.user_N, self.item_N, self.value_N, self.time_N]
        for entities in (self.users, self.items):
            parts += [str(len(entities)), *entities.ids]
            for name, texts in entities.texts.items():  # in their order: the first text is the main one
                parts += ["text", name, *texts]
            for name, indicator in sorted(entities.indicators.items()):
                parts += ["indicator", name, np.asarray(indicator, np.float32)]
        return cache.digest(*parts)


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
            for column in text.columns_of(template)
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
                raise DataError(f"data.{key}: no column {column!r}; {text.nearest(column, list(columns))}")
        texts = {n: text.render(t, columns, self.words or {}) for n, t in getattr(self, f"{kind}_texts").items()}
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
                raise DataError(f"{file}:{line}: {kind} {shown(own)} stands in line {lines[own]} already; keep one of them")
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


def number(cell: str | None) -> float:
    """The number that a cell spells, finite also in single precision; ValueError says what is wrong."""
    try:
        value = float("" if cell is None or "_" in cell else cell)
    except ValueError:
        raise ValueError(f"{shown(cell or '')} is not a number") from None
    if not abs(value) <= _LARGEST:  # nor is NaN
        raise ValueError(f"{shown(cell or '')} is not a finite number")
    return value


def shown(value: str) -> str:
    """The first 80 characters for a message; control characters are spelled out, so that a terminal obeys none."""
    return repr(value[:80]) + ("…" if len(value) > 80 else "")


def read_text(file: Path) -> str:
    """The whole of a UTF-8 file, as it stands but for a byte order mark at its start; unpacked if its name ends in .gz."""
    try:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(f"{file}: cannot be read ({said}); is the path right, and the file whole?") from error
    if not data:
        raise DataError(f"{file}: the file is empty; it needs a header and rows")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        bad = error.object[error.start : error.start + 20]
        raise DataError(f"{file}:{line}: {bad!r} is not UTF-8; save the file as UTF-8") from error


def places(file: Path, names: Sequence[str], wanted: Mapping[str, str]) -> list[int]:
    """Where in a header the wanted columns ({name: the setting that names it}) stand."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{file}:1: column {shown(twice[0])} stands twice; rename one")
    for name, key in wanted.items():
        if name not in names:
            raise DataError(f"{file}:1: no column {name!r} (for {key}); {text.nearest(name, names)}")
    return [names.index(name) for name in wanted]
