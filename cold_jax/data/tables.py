"""Tables with named columns: CSV, JSON or Parquet, each file's format named by its ending, in upper or lower case.

    .csv .tsv        read by Python's csv module; fields may be quoted, empty lines are skipped; data.separator
    .jsonl .ndjson   an object a line; a number keeps its spelling, null and a missing key mean "not known"
    .json            the same, or one array of objects
    .parquet         text or whole numbers where ids are; page checksums are verified where they were written

All but Parquet may be packed (.csv.gz). Ids are text, byte for byte: `007` stays `007`. A list of texts in JSON or Parquet becomes
one text with a line for each, so that `item_sets: {genres: "\\n"}` takes it apart again. In a message the number after the file's
name is the line on which the row begins; in Parquet and in an array, which have no lines, it is the row.
"""

import csv
import functools
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cold_jax.data.attributes import Attributes
from cold_jax.data.columns import split_columns
from cold_jax.data.dataset import Dataset
from cold_jax.data.files import column_places, ending, excerpt, read_text, require_file, require_no_header
from cold_jax.data.parquet import read_parquet
from cold_jax.data.values import cell_text
from cold_jax.errors import DataError

Rows = Iterator[tuple[int, list[str | None]]]
SEPARATORS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "pipe": "|",
}  # in words, since a shell and Hydra want signs quoted twice
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tables(Attributes):
    """A data set in one to three files."""

    root: str  # the folder that the files' names start from
    interactions: str  # the file, and its columns
    user: str
    item: str
    value: str | None  # null: every interaction has the value 1
    time: str | None  # see data/times.py; null: the order of the rows is all there is
    items: str | None  # the file of item attributes, and its column of ids
    item_id: str
    users: str | None
    user_id: str
    separator: str  # of .csv and .tsv files: auto (, in .csv and tab in .tsv), comma, semicolon, tab, pipe, or the sign itself

    def __post_init__(self) -> None:
        super().__post_init__()
        sign = SEPARATORS.get(self.separator, self.separator)
        if self.separator != "auto" and (len(sign) != 1 or sign in '"\r\n'):
            raise ValueError(f"data.separator: {self.separator!r} is not auto, {', '.join(SEPARATORS)} or one character")

    def __call__(self) -> Dataset:
        """Reads the files.

        A repeated (user, item) pair stays repeated: the split decides what becomes of it.

        Raises:
          DataError: a file does not exist or is malformed; the message names file, line and value.
        """
        root = Path(self.root)
        interactions = root / self.interactions
        items, users = (None if name is None else root / name for name in (self.items, self.users))
        for file in (interactions, items, users):
            if file is not None:
                require_file(file, "data.root", self.root)
        return self.dataset(
            functools.partial(read, separator=self.separator),
            interactions,
            {"user": self.user, "item": self.item, "value": self.value, "time": self.time},
            (items, self.item_id),
            (users, self.user_id),
            functools.partial(read_columns, separator=self.separator),
        )


def read(file: Path, wanted: Mapping[str, str], separator: str = "auto") -> Rows:
    """Rows of a table: number and the wanted cells (a `files.Read`)."""
    form = ending(file)
    if form in (".csv", ".tsv"):
        return _read_csv(file, wanted, _sign(form, separator))
    if form in (".jsonl", ".ndjson", ".json"):
        return _read_json(file, wanted)
    if file.suffix.lower() == ".parquet":
        return read_parquet(file, wanted)
    raise DataError(
        f"{file}: its ending must name the format: .csv, .tsv, .jsonl, .ndjson, .json, one of them with .gz, or .parquet"
    )


def read_columns(file: Path, wanted: Mapping[str, str], separator: str = "auto") -> pa.Table | None:
    """The wanted columns of a table without quotes (a `columns.Columns`)."""
    if ending(file) not in (".csv", ".tsv"):
        return None
    text, sign = read_text(file), _sign(ending(file), separator)
    if '"' in text:
        return None
    header = text.partition("\n")[0].removesuffix("\r")
    return split_columns(text.encode(), header.split(sign), list(wanted), sign)


def _sign(form: str, separator: str) -> str:
    """The sign between two fields of a file with this ending."""
    return {".csv": ",", ".tsv": "\t"}[form] if separator == "auto" else SEPARATORS.get(separator, separator)


def column_names(file: Path) -> list[str]:
    """The columns of a table; of JSON, all that occur."""
    form = ending(file)
    if form in (".csv", ".tsv"):
        rows = csv.reader(io.StringIO(read_text(file), newline=""), delimiter="\t" if form == ".tsv" else ",")
        return next((cells for cells in rows if cells), [])
    if file.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_schema(file).names)
    text = read_text(file)
    is_array = form == ".json" and text.lstrip().startswith("[")
    return list(dict.fromkeys(name for _, row in (_array_rows if is_array else _line_rows)(file, text) for name in row))


def _read_csv(file: Path, wanted: Mapping[str, str], separator: str) -> Rows:
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(io.StringIO(read_text(file), newline=""), strict=True, delimiter=separator)
    at, names, line = [], [], 1
    try:
        for cells in rows:
            if cells and not at:
                _check_header(file, cells, wanted, separator)
                at, names = column_places(f"{file}:1", cells, wanted), cells
            elif cells:
                if len(cells) != len(names):
                    wrong = f"{len(cells)} fields where the header names {len(names)}"
                    row = excerpt(separator.join(cells))
                    raise DataError(f"{file}:{line}: {wrong}: {row}; quote a field that holds the separator")
                if rows.line_num > line:
                    _check_quotes(file, line, rows.line_num, cells, separator)
                require_no_header(f"{file}:{line}", cells, names)
                yield line, [cells[i] for i in at]
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f'{file}:{line}: {error}; quote fields by " and double a " inside') from error
    if not at:
        raise DataError(f"{file}: only empty lines; it needs a header and rows")


def _check_header(file: Path, names: list[str], wanted: Mapping[str, str], separator: str) -> None:
    """A header of one column that holds another separator is cut by the wrong one."""
    other = next((word for word, sign in SEPARATORS.items() if sign != separator and sign in names[0]), None)
    if len(names) == 1 and len(wanted) > 1 and other:
        raise DataError(
            f"{file}:1: {excerpt(names[0])} is one column; if its fields are apart by {other}s, data.separator={other}"
        )


def _check_quotes(file: Path, line: int, last: int, cells: list[str], separator: str) -> None:
    """Whether a field over several lines looks like rows that a lone quote swallowed: each has all the separators of a row.

    Text with commas and line breaks can look so by chance, and is logged; text with tabs hardly does, and is refused.
    """
    breaks = (len(cells) - 1) or 1
    for cell in cells:
        lines = cell.count("\n") or cell.count("\r")
        if lines and cell.count(separator) == lines * breaks:
            if separator == "\t":
                raise DataError(
                    f'{file}:{line}: a quoted field swallows the rows up to line {last}: {excerpt(cell)}; write a " at the start of a '
                    'field as """, or write the file as CSV'
                )
            message = '%s:%d: a quoted field goes on to line %d, and looks like rows that a lone " swallowed: %s'
            log.warning(message, file, line, last, excerpt(cell))


def _read_json(file: Path, wanted: Mapping[str, str]) -> Rows:
    text = read_text(file)
    is_array = ending(file) == ".json" and text.lstrip().startswith("[")
    rows = list(_array_rows(file, text) if is_array else _line_rows(file, text))
    if not rows:
        raise DataError(f"{file}: it has no rows; it needs a JSON object for each")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    column_places(f"{file}:1", names, wanted)
    for line, row in rows:
        yield line, [cell_text(row.get(name), f"{file}:{line}: {name}", key) for name, key in wanted.items()]


def _line_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    what = "each line must be one JSON object" + (", or the file one array of them" if ending(file) == ".json" else "")
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            yield line, _object(_parse(content, f"{file}:{line}", what), f"{file}:{line}", content)


def _array_rows(file: Path, text: str) -> Iterable[tuple[int, dict[str, object]]]:
    rows = _parse(text, str(file), "the file must be one JSON array of objects, or an object a line")
    assert isinstance(rows, list)  # it begins with [
    return [(number, _object(row, f"{file}:{number}", str(row))) for number, row in enumerate(rows, 1)]


def _parse(text: str, place: str, what: str) -> object:
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: {error}: {excerpt(text)}; {what}") from error


def _object(row: object, place: str, text: str) -> dict[str, object]:
    if not isinstance(row, dict):
        raise DataError(f"{place}: {excerpt(text)} is not a JSON object; a row is {{column: value, …}}")
    return row


def _no_number(spelling: str) -> None:
    raise ValueError(f"{spelling} is not JSON; write null for what is not known")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"key {excerpt(twice)} occurs twice")
    return row
