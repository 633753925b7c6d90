"""Rows of Parquet files as cells of text."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cold_jax.data.files import FREE, MAX_RATIO, MAX_UNPACKED, column_places
from cold_jax.data.values import IDS, cell_text
from cold_jax.errors import DataError

_EPOCH = datetime(1970, 1, 1)
_FREE_ROWS, _ROWS_PER_BYTE = 4_000_000, 1000  # rows below which their ratio to the packed bytes is not looked at, and its limit


def read_parquet(file: Path, wanted: Mapping[str, str]) -> Iterator[tuple[int, list[str | None]]]:
    """Rows of a Parquet file: number, from 1, and the wanted cells (a `files.Read`).

    Dates and timestamps become seconds where they order interactions, to the microsecond, and ISO 8601 elsewhere.

    Raises:
      DataError: the file cannot be read, unpacks to too much, lacks a column, or has ids that are neither text nor whole numbers.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            _check_size(file, table.metadata)
            column_places(f"{file}:1", table.schema_arrow.names, wanted)
            for name, key in wanted.items():
                kind = table.schema_arrow.field(name).type
                if key in IDS and not (_is_text(kind) or pa.types.is_integer(kind)):
                    raise DataError(f"{file}: ids in column {name!r} (data.{key}) are {kind}; write text or whole numbers")
            row = 0
            for batch in table.iter_batches(columns=list(wanted)):
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
    """Run lengths and dictionaries can make billions of rows of a kilobyte."""
    packed, rows = file.stat().st_size, metadata.num_rows
    unpacked = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    if unpacked > min(MAX_UNPACKED, max(FREE, MAX_RATIO * packed)) or rows > max(_FREE_ROWS, _ROWS_PER_BYTE * packed):
        raise DataError(
            f"{file}: unpacks {packed:,} bytes to {unpacked:,} and {rows:,} rows; the limits are {MAX_UNPACKED:,} bytes, and "
            f"{MAX_RATIO} bytes and {_ROWS_PER_BYTE} rows for each packed byte; write it again without compression if it is yours"
        )


def _values(column: pa.Array, key: str) -> list:
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
