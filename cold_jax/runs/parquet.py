"""The Parquet files of a run: checksums of pages, a digest of the whole, and limits on what a file from elsewhere may unfold to."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cold_jax.errors import RunError
from cold_jax.storage.files import atomic
from cold_jax.storage.limits import GiB, MiB, read_file

LARGEST = 2 * GiB  # bytes of a file
# rows and bytes of text that a file may unfold to, beyond a million and 64 MiB: run lengths and dictionaries repeat for nothing
ROWS_PER_BYTE, TEXT_PER_BYTE = 20, 1_000
_TEXT = pa.string()
_UNSIGNED = b"0" * 64  # holds the place of a file's own sha256


def write_table(path: Path, schema: pa.Schema, rows: Sequence[Any]) -> None:
    """Columns in the order of the schema, which has text, numbers and no nulls."""
    # page checksums leave out the footer, where 1 of 850 flipped bits changed values without a word: hence a digest of the file
    columns = [list(c) if f.type == _TEXT else np.asarray(c, f.type.to_pandas_dtype()) for c, f in zip(rows, schema, strict=True)]
    table = pa.table(columns, schema=schema.with_metadata({b"sha256": _UNSIGNED}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    before, _, after = sink.getvalue().to_pybytes().rpartition(_UNSIGNED)
    with atomic(path, new=False) as file:
        file.write(before + _digest(before, after) + after)


def read_table(path: Path, schema: pa.Schema) -> list[Any]:
    """The columns: lists of text, and arrays. Raises RunError where the file is missing, or a bit is not as it was written."""
    try:
        data = read_file(path, LARGEST, RunError)
    except FileNotFoundError:
        raise RunError(f"{path}: is not there; only a finished run has it") from None
    try:
        _check(pq.ParquetFile(pa.BufferReader(data)), data, schema)
        texts = [field.name for field in schema if field.type == _TEXT]
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts, page_checksum_verification=True)
        columns = file.read().columns
        if any(column.null_count for column in columns):
            raise ValueError("it holds nulls")
        if (size := sum(map(_text_size, columns))) > (most := 64 * MiB + TEXT_PER_BYTE * len(data)):
            raise ValueError(f"{size:,} bytes of text, more than the {most:,} of such a file")
    except (OSError, ValueError, pa.ArrowException, MemoryError) as error:
        problem = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: damaged, or not a file of this project: {problem}") from error
    return [_texts(column) if pa.types.is_dictionary(column.type) else column.to_numpy() for column in columns]


def _check(file: pq.ParquetFile, data: bytes, schema: pa.Schema) -> None:
    """ValueError where the footer alone shows that the file is not one of ours."""
    if not file.schema_arrow.equals(schema):
        raise ValueError(f"its columns are {file.schema_arrow.names}")
    signature = (file.metadata.metadata or {}).get(b"sha256", b"none")
    before, _, after = data.rpartition(signature)
    if signature != _digest(before, after):
        raise ValueError("its sha256 is not the one that was written into it")
    if (rows := file.metadata.num_rows) > (most := 10**6 + ROWS_PER_BYTE * len(data)):
        raise ValueError(f"{rows:,} rows, more than the {most:,} of such a file")


def _text_size(column: pa.ChunkedArray) -> int:
    """Bytes of a text column written out; 0 of any other."""
    if not pa.types.is_dictionary(column.type):
        return 0
    return sum(
        int(np.array([len(text.as_buffer()) for text in chunk.dictionary], np.int64)[chunk.indices.to_numpy()].sum())
        for chunk in column.chunks
        if len(chunk)
    )


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Each text is decoded once, however many rows have it."""
    return [
        text
        for chunk in column.chunks
        for values in [chunk.dictionary.to_pylist()]
        for text in map(values.__getitem__, chunk.indices.to_pylist())
    ]


def _digest(before: bytes, after: bytes) -> bytes:
    return hashlib.sha256(before + _UNSIGNED + after).hexdigest().encode()
