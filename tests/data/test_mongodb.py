"""Documents give the data set that the same rows in files give. The server is nx-27017, which speaks MongoDB's protocol on SQLite."""

import contextlib
import csv
import datetime
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from test_tables import read as read_tables

from cold_jax import CONF, config
from cold_jax.data.mongodb import Mongodb
from cold_jax.errors import ConfigError, DataError

CLICKS: list[dict[str, Any]] = [
    {"customer": {"id": "007"}, "sku": "08", "stars": 5, "at": datetime.datetime(2024, 5, 31, 12)},
    {"customer": {"id": "7"}, "sku": "08", "stars": 1.5, "at": datetime.datetime(2024, 5, 30, 12)},
    {"customer": {"id": "é"}, "sku": 9, "stars": 2, "at": datetime.datetime(2024, 5, 31, 12, 0, 1)},
]
PRODUCTS: list[dict[str, Any]] = [
    {"sku": "08", "details": {"title": "Größe „M“", "tags": [{"name": "a"}, {"name": "b c"}]}, "price": 1.5},
    {"sku": 9, "details": {"title": None}},
    {"sku": "8", "details": {}, "price": 10},
]
FIELDS = {
    "interactions": "clicks",
    "items": "products",
    "user": "customer.id",
    "item": "sku",
    "value": "stars",
    "time": "at",
    "item_id": "sku",
    "item_texts": {"line": "{details.title}"},
    "item_sets": {"details.tags.name": "\n"},
    "item_bins": {"price": [5.0]},
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    pymongo = pytest.importorskip("pymongo")
    pytest.importorskip("nx_27017", reason="nx-27017 is not installed (pip install nx-27017)")
    folder, port = tmp_path_factory.mktemp("mongodb"), free_port()
    command = [
        sys.executable,
        "-m",
        "nx_27017.nx_27017",
        "--data-dir",
        str(folder),
        "-p",
        str(port),
        "--log-file",
        str(folder / "log"),
    ]
    with open(folder / "output", "wb") as output, subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process:
        try:
            with pymongo.MongoClient(f"mongodb://127.0.0.1:{port}", serverSelectionTimeoutMS=30_000) as client:
                client.admin.command("ping")
            yield f"mongodb://127.0.0.1:{port}/shop"
        finally:
            process.terminate()


@pytest.fixture
def database(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pymongo = pytest.importorskip("pymongo")
    monkeypatch.setenv("SHOP", server)
    with pymongo.MongoClient(server) as client:
        shop = client.get_default_database()
        for name, documents in (("clicks", CLICKS), ("products", PRODUCTS)):
            shop[name].drop()
            shop[name].insert_many([dict(document) for document in documents])
        yield shop


def made(**values: object) -> Mongodb:
    given = {"uri": "env:SHOP", "interactions": "clicks", "items": None, "item_texts": {}} | values
    node = OmegaConf.merge(OmegaConf.load(Path(CONF) / "data" / "mongodb.yaml"), given)
    return config.make(node, "data")  # pyright: ignore


def refused(**values: object) -> str:
    with pytest.raises(DataError) as raised:
        made(**FIELDS | values)()
    return str(raised.value)


@pytest.mark.database
def test_documents_are_rows_of_files(database: Any, tmp_path: Path) -> None:
    with open(tmp_path / "i.csv", "w", newline="") as file:
        rows = [(click["customer"]["id"], click["sku"], click["stars"], click["at"].isoformat()) for click in CLICKS]
        csv.writer(file).writerows([["customer.id", "sku", "stars", "at"], *rows])
    with open(tmp_path / "m.csv", "w", newline="") as file:
        rows = [("08", "Größe „M“", "a\nb c", 1.5), ("9", "", "", ""), ("8", "", "", 10)]
        csv.writer(file).writerows([["sku", "details.title", "details.tags.name", "price"], *rows])
    files = read_tables(tmp_path, **FIELDS | {"interactions": "i.csv", "items": "m.csv"})
    data = made(**FIELDS)()
    assert data.digest == files.digest
    assert (data.users.ids, data.items.ids) == (("007", "7", "é"), ("08", "9", "8"))
    assert data.items.texts["line"] == ("Größe „M“", "", "")
    assert data.items.indicators["details.tags.name"].tolist() == [[1, 1], [0, 0], [0, 0]]


@pytest.mark.database
def test_an_object_id_is_its_digits(database: Any) -> None:
    data = made(items="products", item_id="_id", interactions="clicks", user="customer.id", item="_id")
    with pytest.raises(
        DataError, match=r"data\.items: no item of data\.interactions has a row here: '[0-9a-f]{24}' occurs there"
    ):
        data()


OID = "65f0c0ffee65f0c0ffee65f0"


class ObjectId:
    """What the driver gives for one, for tests without it."""

    def __str__(self) -> str:
        return OID


class Documents(list[dict[str, Any]]):
    """A collection without a server."""

    def find(self, *_: object, **__: object) -> "Documents":
        return self

    def limit(self, count: int) -> list[dict[str, Any]]:
        return self[:count]

    def find_one(self, *_: object) -> None:
        return None


# an id of interactions, and the same id as another collection may have it
SAME = [
    (1, "1"),
    ("1", 1),
    (1, 1),
    (-7, "-7"),
    (2**53 + 1, str(2**53 + 1)),
    (ObjectId, OID),
    (OID, ObjectId),
    (ObjectId, ObjectId),
]
WITH_USERS = {"users": "customers", "user_id": "_id", "items": "products", "item_id": "sku", "interactions": "clicks"}
WITH_USERS |= {"user": "customer", "item": "sku", "item_texts": {"line": "{title}"}, "user_texts": {"profile": "{about}"}}


def of_shop(one: Any, other: Any) -> dict[str, list[dict[str, Any]]]:
    """Collections whose first customer, and first product, is `one` in the interactions and `other` in its own collection."""
    return {
        "clicks": [{"customer": one, "sku": one}, {"customer": "u", "sku": "i"}],
        "products": [{"sku": "i", "title": "the other"}, {"sku": other, "title": "met"}],
        "customers": [{"_id": "u", "about": "the other"}, {"_id": other, "about": "met"}],
    }


def check_that_they_meet(expected: str) -> None:
    data = made(**WITH_USERS)()
    for entities, name in ((data.users, "profile"), (data.items, "line")):
        assert dict(zip(entities.ids, entities.texts[name], strict=True))[expected] == "met"
    assert len(data.users) == len(data.items) == 2


@pytest.mark.parametrize(("one", "other"), SAME)
def test_an_id_of_either_type_meets_the_other(one: Any, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the conversion alone decides: `test_ids_of_both_types_meet_on_a_server` has the driver's types."""
    one, other = (ObjectId() if value is ObjectId else value for value in (one, other))
    shop = {name: Documents(rows) for name, rows in of_shop(one, other).items()}
    monkeypatch.setattr("cold_jax.data.mongodb._snapshot", lambda *_: contextlib.nullcontext((shop, None)))
    check_that_they_meet(str(one))


@pytest.mark.database
@pytest.mark.parametrize(("one", "other"), SAME)
def test_ids_of_both_types_meet_on_a_server(one: Any, other: Any, database: Any) -> None:
    from bson import ObjectId as Real  # pyright: ignore[reportMissingImports]

    one, other = (Real(OID) if value is ObjectId else value for value in (one, other))
    for name, documents in of_shop(one, other).items():
        database[name].drop()
        database[name].insert_many(documents)
    check_that_they_meet(str(one))


@pytest.mark.database
@pytest.mark.parametrize("place", ["clicks", "products", "customers"])
def test_a_fraction_is_no_id_on_either_side(database: Any, place: str) -> None:
    """What a JavaScript client writes for 1 is a double, which no other client's "1" is."""
    for name, documents in of_shop("1", "1").items():
        database[name].drop()
        database[name].insert_many(documents)
    field = {"clicks": "customer", "products": "sku", "customers": "_id"}[place]
    database[place].insert_one({"customer": 1.0, "sku": 1.0, "_id": 1.0} if place == "clicks" else {field: 1.0})
    with pytest.raises(DataError, match=rf"{field} 1\.0 is no id, since ids are text or whole numbers"):
        made(**WITH_USERS)()


@pytest.mark.database
def test_all_documents_are_read_in_batches(database: Any) -> None:
    database.clicks.drop()
    database.clicks.insert_many([{"user_id": n, "item_id": f"{n % 7:02}"} for n in range(1000)])
    data = made(batch=10)()
    assert data.users.ids == tuple(map(str, range(1000)))
    assert data.items.ids == tuple(f"{n:02}" for n in range(7))


@pytest.mark.database
@pytest.mark.parametrize(
    ("document", "values", "says"),
    [
        ({"customer": {"id": None}, "sku": "08", "stars": 1, "at": 0}, {}, "data.interactions:4: no user id; every row needs one"),
        ({"sku": "08", "stars": 1, "at": CLICKS[0]["at"]}, {}, "data.interactions:4: no user id; every row needs one"),
        ({**CLICKS[0], "sku": 1.5}, {}, "data.interactions:4: sku 1.5 is no id"),
        ({**CLICKS[0], "sku": {"a": 1}}, {}, "data.interactions:4: sku \"{'a': 1}\" is neither text nor number"),
        ({**CLICKS[0], "stars": "many"}, {}, "data.interactions:4: stars 'many' is not a number"),
        (None, {"user": "customer.ids"}, "data.interactions: no field 'customer.ids' (for data.user); did you mean customer.id?"),
        (None, {"interactions": "click"}, "data.interactions: there is no collection 'click'; did you mean clicks?"),
        (None, {"database": "sop"}, "data.interactions: there is no collection 'clicks'; the database sop has none"),
        (None, {"item_texts": {"line": "{details.titel}"}}, "data.items: no field 'details.titel' (for data.item_texts.line); did you mean details.title?"),
    ],
)  # fmt: skip
def test_a_wrong_document_is_named(database: Any, document: dict[str, Any] | None, values: dict[str, object], says: str) -> None:
    if document is not None:
        database.clicks.insert_one(dict(document))
    assert refused(**values).startswith(says)


@pytest.mark.database
def test_a_collection_that_grows_meanwhile_is_refused(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cold_jax.data.mongodb._check_fields", lambda *_: database.clicks.insert_one(dict(CLICKS[0])))
    message = "data.interactions: 3 documents before they were read and 4 afterwards; run it again when nothing writes"
    assert refused(items=None, item_sets=None, item_bins=None, item_texts={}).startswith(message)


@pytest.mark.database
def test_a_server_that_is_down_is_named_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymongo")
    monkeypatch.setattr("cold_jax.data.mongodb.WAIT", 0.2)
    monkeypatch.setenv("SHOP", f"mongodb://shop:sec%40ret@127.0.0.1:{free_port()}/shop")
    message = refused()
    assert message.startswith("data.uri: env:SHOP: the database says: 127.0.0.1:")
    assert message.endswith("Connection refused")
    assert "sec" not in message
    for broken in (
        "mongodb://shop:sec@ret@127.0.0.1/shop",
        "mongodb://shop:a@127.0.0.1:secret/shop",
        "postgresql://shop:secret@h/shop",
    ):
        monkeypatch.setenv("SHOP", broken)
        assert refused().startswith("data.uri: the address in env:SHOP cannot be used; write mongodb://")
        assert "sec" not in refused()
    monkeypatch.setenv("SHOP", "mongodb://127.0.0.1")
    assert refused().startswith("data.uri: the address in env:SHOP cannot be used; write mongodb://")


def test_an_address_comes_from_the_environment() -> None:
    for uri in ("mongodb://shop:secret@host/db", "shop.db"):
        with pytest.raises(ConfigError, match=r"^data\.uri: .*env:NAME") as raised:
            made(uri=uri)
        assert "secret" not in str(raised.value)
    with pytest.raises(ConfigError, match=r"^data\.batch: 0"):
        made(batch=0)
