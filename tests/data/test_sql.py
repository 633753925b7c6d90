"""Queries give the data set that the same rows in files give, or an error that names query and row."""

import csv
import json
import sqlite3
from pathlib import Path

import pytest
import runs
import shop as shops
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from shop import KINDS, Shop
from test_tables import IDS, TEXT
from test_tables import read as read_tables

from cold_jax import CONF, config
from cold_jax.data.sql import Sql
from cold_jax.errors import ConfigError, DataError

QUERIES = {
    "interactions": "SELECT customer, sku, stars, at FROM clicks",
    "items": "SELECT sku, title, price FROM products;",
    "user": "customer",
    "item": "sku",
    "value": "stars",
    "time": "at",
    "item_id": "sku",
    "item_texts": {"line": "{title}"},
    "item_bins": {"price": [5.0]},
}


def made(**values: object) -> Sql:
    given = {"uri": "env:SHOP", "interactions": "SELECT 1", "items": None, "item_texts": {}} | values
    node = OmegaConf.merge(OmegaConf.load(Path(CONF) / "data" / "sql.yaml"), given)
    return config.make(node, "data")  # pyright: ignore


def refused(**values: object) -> str:
    with pytest.raises(DataError) as raised:
        made(**values)()
    return str(raised.value)


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    one = shops.make(request.param, tmp_path, lambda: request.getfixturevalue("servers"))
    monkeypatch.setenv("SHOP", one.uri)
    return one


def test_rows_of_a_database_are_rows_of_files(shop: Shop, tmp_path: Path) -> None:
    with open(tmp_path / "i.csv", "w", newline="") as file:
        csv.writer(file).writerows([["customer", "sku", "stars", "at"], *shops.CLICKS])
    with open(tmp_path / "m.csv", "w", newline="") as file:
        csv.writer(file).writerows([["sku", "title", "price"], *shops.PRODUCTS])
    files = read_tables(tmp_path, **QUERIES | {"interactions": "i.csv", "items": "m.csv"})
    data = made(**QUERIES)()
    assert data.digest == files.digest
    assert (data.users.ids, data.items.ids) == (("007", "7", "é"), ("a b", "08", "8"))
    shop.write("UPDATE clicks SET stars = 4 WHERE customer = '7'")
    assert made(**QUERIES)().digest != files.digest


@pytest.mark.parametrize(
    ("change", "values", "says"),
    [
        ("", {"user": "custmer"}, "data.interactions: no column 'custmer' (for data.user); did you mean customer?"),
        ("", {"item_texts": {"line": "{titel}"}}, "data.items: no column 'titel' (for data.item_texts.line); did you mean title?"),
        ("", {"value": "sku"}, "one column is named twice"),
        ("", {"interactions": "SELECT customer, sku, sku AS stars, at FROM clicks"}, "data.interactions:3: stars 'a b' is not a number"),
        ("UPDATE clicks SET customer = NULL WHERE sku = 'a b'", {}, "data.interactions:3: no user id; every row needs one"),
        ("UPDATE clicks SET sku = '' WHERE stars = 1", {}, "data.interactions:2: no item id; every row needs one"),
        ("UPDATE products SET sku = NULL WHERE title = ''", {}, "data.items:3: no item id; every row needs one"),
        ("UPDATE products SET sku = '08' WHERE title = ''", {}, "data.items:3: item '08' occurs before, in data.items:2"),
        ("DELETE FROM clicks", {}, "data.interactions: no interactions; at least one row is needed"),
        ("UPDATE clicks SET sku = 'x'", {}, "data.items: no item of data.interactions has a row here: 'x' occurs there"),
        ("UPDATE clicks SET at = NULL WHERE stars = 1", {}, "correct the row of user '7' and item '08' or leave it out"),
        ("UPDATE products SET title = 'long' WHERE sku = '8'", {}, "data.items:3: title of item '8' has 1,048,577 characters, and at most 1,048,576 are read"),
        ("", {"positive": ">5"}, "data.positive: no value of data.interactions is >5; they lie in 1 to 5"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(shop: Shop, change: str, values: dict[str, object], says: str) -> None:
    if "'long'" in change:
        change = change.replace("'long'", f"repeat('x', {2**20 + 1})" if shop.kind != "sqlite" else f"'{'x' * (2**20 + 1)}'")
    if change:
        shop.write(change)
    ordered = {
        "interactions": "SELECT customer, sku, stars, at FROM clicks ORDER BY CASE stars WHEN 5 THEN 1 WHEN 1 THEN 2 ELSE 3 END",
        "items": "SELECT sku, title, price FROM products ORDER BY CASE WHEN price = 1.5 THEN 1 WHEN price = 10 THEN 2 ELSE 3 END",
    }
    with pytest.raises(ValueError, match=r"^data\.") as raised:
        made(**QUERIES | ordered | values)()
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "query", ["DELETE FROM clicks", "", "-- SELECT\nDROP TABLE clicks", "/* SELECT */ UPDATE clicks", "VALUES (1)"]
)
def test_a_query_selects(query: str) -> None:
    with pytest.raises(ConfigError, match=r"^data\.interactions: .* is no query; give one SELECT"):
        made(interactions=query)


@pytest.mark.parametrize("query", ["select 1", " -- a\n/* b */ ( SELECT 1)", "WITH x AS (SELECT 1) SELECT * FROM x ; "])
def test_what_selects(query: str) -> None:
    assert made(interactions=query).interactions == query


def test_a_query_writes_no_file() -> None:
    with pytest.raises(ConfigError, match=r"^data\.items: .* is no query"):
        made(items="SELECT sku FROM products INTO  OUTFILE '/tmp/x'")


def test_a_password_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match=r"^data\.uri: an address, which holds a password") as raised:
        made(uri="mysql://shop:secret@host/db")
    assert "secret" not in str(raised.value)
    with pytest.raises(ConfigError, match=r"^data\.batch: 0"):
        made(batch=0)


ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5)


@settings(deadline=None, max_examples=100)
@given(rows=ROWS)
def test_ids_are_text(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    check_ids(tmp_path_factory.getbasetemp() / "ids.db", rows)


def test_odd_ids_are_text(tmp_path: Path) -> None:
    check_ids(tmp_path / "ids.db", list(zip(IDS, IDS[::-1], strict=True)))


def check_ids(path: Path, rows: list[tuple[str, str]]) -> None:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (user_id TEXT, item_id TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    connection.commit()
    connection.close()
    data = made(uri=str(path), interactions="SELECT user_id, item_id FROM t ORDER BY rowid")()
    assert [(data.users.ids[u], data.items.ids[i]) for u, i in zip(data.user_N, data.item_N, strict=True)] == rows


def shop_file(folder: Path) -> Path:
    """120 users and 40 items, enough for a split."""
    path = folder / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE clicks (user_id TEXT, item_id TEXT, at INTEGER)")
    connection.execute("CREATE TABLE products (item_id TEXT, title TEXT)")
    connection.executemany(
        "INSERT INTO clicks VALUES (?, ?, ?)", [(f"{n % 120:03}", f"{(n % 120 + n // 120) % 40:02}", n) for n in range(2400)]
    )
    connection.executemany("INSERT INTO products VALUES (?, ?)", [(f"{n:02}", f"thing number {n % 5}") for n in range(40)])
    connection.commit()
    connection.close()
    return path


ARGUMENTS = [
    "data=sql",
    "data.uri=env:SHOP_DB",
    "data.interactions='SELECT user_id, item_id, at FROM clicks'",
    "data.time=at",
    "data.items='SELECT * FROM products'",
    "data.item_texts={line: '{title}'}",
]


def test_a_run_keeps_no_address_and_a_digest_of_what_it_read(tmp_path: Path) -> None:
    """Neither does an address that is typed land anywhere, though it ends the command."""
    shop_file(tmp_path)
    small = runs.smoke(tmp_path / "run", *ARGUMENTS, "baseline=[popularity]", steps=2)
    done = runs.run("train", *small, cwd=tmp_path, cache=tmp_path / "cache", SHOP_DB=f"sqlite:///{tmp_path}/shop.db")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "run" / "results.json").read_text())["digests"]["data"]
    assert (
        found
        == made(
            uri=str(tmp_path / "shop.db"),
            interactions="SELECT user_id, item_id, at FROM clicks",
            time="at",
            items="SELECT * FROM products",
            item_texts={"line": "{title}"},
        )().digest
    )
    texts = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(b"shop.db" in text for text in texts)
    assert any(b"uri: env:SHOP_DB" in text for text in texts)

    for typed in (["data.uri=mysql://shop:secret@host/db"], ["-m", "seed=1,2", "data.uri=mysql://shop:secret@host/db"]):
        arguments = [*(word for word in small if not word.startswith(("data.uri=", "hydra"))), *typed]
        done = runs.run("train", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: data.uri: an address, which holds a password, does not belong on a command line")
        assert "secret" not in done.stderr
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".db")


@pytest.mark.parametrize(("ours", "theirs"), [("'1.0'", "1"), ("1", "'1.0'"), ("' 1'", "1"), ("1", "'01'"), ("'01'", "'1'")])
def test_ids_that_never_meet_are_refused(ours: str, theirs: str, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").executescript("CREATE TABLE x (a);").connection.close()
    queries = {"interactions": f"SELECT 'u' AS user, {ours} AS item", "items": f"SELECT {theirs} AS item, 'T' AS title"}
    says = refused(
        uri=str(tmp_path / "empty.db"), **queries, user="user", item="item", item_id="item", item_texts={"line": "{title}"}
    )
    quoted = [repr(one.strip("'")) for one in (ours, theirs)]
    assert f"{quoted[0]} occurs there, and its ids are such as {quoted[1]}" in says


@pytest.mark.parametrize(
    ("item", "says"), [("''", "no item id"), ("NULL", "no item id"), ("1.5", "1.5 is no id"), ("1.0", "1.0 is no id")]
)
def test_what_is_no_id_is_refused(item: str, says: str, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").executescript("CREATE TABLE x (a);").connection.close()
    given = {"uri": str(tmp_path / "empty.db"), "user": "user", "item": "item"}
    assert says in refused(interactions=f"SELECT 'u' AS user, {item} AS item", **given)
