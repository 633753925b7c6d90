"""A made-up shop in an SQL database, for tests of each kind of database."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

KINDS = ["sqlite", *(pytest.param(kind, marks=pytest.mark.database) for kind in ("mariadb", "postgresql"))]
CLICKS = [
    ("007", "08", 5, "2024-05-31 12:00:00"),
    ("7", "08", 1, "2024-05-30 12:00:00"),
    ("é", "a b", 2, "2024-05-31 12:00:01.5"),
]
PRODUCTS = [("a b", "Größe „M“", 1.5), ("08", None, 10), ("8", "", None)]
PERCENT = "SELECT sku, title FROM products WHERE title LIKE '%Gr%' OR title IS NULL OR title = '' ORDER BY sku"


class Shop(NamedTuple):
    """A database with the tables clicks and products."""

    kind: str
    uri: str  # its address
    password: str
    write: Callable[..., None]  # runs statements in a connection of their own


def make(kind: str, folder: Path, servers: Callable[[], dict[str, str]]) -> Shop:
    """A new shop; skips the test where the server or the packages to reach it are not installed."""
    if kind == "sqlite":
        path = folder / "shop ?#%.db"
        shop = Shop(kind, str(path), "none", lambda *statements: _sqlite(path, statements))
        shop.write("PRAGMA journal_mode = WAL")
    else:
        pytest.importorskip("sqlalchemy")
        driver = pytest.importorskip({"mariadb": "pymysql", "postgresql": "psycopg"}[kind])
        if kind not in servers():
            pytest.skip(f"{kind} is not installed (scripts/databases.sh)")
        uri = servers()[kind]
        parts = urlsplit(uri)
        password = unquote(parts.password or "")
        account = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": password}
        database = {"database" if kind == "mariadb" else "dbname": "shop"}

        def write(*statements: str) -> None:
            with driver.connect(**account, **database) as connection:
                for statement in statements:
                    connection.cursor().execute(statement)
                connection.commit()

        shop = Shop(kind, uri, password, write)
    clicks = ", ".join(f"('{user}', '{item}', {stars}, '{time}')" for user, item, stars, time in CLICKS)
    products = ", ".join(
        f"('{sku}', {'NULL' if title is None else repr(title)}, {'NULL' if price is None else price})"
        for sku, title, price in PRODUCTS
    )
    shop.write(
        "DROP TABLE IF EXISTS clicks",
        "DROP TABLE IF EXISTS products",
        f"CREATE TABLE clicks (customer VARCHAR(20), sku VARCHAR(20), stars INTEGER, at {'TIMESTAMP' if kind == 'postgresql' else 'DATETIME(6)'})",
        f"CREATE TABLE products (sku VARCHAR(20), title {'LONGTEXT' if kind == 'mariadb' else 'TEXT'}, price NUMERIC(8, 2))",
        f"INSERT INTO clicks VALUES {clicks}",
        f"INSERT INTO products VALUES {products}",
    )
    return shop


def _sqlite(path: Path, statements: tuple[str, ...]) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
