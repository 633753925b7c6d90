"""Collections of a MongoDB database, with fields by dotted path: `customer.id`; of a list, `tags.name` is the names of its members.

A row's number in a message is its document's position in the order of `_id`, from 1, which is also the order that documents are read in.
Ids are text: an ObjectId as its 24 digits, whole numbers as they are written. A field that a document lacks is not known there.

On a replica set all collections are read at one moment (a snapshot session, MongoDB 5.0 or later). A single server has no snapshots: there
the numbers of documents are compared before and after, which misses changes that leave them as they were.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from cold_jax.data.attributes import Attributes
from cold_jax.data.databases import WAIT, check_uri, read_uri, without_secrets
from cold_jax.data.dataset import Dataset
from cold_jax.data.values import database_text
from cold_jax.errors import DataError, nearest_name

_SAMPLE = 100  # documents whose fields a message may name
_DETAILS = " (configured timeouts"  # of the driver: what follows in a message is of no use


class Collection(NamedTuple):
    """As text, the setting that names it."""

    key: str
    name: str

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True)
class Mongodb(Attributes):
    """A data set of one to three collections, of which documents are only found."""

    uri: str  # env:NAME, an environment variable with the address
    database: str | None  # null: the one that the address names
    interactions: str  # a collection, and its fields
    user: str
    item: str
    value: str | None  # null: every interaction has the value 1
    time: str | None  # see data/times.py; null: the order of the documents is all there is
    items: str | None  # the collection of item attributes, and its field of ids
    item_id: str
    users: str | None
    user_id: str
    batch: int  # documents fetched at once

    def __post_init__(self) -> None:
        super().__post_init__()
        check_uri(self.uri)
        if not self.uri.startswith("env:"):
            raise ValueError("data.uri: give env:NAME, an environment variable that holds mongodb://USER:PASSWORD@HOST/DATABASE")
        if self.batch < 1:
            raise ValueError(f"data.batch: {self.batch} is no number of documents; it is 1 or more")

    def __call__(self) -> Dataset:
        """Reads the collections: items, users, then interactions.

        A repeated (user, item) pair stays repeated: the split decides what becomes of it.

        Raises:
          DataError: the database cannot be read, changes meanwhile, or a document is wrong; the message names collection, row and value.
        """
        interactions, items, users = (
            None if name is None else Collection(f"data.{key}", name)
            for key, name in (("interactions", self.interactions), ("items", self.items), ("users", self.users))
        )
        assert interactions is not None
        with _snapshot(self.uri, self.database, [c for c in (interactions, items, users) if c]) as (database, session):
            return self.dataset(
                functools.partial(_read, database, session, self.batch),
                interactions,
                {"user": self.user, "item": self.item, "value": self.value, "time": self.time},
                (items, self.item_id),
                (users, self.user_id),
            )


@contextmanager
def _snapshot(uri: str, name: str | None, collections: Sequence[Collection]) -> Iterator[tuple[Any, Any]]:
    """(the database, a session that sees one moment or None)."""
    address = read_uri(uri, "mongodb://USER:PASSWORD@HOST/DATABASE")
    try:
        import pymongo  # pyright: ignore[reportMissingImports]
        from pymongo.errors import PyMongoError  # pyright: ignore[reportMissingImports]
        from pymongo.uri_parser import parse_uri  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError("data.uri: MongoDB needs the package pymongo: pip install 'cold_jax[mongodb]'") from None
    client = None
    try:
        secret = parse_uri(address, warn=False)["password"]
        client = pymongo.MongoClient(address, serverSelectionTimeoutMS=1000 * WAIT)
        database = client.get_default_database() if name is None else client[name]
    except (PyMongoError, ValueError):
        if client is not None:
            client.close()
        raise DataError(
            f"data.uri: the address in {uri} cannot be used; write mongodb://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for an @ in the "
            "password, %3A for a : and %2F for a /, and DATABASE there or in data.database"
        ) from None
    try:
        with client:
            present = database.list_collection_names()
            for collection in collections:
                if collection.name not in present:
                    known = nearest_name(collection.name, present) if present else f"the database {database.name} has none"
                    raise DataError(f"{collection}: there is no collection {collection.name!r}; {known}")
            hello = client.admin.command("hello")
            if "setName" in hello or hello.get("msg") == "isdbgrid":
                with client.start_session(snapshot=True) as session:
                    yield database, session
                return
            counts = [database[collection.name].count_documents({}) for collection in collections]
            yield database, None
            for collection, before in zip(collections, counts, strict=True):
                if (after := database[collection.name].count_documents({})) != before:
                    raise DataError(
                        f"{collection}: {before:,} documents before they were read and {after:,} afterwards; run it again when nothing writes, "
                        "or against a replica set, which has snapshots"
                    )
    except PyMongoError as error:
        message = without_secrets(str(error).partition(_DETAILS)[0], secret)
        raise DataError(f"data.uri: {uri}: the database says: {message}") from None


def _read(
    database: Any, session: Any, batch: int, collection: Collection, wanted: Mapping[str, str]
) -> Iterator[tuple[int, list[str | None]]]:
    """Documents of a collection: number, from 1, and the wanted fields (a `files.Read`)."""
    documents = database[collection.name]
    _check_fields(documents, collection, wanted)
    fields = [(name, key, name.split(".")) for name, key in wanted.items()]
    top = dict.fromkeys([path[0] for _, _, path in fields], 1)
    found = documents.find({}, {"_id": 0} | top, sort=[("_id", 1)], batch_size=batch, session=session)
    for number, document in enumerate(found, 1):
        cells = ((_plain(_field(document, path)), name, key) for name, key, path in fields)
        yield number, [database_text(value, collection.key, number, name, key) for value, name, key in cells]


def _check_fields(documents: Any, collection: Collection, wanted: Mapping[str, str]) -> None:
    """Raises DataError for a field that no document has."""
    paths = list(dict.fromkeys(path for document in documents.find({}).limit(_SAMPLE) for path in _paths(document)))
    for name, key in wanted.items():
        if paths and name not in paths and documents.find_one({name: {"$exists": True}}) is None:
            raise DataError(f"{collection}: no field {name!r} (for data.{key}); {nearest_name(name, paths)}")


def _paths(value: object, path: str = "") -> Iterator[str]:
    if path:
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for member in value:
            yield from (inner for inner in _paths(member, path) if inner != path)


def _field(value: object, path: Sequence[str]) -> object:
    """What is at a dotted path; of the members of a list, the list of theirs. None where there is nothing."""
    if not path:
        return value
    if isinstance(value, list):
        members = [_field(member, path) for member in value]
        return [member for member in members if member is not None]
    return _field(value.get(path[0]), path[1:]) if isinstance(value, dict) else None


def _plain(value: object) -> object:
    """Types of BSON alone as Python's."""
    kind = type(value).__name__
    if kind == "ObjectId":
        return str(value)
    return value.to_decimal() if kind == "Decimal128" else value  # pyright: ignore[reportAttributeAccessIssue]
