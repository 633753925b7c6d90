"""A user's rows in the files that a data set was read from: where they are, and the files without them.

A row goes as a whole, and all other bytes of a file stay as they are. Databases are never written: what to delete there is shown.
"""

import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cold_jax.data.files import ending, excerpt, read_text, require_file
from cold_jax.data.lastfm import PLAYS, TAGGED, Lastfm
from cold_jax.data.mongodb import Mongodb
from cold_jax.data.recbole import USER, Recbole
from cold_jax.data.sequences import Sequences
from cold_jax.data.sql import Sql
from cold_jax.data.tables import SEPARATORS, Tables
from cold_jax.errors import DataError
from cold_jax.storage.files import atomic


@dataclass(frozen=True)
class UserFile:
    """A file with rows of users, and the column that names them; None: a row begins with the user."""

    path: Path
    column: str | None
    separator: str  # of text that is not JSON

    def without(self, user: str) -> tuple[int, bytes]:
        """(how many rows are the user's, the file without them)."""
        if self.path.suffix.lower() == ".parquet":
            return self._parquet_without(user)
        text = read_text(self.path)
        rows = list(self._rows(text))
        kept = "".join(raw for raw, owner in rows if owner != user)
        if ending(self.path) == ".json" and text.lstrip().startswith("["):
            kept = json.dumps([json.loads(raw) for raw, owner in rows if owner != user], ensure_ascii=False)
        bom = b"\xef\xbb\xbf" if self.path.suffix.lower() != ".gz" and self.path.read_bytes().startswith(b"\xef\xbb\xbf") else b""
        data = bom + kept.encode()
        return sum(owner == user for _, owner in rows), gzip.compress(data) if self.path.suffix.lower() == ".gz" else data

    def _rows(self, text: str) -> Iterator[tuple[str, str | None]]:
        """(a row as it is written, whose it is)."""
        form = ending(self.path)
        if form == ".json" and text.lstrip().startswith("["):
            yield from ((json.dumps(row, ensure_ascii=False), self._owner(row)) for row in json.loads(text))
        elif form in (".json", ".jsonl", ".ndjson"):
            for raw in _lines(text):
                yield raw, self._owner(json.loads(raw, parse_int=str, parse_float=str)) if raw.strip() else None
        elif form in (".csv", ".tsv"):
            yield from self._csv_rows(text)
        elif self.column is None:
            yield from ((raw, raw.split()[0] if raw.strip() else None) for raw in _lines(text))
        else:  # without quoting: RecBole's and HetRec's
            header, *rows = _lines(text)
            names = [name.rpartition(":")[0] or name for name in header.rstrip("\r\n").split(self.separator)]
            at = names.index(self.column)
            yield header, None
            yield from ((raw, raw.rstrip("\r\n").split(self.separator)[at] if raw.strip() else None) for raw in rows)

    def _csv_rows(self, text: str) -> Iterator[tuple[str, str | None]]:
        csv.field_size_limit(sys.maxsize)
        lines = io.StringIO(text, newline="").readlines()
        reader, start, at = csv.reader(lines, delimiter=self.separator), 0, None
        for cells in reader:
            raw, start = "".join(lines[start : reader.line_num]), reader.line_num
            if at is None and cells:
                if self.column not in cells:
                    raise DataError(f"{self.path}:1: no column {self.column!r}")
                at = cells.index(self.column)
                yield raw, None
            else:
                yield raw, cells[at] if at is not None and len(cells) > at else None

    def _owner(self, row: Any) -> str | None:
        value = row.get(self.column) if isinstance(row, dict) else None
        return None if value is None else str(value)

    def _parquet_without(self, user: str) -> tuple[int, bytes]:
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(self.path)
        own_N = np.array([value is not None and str(value) == user for value in table[self.column].to_pylist()], bool)
        sink = io.BytesIO()
        pq.write_table(table.filter(pa.array(~own_N)), sink, write_page_checksum=True)
        return int(own_N.sum()), sink.getvalue()


def _lines(text: str) -> list[str]:
    """With their ends, which are \\n alone: any other sign may be in a field."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def user_files(source: object) -> Sequence[UserFile]:
    """The files of a data set that have rows of users. Raises DataError where it has none that can be written."""
    if isinstance(source, Tables):
        signs = SEPARATORS.get(source.separator, source.separator)

        def table(name: str, column: str) -> UserFile:
            path = Path(source.root, name)
            require_file(path, "data.root", source.root)
            by_ending = "\t" if ending(path) == ".tsv" else ","
            return UserFile(path, column, by_ending if signs == "auto" else signs)

        users = [] if source.users is None else [table(source.users, source.user_id)]
        return [table(source.interactions, source.user), *users]
    if isinstance(source, Recbole) and source.root is not None:
        stem = source.member.rsplit("/", 1)[-1]
        paths = [Path(source.root, f"{stem}{suffix}") for suffix in (".inter", ".user")]
        return [UserFile(path, USER, "\t") for path in paths if path.is_file()]
    if isinstance(source, Sequences) and source.root is not None:
        return [UserFile(Path(source.root, "sequences.txt"), None, " ")]
    if isinstance(source, Lastfm) and source.root is not None:
        return [UserFile(path, "userID", "\t") for name in (PLAYS, TAGGED) if (path := Path(source.root, name)).is_file()]
    raise DataError("data: it comes from no file of this machine that has rows of users; a package is fetched as it is published")


def to_delete(source: Sql | Mongodb, user: str) -> Iterator[str]:
    """What to delete in a database, where nothing is written: a line for each query or collection that has users."""
    places = [("interactions", source.interactions, source.user)]
    places += [] if source.users is None else [("users", source.users, source.user_id)]
    for key, what, column in places:
        if isinstance(source, Mongodb):
            yield f"data.{key}: db.{what}.deleteMany({json.dumps({column: user}, ensure_ascii=False)})"
        else:
            literal = user.replace("'", "''")
            yield f"data.{key}: DELETE the rows with {column} = '{literal}' from the tables of: {' '.join(what.split())}"


def write_without(file: UserFile, data: bytes, in_place: bool) -> Path:
    """The file without the user: itself, or one beside it with `forgotten.` before its name."""
    path = file.path if in_place else file.path.with_name(f"forgotten.{file.path.name}")
    with atomic(path, new=False) as opened:
        opened.write(data)
    return path


def require_user(user: str) -> None:
    """Raises DataError for an id that no row can have."""
    if not user or "\n" in user:
        raise DataError(f"user: {excerpt(user)} is no id; give it as the data have it, as in user=007")
