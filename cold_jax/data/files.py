"""Reading text files and cells, with errors that name file, line and value."""

import codecs
import io
import operator
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from cold_jax.errors import DataError, nearest_name

Source = TypeVar("Source")
Read = Callable[[Source, Mapping[str, str]], Iterator[tuple[int, Sequence[str | None]]]]
"""A reader of one kind of source: (source, {wanted column: the setting that names it}) → line number and the wanted cells, in that order.

A source is a file, a query or a collection; as text it is its name in messages. Cells are the source's own text, byte for byte; None
where it has a null of its own.
"""

MAX_UNPACKED = 4 * 2**30  # bytes that a packed file may unpack to
MAX_RATIO = 200  # unpacked bytes for each packed one; text rarely reaches 20
FREE = 64 * 2**20  # bytes below which the ratio is not looked at

LARGEST = float(np.finfo(np.float32).max)


def number(cell: str | None) -> float:
    """The number that a cell spells, finite also in single precision. Raises ValueError, which says what is wrong."""
    try:
        value = float("" if cell is None or "_" in cell else cell)
    except ValueError:
        raise ValueError(f"{excerpt(cell or '')} is not a number") from None
    if not abs(value) <= LARGEST:  # nor is NaN
        raise ValueError(f"{excerpt(cell or '')} is not a finite number")
    return value


def excerpt(value: str) -> str:
    """The first 80 characters for a message, with control characters spelled out, so that no terminal obeys them."""
    return repr(value[:80]) + ("…" if len(value) > 80 else "")


def ending(file: Path) -> str:
    """The ending that names the format, in lower case and without a last .gz."""
    inner = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    return inner.suffix.lower()


def require_file(file: Path, key: str, root: str) -> None:
    """Raises DataError where there is no such file, and says what a relative folder (setting `key`, value `root`) starts from."""
    if file.is_dir():
        raise DataError(f"{file}: is a folder; name a file in it")
    if not file.is_file():
        where = "" if file.is_absolute() else f"; {key}={root!r} is relative to {Path.cwd()}, where this command was started"
        raise DataError(f"{file}: there is no such file{where}; give {key}=FOLDER")


def read_text(file: Path) -> str:
    """The whole of a UTF-8 file, unchanged but for a byte order mark at its start; unpacked if its name ends in .gz.

    Raises:
      DataError: the file cannot be read, is empty or not UTF-8, or unpacks to more than MAX_UNPACKED bytes or MAX_RATIO times its size.
    """
    try:
        data = file.read_bytes()
        if file.suffix.lower() == ".gz":
            data = _unpack(file, data)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file}: cannot be read ({reason}); is the path right, and the file whole?") from error
    if not data:
        raise DataError(f"{file}: the file is empty; it needs a header and rows")
    if _is_utf16(data[:8]):
        raise DataError(f"{file}: the file is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        bad = error.object[error.start : error.start + 20]
        raise DataError(f"{file}:{line}: {bad!r} is not UTF-8; save the file as UTF-8") from error


def _is_utf16(head: bytes) -> bool:
    """By its mark, or by the zeros between letters of a header."""
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return marked or (len(head) == 8 and any(head) and not (any(head[1::2]) and any(head[::2])))


def _unpack(file: Path, packed: bytes) -> bytes:
    limit = min(MAX_UNPACKED, max(FREE, MAX_RATIO * len(packed)))
    unpacked = io.BytesIO()
    while packed:  # a file may be several gzip members, one after the other
        member = zlib.decompressobj(wbits=31)
        unpacked.write(member.decompress(packed, limit + 1 - unpacked.tell()))
        if unpacked.tell() > limit:
            raise DataError(
                f"{file}: unpacks to more than {limit:,} bytes (at most {MAX_UNPACKED:,}, and {MAX_RATIO} times the packed size); "
                "unpack it yourself if it is yours"
            )
        if not member.eof:
            raise EOFError("it ends before its end")
        packed = member.unused_data.lstrip(b"\0")  # padding, which gzip allows
    return unpacked.getvalue()


class MissingColumn(DataError):
    """A column is not there; of_format: the message for data in which no setting names it."""

    def __init__(self, place: str, name: str, key: str, nearest: str):
        super().__init__(f"{place}: no column {name!r} (for data.{key}); {nearest}")
        self.setting = key.partition(".")[0]
        self.of_format = f"{place}: no column {name!r}, which this format needs; {nearest}"


def column_places(place: str, names: Sequence[str], wanted: Mapping[str, str]) -> list[int]:
    """The positions in a header, which is at `place`, of the wanted columns ({name: the setting that names it})."""
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        raise DataError(f"{place}: column {excerpt(twice[0])} occurs twice; rename one")
    for name, key in wanted.items():
        if name not in names:
            raise MissingColumn(place, name, key, nearest_name(name, names))
    return [names.index(name) for name in wanted]


def require_no_header(place: str, cells: Sequence[str], names: Sequence[str]) -> None:
    """Raises DataError where a row is the header once more, as in files that were written one after the other into one."""
    if cells[0].removeprefix("\ufeff") == names[0] and all(map(operator.eq, cells[1:], names[1:])):
        raise DataError(f"{place}: the header again: {excerpt(', '.join(cells))}; if several files were joined, leave it out")
