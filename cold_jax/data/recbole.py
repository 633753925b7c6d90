"""RecBole's atomic files: NAME.inter, and NAME.item and NAME.user where there are any.

The first line names the columns as `name:type`; fields are separated by tabs, without quoting, so a field is what is between two
tabs, byte for byte (https://recbole.io/docs/user_guide/data/atomic_files.html).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cold_jax.data.attributes import Attributes
from cold_jax.data.columns import split_columns
from cold_jax.data.dataset import Dataset
from cold_jax.data.files import column_places, excerpt, read_text, require_file, require_no_header
from cold_jax.errors import DataError
from cold_jax.storage import assets

USER, ITEM = "user_id", "item_id"


@dataclass(frozen=True)
class Recbole(Attributes):
    """A data set in atomic files, in a folder or as members of a Python package."""

    root: str | None  # the folder that holds the files; null takes them from `package`
    package: str | None  # a requirement with its exact version
    sha256: str | None  # of the package's wheel
    member: str  # path of the files in the wheel without their endings; in `root` its last segment counts
    value: str | None  # column of the rating; null: every interaction has the value 1
    time: str | None  # column of the time, see data/times.py; null: the order of the rows is all there is

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.root is None and (self.package is None or self.sha256 is None):
            raise ValueError("data.root: name a folder, or a data.package with its data.sha256")

    def __call__(self) -> Dataset:
        """Reads the files.

        A repeated (user, item) pair stays repeated: the split decides what becomes of it.

        Raises:
          DataError: a file does not exist or is malformed; the message names file, line and value.
        """
        inter, item, user = self._files()
        columns = {"user": USER, "item": ITEM, "value": self.value, "time": self.time}
        return self.dataset(read, inter, columns, (item, ITEM), (user, USER), read_columns)

    def _files(self) -> tuple[Path, Path | None, Path | None]:
        if self.root is None:
            assert self.package is not None
            assert self.sha256 is not None
            members = [f"{self.member}.{kind}" for kind in ("inter", "item", "user")]
            try:
                found = assets.fetch(self.package, self.sha256, members)
            except DataError as error:
                raise DataError(f"{error}; or name a folder that holds the files: data.root=DIR") from error
            inter, item, user = (found[member] for member in members)
            return inter, item, user
        inter, item, user = (Path(self.root) / f"{Path(self.member).name}.{kind}" for kind in ("inter", "item", "user"))
        require_file(inter, "data.root", self.root)
        return inter, item if item.exists() else None, user if user.exists() else None


def read(file: Path, wanted: Mapping[str, str]) -> Iterator[tuple[int, list[str]]]:
    """Lines of an atomic file: line number and the wanted cells (a `files.Read`)."""
    header, *lines = read_text(file).split("\n")
    end = "\r" if header.endswith("\r") else ""  # a file of CRLF lines; elsewhere a carriage return is data
    names = _names(header.removesuffix(end))
    at = column_places(f"{file}:1", names, wanted)
    if lines and lines[-1] == "":  # after the last line's end
        lines.pop()
    for number, line in enumerate(lines, 2):
        cells = line.removesuffix(end).split("\t")
        if len(cells) != len(names):
            wrong = f"{len(cells)} fields where the header names {len(names)}"
            raise DataError(f"{file}:{number}: {wrong}: {excerpt(line)}; one tab separates two fields")
        require_no_header(f"{file}:{number}", cells, header.removesuffix(end).split("\t"))
        yield number, [cells[i] for i in at]


def read_columns(file: Path, wanted: Mapping[str, str]) -> pa.Table | None:
    """The wanted columns of an atomic file (a `columns.Columns`)."""
    text = read_text(file)
    return split_columns(text.encode(), _names(text.partition("\n")[0].removesuffix("\r")), list(wanted), "\t")


def _names(header: str) -> list[str]:
    return [name.rpartition(":")[0] or name for name in header.split("\t")]
