"""Rows of Parquet files as cells of text."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cold_jax.data.files import FREE, MAX_RATIO, MAX_UNPACKED, column_places
from cold_jax.data.values import IDS, cell_text
from cold_jax.errors import DataError

_EPOCH = datetime(1970, 1, 1)
_FREE_ROWS, _ROWS_PER_BYTE = 4_000_000, 50  # rows below which their ratio to the packed bytes is not looked at, and its limit


def read_parquet(file: Path, wanted: Mapping[str, str]) -> Iterator[tuple[int, list[str | None]]]:
    """Rows of a Parquet file: number, from 1, and the wanted cells (a `files.Read`).

    Dates and timestamps become seconds where they order interactions, to the microsecond, and ISO 8601 elsewhere.

    Raises:
      DataError: the file cannot be read, unpacks to too much, lacks a column, or has ids that are neither text nor whole numbers.
    """
    try:
        metadata = pq.read_metadata(file)
        _check_size(file, metadata)
        # a text that a dictionary holds once may be that of a million rows: it is counted before it is written out
        texts = [column.path for column in _columns(metadata) if column.physical_type == "BYTE_ARRAY"]
        with pq.ParquetFile(file, read_dictionary=texts, page_checksum_verification=True) as table:
            column_places(f"{file}:1", table.schema_arrow.names, wanted)
            for name, key in wanted.items():
                kind = table.schema_arrow.field(name).type
                if key in IDS and not (_is_text(kind) or pa.types.is_integer(kind)):
                    raise DataError(f"{file}: ids in column {name!r} (data.{key}) are {kind}; write text or whole numbers")
            row, written = 0, 0
            for batch in table.iter_batches(columns=list(wanted)):
                written += sum(_text_size(batch.column(name)) for name in wanted)
                _check_unpacked(file, written, row + batch.num_rows)
                columns = (_values(batch.column(name), key) for name, key in wanted.items())
                for cells in zip(*columns, strict=True):
                    row += 1
                    named = zip(wanted.items(), cells, strict=True)
                    yield row, [cell_text(cell, f"{file}:{row}: {name}", key) for (name, key), cell in named]
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: cannot be read ({error}); is the path right, and the file whole?") from error


def _check_size(file: Path, metadata: pq.FileMetaData) -> None:
    """Run lengths can make billions of rows of a kilobyte."""
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    rows = max(metadata.num_rows, sum(group.num_rows for group in groups))
    _check_unpacked(file, sum(group.total_byte_size for group in groups), rows)


def _check_unpacked(file: Path, unpacked: int, rows: int) -> None:
    packed = file.stat().st_size
    if unpacked > min(MAX_UNPACKED, max(FREE, MAX_RATIO * packed)) or rows > max(_FREE_ROWS, _ROWS_PER_BYTE * packed):
        raise DataError(
            f"{file}: unpacks {packed:,} bytes to {unpacked:,} and {rows:,} rows; the limits are {MAX_UNPACKED:,} bytes, and "
            f"{MAX_RATIO} bytes and {_ROWS_PER_BYTE} rows for each packed byte; if it is yours, write it without compression and dictionaries"
        )


def _columns(metadata: pq.FileMetaData) -> list[pq.ColumnSchema]:
    return [metadata.schema.column(n) for n in range(metadata.num_columns)]


def _text_size(column: pa.Array) -> int:
    """Characters of all texts of a column, or of its lists, as they are when written out."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return _text_size(column.flatten())
    if not isinstance(column, pa.DictionaryArray) or not len(column.dictionary):
        return 0
    column.validate(full=True)  # indices of a damaged file may lie beyond the dictionary
    size_T = np.array([len(text or "") for text in column.dictionary.to_pylist()], np.int64)
    return int(size_T[column.indices.drop_null().to_numpy()].sum())


def _values(column: pa.Array, key: str) -> list:
    if isinstance(column, pa.DictionaryArray):  # each text once, however many rows have it
        texts = column.dictionary.to_pylist()
        return [None if at is None else texts[at] for at in column.indices.to_pylist()]
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        return column.to_pylist()
    zone = UTC if pa.types.is_timestamp(column.type) and column.type.tz else None
    micro = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False).cast(pa.int64()).to_pylist()
    if key == "time":
        return [None if value is None else value / 1e6 for value in micro]
    moments = [None if value is None else (_EPOCH + timedelta(microseconds=value)).replace(tzinfo=zone) for value in micro]
    if pa.types.is_date(column.type):
        return [moment and moment.date().isoformat() for moment in moments]
    return [moment and moment.isoformat() for moment in moments]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
