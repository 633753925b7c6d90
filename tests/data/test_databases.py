"""Databases are only read, at one moment, and no message holds a password."""

import socket
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import shop as shops
from shop import KINDS, Shop

from cold_jax.data.databases import absolute_uri, check_uri, snapshot, without_secrets
from cold_jax.errors import DataError


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = shops.make(request.param, tmp_path, lambda: request.getfixturevalue("servers"))
    monkeypatch.setenv("SHOP", made.uri)
    return made


def rows(sql: str, uri: str = "env:SHOP") -> list[tuple[object, ...]]:
    with snapshot(uri, 2) as query:
        return [tuple(row) for row in query("data.items", sql).rows]


def refused(sql: str, uri: str = "env:SHOP") -> str:
    with pytest.raises(DataError) as raised:
        rows(sql, uri)
    return str(raised.value)


def test_an_answer_is_streamed_as_it_is(shop: Shop) -> None:
    assert sorted(rows("SELECT customer, sku FROM clicks")) == [("007", "08"), ("7", "08"), ("é", "a b")]
    assert sorted(rows(shops.PERCENT), key=str) == [("08", None), ("8", ""), ("a b", "Größe „M“")]
    assert len(rows("SELECT a.sku FROM clicks a, clicks b, clicks c, clicks d")) == 81
    assert rows("SELECT sku FROM clicks WHERE 1 = 0") == []


def test_the_queries_of_a_snapshot_see_one_moment(shop: Shop) -> None:
    with snapshot("env:SHOP", 2) as query:
        assert len(list(query("data.items", "SELECT * FROM products").rows)) == 3
        shop.write("INSERT INTO clicks VALUES ('new', '08', 1, NULL)", "DELETE FROM clicks WHERE customer = '7'")
        answer = query("data.interactions", "SELECT customer FROM clicks ORDER BY customer").rows
        seen = [next(answer)[0]]
        shop.write("UPDATE clicks SET customer = 'late'")
        assert sorted([*seen, *(row[0] for row in answer)]) == ["007", "7", "é"]
    assert rows("SELECT DISTINCT customer FROM clicks") == [("late",)]


WRITES = [
    "DELETE FROM clicks",
    "INSERT INTO clicks VALUES ('x', 'x', 1, NULL)",
    "DROP TABLE clicks",
    "CREATE TABLE more (x INTEGER)",
    "SELECT 1; DELETE FROM clicks",
    "SELECT 1; COMMIT; DELETE FROM clicks; COMMIT",
    "WITH old AS (SELECT 1) DELETE FROM clicks",
]


@pytest.mark.parametrize("statement", WRITES)
def test_nothing_writes(shop: Shop, statement: str) -> None:
    assert refused(statement).startswith(("data.items: the database says: ", "data.items:1: the database says: "))
    assert len(rows("SELECT * FROM clicks")) == 3
    with pytest.raises(DataError):
        rows("SELECT * FROM more")


def test_postgresql_writes_nothing_in_a_with_either(request: pytest.FixtureRequest, shop: Shop) -> None:
    if shop.kind == "postgresql":
        gone = refused("WITH gone AS (DELETE FROM clicks RETURNING *) SELECT * FROM gone")
        assert "read-only" in gone or "must not contain data-modifying" in gone


def test_a_wrong_query_is_named_with_what_the_database_says(shop: Shop) -> None:
    message = refused("SELECT titel FROM products")
    assert message.startswith("data.items: the database says: ")
    assert message.endswith("; try the query in the database's own client")
    assert "titel" in message
    assert "nowhere" in refused("SELECT * FROM nowhere")
    assert "\n" not in message
    assert "sqlalche" not in message


def test_a_server_that_is_down_is_named_without_the_password(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    if shop.kind == "sqlite":
        monkeypatch.setenv("SHOP", "/nowhere/shop.db")
        assert refused("SELECT 1") == "data.uri: env:SHOP names no file; give the path of an SQLite database"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host, _, rest = shop.uri.rpartition(":")
    monkeypatch.setenv("SHOP", f"{host}:{port}/{rest.partition('/')[2]}")
    message = refused("SELECT 1")
    assert message.startswith("data.uri: env:SHOP: the database says: ")
    assert message.endswith("; does the server run there, and are user, password and database right?")
    assert "refused" in message
    assert not holds_a_secret(message, shop.password)


@pytest.mark.parametrize(("scheme", "driver"), [("mysql", "pymysql"), ("postgresql", "psycopg")])
def test_no_server_at_all(scheme: str, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is installed either: the port is free, so that the connection is refused."""
    pytest.importorskip("sqlalchemy")
    pytest.importorskip(driver)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("SHOP", f"{scheme}://shop:p%40s%2Fs@127.0.0.1:{port}/shop")
    message = refused("SELECT 1")
    assert message.startswith("data.uri: env:SHOP: the database says: ")
    assert "refused" in message
    assert not holds_a_secret(message, "p@s/s")


def test_a_wrong_password_is_named_and_not_shown(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    if shop.kind == "sqlite":
        return
    wrong = "shop@secret:1/2"
    monkeypatch.setenv("SHOP", shop.uri.replace(quote(shop.password, safe=""), quote(wrong, safe="")))
    message = refused("SELECT 1")
    assert message.startswith("data.uri: env:SHOP: the database says: ")
    assert not holds_a_secret(message, wrong)
    for broken in (shop.uri.replace(quote(shop.password, safe=""), "a:b@c"), shop.uri.replace("127.0.0.1:", "127.0.0.1:secret")):
        monkeypatch.setenv("SHOP", broken)
        message = refused("SELECT 1")
        assert not [part for part in ("a:b", "b@c", "secret") if part in message]


def holds_a_secret(message: str, secret: str) -> bool:
    return any(spelling in message for spelling in (secret, quote(secret, safe=""), quote_plus(secret)))


def test_an_error_chains_nothing_that_holds_the_address(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as raised:
        rows("SELECT nothing")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("uri", ["env:SHOP", "env:_x1", "shop.db", "/a/b c.db", "sqlite:///shop.db", "sqlite:////a/b.db"])
def test_what_names_a_database(uri: str) -> None:
    check_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "mysql://shop:secret@host/db",
        "postgresql://shop:secret@host/db",
        "postgresql://host/db?password=secret",
        "mongodb://shop:secret@host",
        "shop:secret@host/db",
        "sqlite:///postgresql://shop:secret@host/db",
        "env:secret value",
        "env:",
    ],
)
def test_an_address_in_a_config_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ValueError, match=r"^data\.uri: .*env:(NAME|SHOP_DB)") as raised:
        check_uri(uri)
    assert "secret" not in str(raised.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP", raising=False)
    assert refused("SELECT 1").startswith("data.uri: the environment variable SHOP is not set; set it, as in export SHOP='")
    monkeypatch.setenv("SHOP", "oracle://shop:secret@host/db")
    assert refused("SELECT 1").startswith("data.uri: the address in env:SHOP begins with none of mysql, mariadb, postgresql")
    monkeypatch.setenv("SHOP", "shop:secret@host/db")
    assert refused("SELECT 1").startswith("data.uri: env:SHOP names no file")
    assert "secret" not in refused("SELECT 1")


def test_a_file_that_is_no_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.db").write_text("no database, but text " * 100)
    says = refused("SELECT 1", str(tmp_path / "x.db"))
    assert says.endswith(
        "x.db: the database says: file is not a database; is it the right file, whole, and locked by no other program?"
    )
    monkeypatch.chdir(tmp_path)
    assert f"y.db names no file, which is relative to {tmp_path}; give" in refused("SELECT 1", "y.db")
    assert absolute_uri("sqlite:///x.db") == absolute_uri("x.db") == str(tmp_path / "x.db")
    assert absolute_uri("env:SHOP") == "env:SHOP"


def test_secrets_are_starred_in_each_spelling() -> None:
    assert without_secrets("a p@s/ s\n p%40s%2F%20s  p%40s%2F+s, none", "p@s/ s", None, "") == "a *** *** ***, none"
