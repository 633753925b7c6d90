"""Reading text files and cells, with errors that name file, line and value."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cold_jax.errors import DataError, nearest_name

_LARGEST = float(np.finfo(np.float32).max)


def number(cell: str | None) -> float:
    """The number that a cell spells, finite also in single precision; ValueError says what is wrong."""
    try:
        value = float("" if cell is None or "_" in cell else cell)
    except ValueError:
        raise ValueError(f"{excerpt(cell or '')} is not a number") from None
    if not abs(value) <= _LARGEST:  # nor is NaN
        raise ValueError(f"{excerpt(cell or '')} is not a finite number")
    return value


def excerpt(value: str) -> str:
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


def column_places(file: Path, names: Sequence[str], wanted: Mapping[str, str]) -> list[int]:
    """Where in a header the wanted columns ({name: the setting that names it}) stand."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{file}:1: column {excerpt(twice[0])} stands twice; rename one")
    for name, key in wanted.items():
        if name not in names:
            raise DataError(f"{file}:1: no column {name!r} (for {key}); {nearest_name(name, names)}")
    return [names.index(name) for name in wanted]
