"""What is wanted for a user: their id, their profile, what they like, words to search by; and files of many users."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cold_jax.data import tables
from cold_jax.data.files import excerpt
from cold_jax.errors import DataError, nearest_name

COLUMNS = ("user", "profile", "liked", "query", "exclude")


class UserRequest(NamedTuple):
    """A user of the data, a new one, or one of the data with another profile or more likes."""

    user: str | None = None  # an id of the data
    profile: str | None = None  # any text about them; of a user of the data, instead of theirs
    liked: tuple[str, ...] = ()  # ids of items, the newest last; beside those that the data knows of the user
    query: str | None = None
    exclude: tuple[str, ...] = ()  # ids of items that are not wanted
    name: str = ""  # of the user in what is written
    place: str = ""  # file and line, for messages


def read_requests(file: Path, known: set[str] | frozenset[str]) -> Iterator[UserRequest]:
    """The rows of a table with the columns `user`, `profile`, `liked`, `query`, `exclude`, or some of them.

    `liked` and `exclude` hold ids separated by |, or in JSON a list. A user who is not among the `known` is new, and needs another column.

    Raises DataError where the file is malformed, has another column, or a row says nothing of its user; the message names the line.
    """
    if not file.is_file():
        raise DataError(f"{file}: there is no such file; give a table with a column user, profile or liked")
    names = tables.column_names(file)
    for name in names:
        if name not in COLUMNS:
            raise DataError(f"{file}: a column {excerpt(name)} is none of a request; {nearest_name(name, COLUMNS)}")
    wanted = {name: name for name in COLUMNS if name in names}
    for line, cells in tables.read(file, wanted):
        row = {name: cell for name, cell in zip(wanted, cells, strict=True) if cell}
        liked, exclude = (tuple(filter(None, re.split(r"[|\n]", row.get(name, "")))) for name in ("liked", "exclude"))
        user, place = row.get("user"), f"{file}:{line}"
        is_new = user is not None and user not in known
        if not (row.keys() & {"profile", "liked", "query"}) and (user is None or is_new):
            what = f"the data has no user {excerpt(user)}, and the row" if user is not None else "the row"
            raise DataError(f"{place}: {what} has no profile, liked or query; give one")
        yield UserRequest(
            None if is_new else user, row.get("profile"), liked, row.get("query"), exclude, user or f"line {line}", place
        )
