"""Interactions of a file as arrays, and whether their ids are those of the attribute files."""

import logging
import unicodedata
from array import array
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import NamedTuple

import numpy as np

from cold_jax.data.columns import Columns, integer_ids, numbers, times
from cold_jax.data.files import Read, Source, excerpt, number
from cold_jax.data.times import parse_time
from cold_jax.errors import DataError

_EXAMPLES = 3
_EXACT = Context(prec=80, traps=[Inexact, InvalidOperation, Overflow])  # of ids that are numbers
_FROM, _UNTIL = 315_532_800, 4_102_444_800  # seconds: the years from 1980 to 2100
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
log = logging.getLogger(__name__)


class Interactions(NamedTuple):
    """One entry for each row of the file, in its order."""

    user_N: np.ndarray  # int32
    item_N: np.ndarray  # int32
    value_N: np.ndarray  # float32, 1 where the file has no values
    time_N: np.ndarray  # float64, 0 where the file has no times
    line_N: np.ndarray  # int32, the line that each begins on


def read_interactions(
    read: Read[Source],
    file: Source,
    columns: Mapping[str, str],
    users: dict[str, int],
    items: dict[str, int],
    read_columns: Columns[Source] | None = None,
) -> Interactions:
    """Reads the interactions of a file or another source.

    Args:
      columns: "user", "item", and "value" and "time" where there are such → the name of the column.
      users, items: id → integer id; new ids get the next integer, in these dicts themselves.
      read_columns: reads whole columns, where the format has such a reader; what it leaves to `read` is read row by row.

    Raises:
      DataError: a row lacks an id, a value is not a number, a time is in no known format or in another one than the rows before.
    """
    rows = None if read_columns is None else _at_once(read_columns, file, columns, users, items)
    rows = rows or _row_by_row(read, file, columns, users, items)
    if "time" in columns:
        _warn_of_units(file, columns["time"], rows.time_N, rows.line_N)
    return rows


def _at_once(
    read_columns: Columns[Source], file: Source, columns: Mapping[str, str], users: dict[str, int], items: dict[str, int]
) -> Interactions | None:
    """The interactions from whole columns; None where there is anything unusual about a row."""
    table = read_columns(file, {columns[what]: what for what in columns})
    if table is None or not table.num_rows:
        return None
    N = table.num_rows
    value_N = numbers(table[columns["value"]]) if "value" in columns else np.ones(N)
    time_N = times(table[columns["time"]]) if "time" in columns else np.zeros(N)
    if value_N is None or time_N is None:
        return None
    user_N, item_N = integer_ids(table[columns["user"]], users), integer_ids(table[columns["item"]], items)
    if user_N is None or item_N is None:
        return None
    return Interactions(user_N, item_N, value_N.astype(np.float32), time_N, np.arange(2, N + 2, dtype=np.int32))


def _row_by_row(
    read: Read[Source], file: Source, columns: Mapping[str, str], users: dict[str, int], items: dict[str, int]
) -> Interactions:
    user_N, item_N, value_N, time_N, line_N = array("i"), array("i"), array("d"), array("d"), array("i")
    parse_times = _time_parser()
    optional = [("value", value_N, lambda cell, line: number(cell)), ("time", time_N, parse_times)]
    optional = [(columns[what], array_N, parse) for what, array_N, parse in optional if what in columns]
    for line, (user, item, *cells) in read(file, {columns[what]: what for what in columns}):
        place = f"{file}:{line}"
        line_N.append(line)
        if not user or not item:
            raise _without_id(user, item, place)
        user_N.append(users.setdefault(user, len(users)))
        item_N.append(items.setdefault(item, len(items)))
        for (name, array_N, parse), cell in zip(optional, cells, strict=True):
            try:
                array_N.append(parse(cell, line))
            except ValueError as error:
                own = f"of user {excerpt(user)} and item {excerpt(item)}"
                raise DataError(f"{place}: {name} {error}; correct the row {own} or leave it out") from None
    if not user_N:
        raise DataError(f"{file}: no interactions; at least one row is needed")
    return Interactions(
        np.array(user_N, np.int32),
        np.array(item_N, np.int32),
        np.array(value_N, np.float32) if "value" in columns else np.ones(len(user_N), np.float32),
        np.array(time_N, np.float64) if "time" in columns else np.zeros(len(user_N)),
        np.array(line_N, np.int32),
    )


def require_id(cell: str | None, kind: str, place: str) -> str:
    """The id itself, byte for byte. Raises DataError where the cell is empty or null."""
    if not cell:
        raise _no_id(kind, place)
    return cell


def _without_id(user: str | None, item: str | None, place: str) -> DataError:
    kind, other, beside = ("user", "item", item) if not user else ("item", "user", user)
    own = f" (the {other} of this one is {excerpt(beside)})" if beside else ""
    return _no_id(kind, place, own)


def _no_id(kind: str, place: str, own: str = "") -> DataError:
    return DataError(f"{place}: no {kind} id; every row needs one{own}")


def _time_parser() -> Callable[[str | None, int], float]:
    first: list[tuple[str, int]] = []

    def parse(cell: str | None, line: int) -> float:
        seconds, form = parse_time(cell)
        if not first:
            first.append((form, line))
        elif form != first[0][0]:
            raise DataError(
                f"{excerpt(cell or '')} is {form}, line {first[0][1]} has {first[0][0]}; use one format for all times"
            )
        return seconds

    return parse


def _warn_of_units(file: object, column: str, time_N: np.ndarray, line_N: np.ndarray) -> None:
    """Logs a line where numbers of 1980 to 2100 in seconds stand beside such in milli-, micro- or nanoseconds, which do not order together."""
    place_of = {
        unit: int(inside_N.argmax())
        for unit, factor in _UNITS.items()
        if (inside_N := (time_N >= _FROM * factor) & (time_N < _UNTIL * factor)).any()
    }
    if len(place_of) > 1:
        examples = " and ".join(f"{unit} (line {line_N[n]}: {time_N[n]:.15g})" for unit, n in place_of.items())
        log.warning("%s: the numbers of %s look like %s in one column, which do not order together", file, column, examples)


def check_ids_meet(
    kind: str, file: object, described: Sequence[str], ids: Sequence[str], entity_N: np.ndarray, interactions: object
) -> None:
    """Whether the interactions' ids have rows in the attribute file; logs a line where some have none.

    Args:
      kind: "item" or "user".
      described: the ids of the attribute file.
      ids: those, followed by the ids that only occur in interactions.
      entity_N: each interaction's position in `ids`.

    Raises:
      DataError: no interaction is of an id that has a row.
    """
    without = ids[len(described) :]
    if not without:
        return
    pair = _alike(without, described)
    if not (entity_N < len(described)).any():
        ours, theirs = pair or (without[0], described[0] if described else None)
        rows = "it has no rows" if theirs is None else f"its ids are such as {_spelled(theirs, ours)}"
        raise DataError(
            f"{file}: no {kind} of {interactions} has a row here: {_spelled(ours, theirs or '')} occurs there, and {rows}; "
            "ids are text, byte for byte, so write them alike in both"
        )
    some = ", ".join(map(excerpt, without[:_EXAMPLES])) + (", …" if len(without) > _EXAMPLES else "")
    near = f"; {_spelled(*pair)} there is not {_spelled(*pair[::-1])} here, since ids are text, byte for byte" if pair else ""
    message = "%s: %d of the %d %ss of %s have no row here, hence neither text nor attributes: %s%s"
    log.warning(message, file, len(without), len(np.unique(entity_N)), kind, interactions, some, near)


def _alike(without: Sequence[str], described: Sequence[str]) -> tuple[str, str] | None:
    """An id without a row and one with a row that differ in spelling alone: blanks, zeros, upper case, Unicode's forms, what is not seen."""
    plain = {_plain(i): i for i in described}
    return next(((i, plain[_plain(i)]) for i in without if _plain(i) in plain), None)


def _plain(i: str) -> str:
    seen = i if i.isascii() else "".join(c for c in unicodedata.normalize("NFKC", i) if unicodedata.category(c) != "Cf")
    seen = seen.strip()
    try:
        return str(Decimal(seen).normalize(_EXACT))
    except ArithmeticError:
        return seen.casefold()


def _spelled(i: str, other: str) -> str:
    """An id for a message, with escapes where it looks like another one that is not the same."""
    alike = unicodedata.normalize("NFKC", i) == unicodedata.normalize("NFKC", other) and i != other
    return excerpt(i).encode("ascii", "backslashreplace").decode() if alike else excerpt(i)
