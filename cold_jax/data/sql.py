"""Tables of an SQL database, each by one query: SQLite, MariaDB or MySQL, PostgreSQL.

A row's number in a message is its position in the query's answer, from 1. ids are text: whole numbers as they are written, text byte for
byte, a UUID as usual. Dates and timestamps are ISO 8601, and a JSON or array column of texts is one text with a line for each.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cold_jax.data.attributes import Attributes
from cold_jax.data.databases import Query, check_uri, snapshot
from cold_jax.data.dataset import Dataset
from cold_jax.data.files import column_places, excerpt
from cold_jax.data.values import database_text

_COMMENT = re.compile(r"--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_INTO = re.compile(r"\binto\s+(?:outfile|dumpfile)\b", re.IGNORECASE)  # MySQL's way to write a file, in any transaction


class Statement(NamedTuple):
    """One query; as text, the setting that holds it."""

    key: str
    sql: str

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True)
class Sql(Attributes):
    """A data set of one to three queries, read in one transaction that cannot write."""

    uri: str  # env:NAME, an environment variable with the address; or an SQLite file
    interactions: str  # a query, and its columns
    user: str
    item: str
    value: str | None  # null: every interaction has the value 1
    time: str | None  # see data/times.py; null: the order of the rows is all there is
    items: str | None  # the query of item attributes, and its column of ids
    item_id: str
    users: str | None
    user_id: str
    batch: int  # rows fetched at once

    def __post_init__(self) -> None:
        super().__post_init__()
        check_uri(self.uri)
        if self.batch < 1:
            raise ValueError(f"data.batch: {self.batch} is no number of rows; it is 1 or more")
        for key in ("interactions", "items", "users"):
            query = getattr(self, key)
            if query is not None:
                _check_query(f"data.{key}", query)

    def __call__(self) -> Dataset:
        """Runs the queries: items, users, then interactions.

        A repeated (user, item) pair stays repeated: the split decides what becomes of it.

        Raises:
          DataError: the database cannot be read, or a row is wrong; the message names query, row and value.
        """
        interactions, items, users = (
            None if query is None else Statement(f"data.{key}", query.rstrip().rstrip(";"))
            for key, query in (("interactions", self.interactions), ("items", self.items), ("users", self.users))
        )
        assert interactions is not None
        with snapshot(self.uri, self.batch) as query:
            return self.dataset(
                functools.partial(_read, query),
                interactions,
                {"user": self.user, "item": self.item, "value": self.value, "time": self.time},
                (items, self.item_id),
                (users, self.user_id),
            )


def _check_query(key: str, query: str) -> None:
    """Raises ValueError where the text is no query. That it is one statement and writes nothing, driver and transaction see to."""
    word = re.match(r"[\s(]*(\w*)", _COMMENT.sub(" ", query))
    if word is None or word[1].lower() not in ("select", "with") or _INTO.search(query):
        raise ValueError(f"{key}: {excerpt(query)} is no query; give one SELECT, or WITH … SELECT, which only reads")


def _read(query: Query, statement: Statement, wanted: Mapping[str, str]) -> Iterator[tuple[int, list[str | None]]]:
    """Rows of a query: number, from 1, and the wanted cells (a `files.Read`)."""
    answer = query(statement.key, statement.sql)
    places = column_places(statement.key, answer.names, wanted)
    columns = [(at, name, key) for at, (name, key) in zip(places, wanted.items(), strict=True)]
    for number, row in enumerate(answer.rows, 1):
        yield number, [database_text(row[at], statement.key, number, name, key) for at, name, key in columns]
