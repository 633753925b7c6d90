"""Read-only access to SQL databases: SQLite by the standard library, servers by SQLAlchemy.

All queries of a snapshot see the database as it was at one moment, and none can write:

    SQLite       the file is opened with mode=ro, in one transaction
    MariaDB      START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY (InnoDB; other engines have no snapshots); MySQL likewise
    PostgreSQL   REPEATABLE READ, READ ONLY

The address of a server holds a password. It comes from the environment, and no message repeats it.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from cold_jax.errors import DataError

SCHEMES = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
SQLITE = "sqlite:///"
FIRST = {  # statements that begin the snapshot
    "mysql": (
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",  # what an implicit commit begins cannot write either
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
    "postgresql": ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",),
}
WAIT = 10  # seconds for a server to answer, and for a lock of SQLite
OF_FILE = "is it the right file, whole, and locked by no other program?"
OF_SERVER = "does the server run there, and are user, password and database right?"
OF_QUERY = "try the query in the database's own client"
OF_ROWS = "nothing of it is kept; try again, or correct the row in the query"


class Answer(NamedTuple):
    names: list[str]  # of the columns
    rows: Iterator[Sequence[object]]


Query = Callable[[str, str], Answer]
"""(its name in messages, SQL) → what it gives, streamed: the rows of one answer are read before the next query. Raises DataError, also
while rows are read."""


def check_uri(uri: str) -> None:
    """Raises ValueError, which does not repeat the URI, where it is neither env:NAME nor an SQLite file."""
    if uri.startswith("env:"):
        if not re.fullmatch(r"[A-Za-z_]\w*", uri.removeprefix("env:"), re.ASCII):
            raise ValueError("data.uri: after env: comes the name of an environment variable, as in env:SHOP_DB")
    elif "://" in uri.removeprefix(SQLITE) or re.search(r":[^/]*@", uri):
        raise ValueError(
            "data.uri: an address, which holds a password, does not belong on a command line or in a config, where others can read it; "
            "put it into an environment variable and give data.uri=env:NAME"
        )


def absolute_uri(uri: str) -> str:
    """The URI with the path of an SQLite file absolute; others are as they were."""
    if uri.startswith("env:") or "://" in uri.removeprefix(SQLITE):
        return uri
    return str(Path(uri.removeprefix(SQLITE)).absolute())


def read_uri(uri: str, example: str) -> str:
    """The address itself. Raises DataError where the variable is not set; `example` is an address for the message."""
    if not uri.startswith("env:"):
        return uri
    name = uri.removeprefix("env:")
    if not os.environ.get(name):
        raise DataError(f"data.uri: the environment variable {name} is not set; set it, as in export {name}='{example}'")
    return os.environ[name]


@contextmanager
def snapshot(uri: str, batch: int) -> Iterator[Query]:
    """A transaction that only reads.

    Args:
      uri: env:NAME, the path of an SQLite file, or sqlite:///PATH.
      batch: rows that are fetched from a server at once.

    Raises:
      DataError: there is no such database, it cannot be reached, or it refuses the user.
    """
    address = read_uri(uri, "postgresql://USER:PASSWORD@HOST/DATABASE")
    if address.startswith(SQLITE) or "://" not in address:
        with _sqlite(Path(address.removeprefix(SQLITE)), uri) as query:
            yield query
    else:
        with _server(address, uri, batch) as query:
            yield query


def without_secrets(message: str, *secrets: str | None) -> str:
    """The message in one line, with stars for the secrets, also where they are percent-encoded."""
    for secret in secrets:
        for spelling in {secret, quote(secret, safe=""), quote_plus(secret)} if secret else ():
            message = message.replace(spelling, "***")
    return " ".join(message.split())


@contextmanager
def _sqlite(path: Path, uri: str) -> Iterator[Query]:
    if not path.is_file():
        where = "" if path.is_absolute() else f", which is relative to {Path.cwd()}"
        raise DataError(
            f"data.uri: {uri} names no file{'' if uri.startswith('env:') else where}; give the path of an SQLite database"
        )
    with _errors(f"data.uri: {uri}", sqlite3.Error, OF_FILE):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", WAIT, isolation_level=None, uri=True)

    def query(place: str, sql: str) -> Answer:
        cursor = connection.cursor()
        with _errors(place, sqlite3.Error, OF_QUERY):
            cursor.execute(sql)
        return Answer([column[0] for column in cursor.description or ()], _rows(place, iter(cursor), sqlite3.Error))

    try:
        with _errors(f"data.uri: {uri}", sqlite3.Error, OF_FILE):
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")  # the file may be somebody else's
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # here the snapshot begins
        yield query
    finally:
        connection.close()


@contextmanager
def _server(address: str, uri: str, batch: int) -> Iterator[Query]:
    kind = SCHEMES.get(address.partition("://")[0].partition("+")[0].lower())
    if kind is None:
        raise DataError(f"data.uri: the address in {uri} begins with none of {', '.join(SCHEMES)} and sqlite")
    try:
        import sqlalchemy  # pyright: ignore[reportMissingImports]
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError  # pyright: ignore[reportMissingImports]
        from sqlalchemy.pool import NullPool  # pyright: ignore[reportMissingImports]

        __import__(kind.partition("+")[2])
    except ImportError as error:
        raise DataError(
            f"data.uri: {kind.partition('+')[0]} needs the package {error.name}: pip install 'cold_jax[sql]'"
        ) from None
    try:
        url = sqlalchemy.make_url(address).set(drivername=kind)
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": WAIT})
    except (ArgumentError, ValueError):
        raise DataError(
            f"data.uri: the address in {uri} is none; write SCHEME://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for an @ in the password, "
            "%3A for a : and %2F for a /"
        ) from None
    secrets = (url.password, *(str(value) for name, value in url.query.items() if "pass" in name.lower()))
    with _errors(f"data.uri: {uri}", SQLAlchemyError, OF_SERVER, secrets):
        connection = engine.connect()
    connection = connection.execution_options(no_parameters=True)  # % is itself

    is_open = []  # the answer that is being read

    def query(place: str, sql: str) -> Answer:
        with _errors(place, SQLAlchemyError, OF_QUERY, secrets):
            found = connection.execution_options(stream_results=True, max_row_buffer=batch).exec_driver_sql(sql)
            is_open[:] = [found]
            names = list(found.keys())
        return Answer(names, _rows(place, iter(found), SQLAlchemyError, secrets))

    try:
        with _errors(f"data.uri: {uri}", SQLAlchemyError, OF_SERVER, secrets):
            for statement in FIRST[kind.partition("+")[0]]:
                connection.exec_driver_sql(statement)
        yield query
    finally:
        for found in is_open:
            found.close()  # PyMySQL reads an answer to its end here
        connection.close()


def _rows(
    place: str, rows: Iterator[Sequence[object]], errors: type[Exception], secrets: Sequence[str | None] = ()
) -> Iterator[Sequence[object]]:
    number = 0
    while True:
        with _errors(f"{place}:{number + 1}", errors, OF_ROWS, secrets):
            row = next(rows, None)
        if row is None:
            return
        number += 1
        yield row


@contextmanager
def _errors(place: str, errors: type[Exception], advice: str, secrets: Sequence[str | None] = ()) -> Iterator[None]:
    try:
        yield
    except errors as error:
        message = without_secrets(str(getattr(error, "orig", None) or error), *secrets)
        raise DataError(f"{place}: the database says: {message}; {advice}") from None
