"""Tables with named columns: CSV, JSON lines or Parquet, each file told by its ending.

    .csv .tsv        read by Python's csv module; fields may be quoted, empty lines are skipped
    .jsonl .ndjson   an object a line; a number keeps its spelling, null and a key that is not there mean "not known"
    .parquet         text or whole numbers where ids are; page checksums are verified where they were written

The first two may be packed (.csv.gz). Ids are text, byte for byte: `007` stays `007`. A list of texts in JSON or Parquet becomes
one text with a line for each, so that `item_sets: {genres: "\\n"}` takes it apart again. In a message the number after the file's
name is the line on which the row begins; in Parquet, which has no lines, it is the row.
"""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cold_jax.data.attributes import Attributes
from cold_jax.data.dataset import Dataset
from cold_jax.data.files import column_places, excerpt, read_text
from cold_jax.errors import DataError

Rows = Iterator[tuple[int, list[str | None]]]
_IDS = ("user", "item", "user_id", "item_id")


@dataclass(frozen=True)
class Tables(Attributes):
    """A data set in one to three files."""

    root: str  # the folder that the files' names start from
    interactions: str  # the file, and its columns
    user: str
    item: str
    value: str | None  # null: every interaction is worth 1
    time: str | None  # seconds, or anything that orders; null: the order of the rows is all there is
    items: str | None  # the file of item attributes, and its column of ids
    item_id: str
    users: str | None
    user_id: str

    def __call__(self) -> Dataset:
        """Reads the files.

        A repeated (user, item) pair stays repeated: what becomes of it is the split's to say.

        Raises:
          DataError: a file is not there or is malformed; the message names file, line and value.
        """
        root = Path(self.root)
        return self.dataset(
            read,
            root / self.interactions,
            {"user": self.user, "item": self.item, "value": self.value, "time": self.time},
            (None if self.items is None else root / self.items, self.item_id),
            (None if self.users is None else root / self.users, self.user_id),
        )


def read(file: Path, wanted: Mapping[str, str]) -> Rows:
    """Rows of a table: number and the wanted cells (a `data.Read`)."""
    ending = Path(file.stem).suffix if file.suffix == ".gz" else file.suffix
    if ending in (".csv", ".tsv"):
        return _read_csv(file, wanted, "\t" if ending == ".tsv" else ",")
    if ending in (".jsonl", ".ndjson"):
        return _read_json_lines(file, wanted)
    if file.suffix == ".parquet":
        return _read_parquet(file, wanted)
    raise DataError(f"{file}: the ending must tell the kind: .csv, .tsv, .jsonl, .ndjson, one of them with .gz, or .parquet")


def _read_csv(file: Path, wanted: Mapping[str, str], delimiter: str) -> Rows:
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(io.StringIO(read_text(file), newline=""), strict=True, delimiter=delimiter)
    at, width, line = [], 0, 1
    try:
        for cells in rows:
            if cells and not at:
                at, width = column_places(file, cells, wanted), len(cells)
            elif cells:
                if len(cells) != width:
                    wrong = f"{len(cells)} fields where the header names {width}"
                    row = excerpt(delimiter.join(cells))
                    raise DataError(f"{file}:{line}: {wrong}: {row}; quote a field that holds the separator")
                yield line, [cells[i] for i in at]
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f'{file}:{line}: {error}; quote fields by " and double a " inside') from error
    if not at:
        raise DataError(f"{file}: only empty lines; it needs a header and rows")


def _read_json_lines(file: Path, wanted: Mapping[str, str]) -> Rows:
    rows = []
    for line, content in enumerate(read_text(file).split("\n"), 1):
        if content.strip():
            try:
                row = json.loads(content, parse_int=str, parse_float=str, parse_constant=_no_number, object_pairs_hook=_once)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{file}:{line}: {error}: {excerpt(content)}; each line must be one JSON object") from error
            if not isinstance(row, dict):
                raise DataError(f"{file}:{line}: {excerpt(content)} is no JSON object; a row is {{column: value, …}}")
            rows.append((line, row))
    if not rows:
        raise DataError(f"{file}: only empty lines; it needs a JSON object on each")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    column_places(file, names, wanted)
    for line, row in rows:
        yield line, [_cell(row.get(name), f"{file}:{line}: {name}", key) for name, key in wanted.items()]


def _read_parquet(file: Path, wanted: Mapping[str, str]) -> Rows:
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            column_places(file, table.schema_arrow.names, wanted)
            for name, key in wanted.items():
                kind = table.schema_arrow.field(name).type
                if key in _IDS and not (_is_text(kind) or pa.types.is_integer(kind)):
                    raise DataError(f"{file}: ids in column {name!r} (data.{key}) are {kind}; write text or whole numbers")
            row = 0
            for batch in table.iter_batches(columns=list(wanted)):
                for cells in zip(*(_values(batch.column(name)) for name in wanted), strict=True):
                    row += 1
                    named = zip(wanted.items(), cells, strict=True)
                    yield row, [_cell(cell, f"{file}:{row}: {name}", key) for (name, key), cell in named]
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); is the path right, and the file whole?") from error


def _values(column: pa.Array) -> list:
    if pa.types.is_timestamp(column.type):
        micro = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        return [None if value is None else value / 1e6 for value in micro.to_pylist()]
    return column.to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _cell(value: object, place: str, key: str) -> str | None:
    """A value of JSON or Parquet as text."""
    if isinstance(value, list) and key not in _IDS and all(isinstance(member, str) and "\n" not in member for member in value):
        value = "\n".join(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place} {excerpt(value)} is no valid Unicode ({error.reason}); replace the lone surrogate"
            ) from error
        return value
    if value is None:
        return None
    if isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise DataError(f"{place} {excerpt(str(value))} is neither text nor number nor a list of one-line texts; write it as text")


def _no_number(spelling: str) -> None:
    raise ValueError(f"{spelling} is not JSON; write null for what is not known")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return row
