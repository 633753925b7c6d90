"""A forgotten user's rows are gone from every kind of file, and no other byte is."""

import gzip
import json
from pathlib import Path

import in_process
import polars as pl
import pytest

from cold_jax import config
from cold_jax.data.forget import UserFile, require_user, to_delete, user_files
from cold_jax.data.mongodb import Mongodb
from cold_jax.data.sql import Sql
from cold_jax.errors import DataError

LAST = '{"id": 7,  "n": "\u2028", "m": ' + "9" * 5000 + "}\n"
TABLES = {
    "a.csv": ('id,name\r\n007,"a\n""b"""\r\n7,x\r\n007,\r\n', "id,name\r\n7,x\r\n", 2),
    "a.tsv": ("name\tid\nx\t007\ny\t0070\n", "name\tid\ny\t0070\n", 1),
    # in JSON no line ends at U+2028, and a number may have any length
    "a.jsonl": ('{"id": "007", "n": 1.50}\n\n' + LAST, "\n" + LAST, 1),
    "a.inter": ("id:token\tn:float\n007\t1\n8\t2\r\n", "id:token\tn:float\n8\t2\r\n", 1),
}


@pytest.mark.parametrize("name", TABLES)
def test_rows_go_whole_and_the_rest_stays(name: str, tmp_path: Path) -> None:
    text, wanted, count = TABLES[name]
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    file = UserFile(tmp_path / name, "id", "\t" if name.endswith(("tsv", "inter")) else ",")
    assert file.without("007") == (count, b"\xef\xbb\xbf" + wanted.encode())
    assert file.without("nobody") == (0, b"\xef\xbb\xbf" + text.encode())


def test_packed_arrays_columns_and_sequences(tmp_path: Path) -> None:
    packed, array, columns, lines = (tmp_path / name for name in ("a.csv.gz", "a.json", "a.parquet", "sequences.txt"))
    packed.write_bytes(gzip.compress(b"id\n7\n007\n"))
    assert gzip.decompress(UserFile(packed, "id", ",").without("007")[1]) == b"id\n7\n"
    array.write_text('[{"id": 7, "x": 1.5}, {"id": "007"}]')
    assert json.loads(UserFile(array, "id", ",").without("007")[1]) == [{"id": 7, "x": 1.5}]
    table = pl.DataFrame({"id": ["007", None, "7"], "x": [1, 2, 3]})
    table.write_parquet(columns)
    count, data = UserFile(columns, "id", ",").without("007")
    columns.write_bytes(data)
    assert count == 1
    assert pl.read_parquet(columns).rows() == [(None, 2), ("7", 3)]
    lines.write_text("007 1 2\n7 007 3\n")
    assert UserFile(lines, None, " ").without("007") == (1, b"7 007 3\n")


def test_a_database_is_told_of_not_written() -> None:
    shared = {"item_texts": {"line": "{title}"}, "user_texts": None, "item_sets": None, "user_sets": None, "item_bins": None}
    shared |= {"user_bins": None, "words": None, "unknown": [], "unescape_html": False, "positive": None, "name": "shop"}
    shared |= {"item": "item_id", "value": None, "time": None, "item_id": "item_id", "user_id": "id", "batch": 10}
    sql = Sql(
        uri="env:X", user="customer", interactions="SELECT *\nFROM clicks", items=None, users="SELECT * FROM people", **shared
    )  # type: ignore[arg-type]
    assert list(to_delete(sql, "o'x")) == [
        "data.interactions: DELETE the rows with customer = 'o''x' from the tables of: SELECT * FROM clicks",
        "data.users: DELETE the rows with id = 'o''x' from the tables of: SELECT * FROM people",
    ]
    mongo = Mongodb(uri="env:X", database=None, user="who.id", interactions="clicks", items=None, users=None, **shared)  # type: ignore[arg-type]
    assert list(to_delete(mongo, 'a"b')) == ['data.interactions: db.clicks.deleteMany({"who.id": "a\\"b"})']


FILES = {  # of each format: those with rows of users among the ones there, and the column that names them
    "lastfm": (["user_artists.dat", "user_taggedartists.dat", "artists.dat", "tags.dat"], 2, "userID"),
    "ml_100k": (["ml-100k.inter", "ml-100k.user", "ml-100k.item"], 2, "user_id"),
    "iisan": (["sequences.txt", "items.jsonl"], 1, None),
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_with_rows_of_users_is_found(name: str, tmp_path: Path) -> None:
    there, users, column = FILES[name]
    for file in there:
        (tmp_path / file).touch()
    found = user_files(config.make(config.compose([f"data={name}", f"data.root={tmp_path}"]).data, "data"))
    assert [(file.path.name, file.column) for file in found] == [(file, column) for file in there[:users]]


def test_what_cannot_be_forgotten_is_said() -> None:
    with pytest.raises(DataError, match="no file of this machine"):
        user_files(config.settings(config.compose(["+experiment=smoke"])).data)
    with pytest.raises(DataError, match="is no id"):
        require_user("")


def test_the_command(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the data and of a saved split, beside and in place; and the run that learned from a user."""
    monkeypatch.setenv("COLD_JAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "tokens").mkdir(parents=True)
    (tmp_path / "cache" / "tokens" / "x.safetensors").write_bytes(b"x")
    (tmp_path / "clicks.csv").write_text("user_id,item_id\n007,1\n8,1\n007,2\n")
    (tmp_path / "items.csv").write_text("item_id,title\n1,a\n2,b\n")
    (tmp_path / "split.csv").write_text("user_id,item_id,part\n007,1,train\n8,1,train\n007,2,train\n")
    line = ["forget", "user=007", "data=tables", f"data.root={tmp_path}", "data.interactions=clicks.csv", "data.items=items.csv"]
    line += [
        "data.item_texts={line: '{title}'}",
        "split=from_file",
        f"split.path={tmp_path / 'split.csv'}",
        f"--runs={finished.parent}",
    ]
    done = in_process.run("data.__main__", *line, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "clicks.csv: 2 rows of '007'; written without them" in done.out
    assert (tmp_path / "forgotten.clicks.csv").read_text() == "user_id,item_id\n8,1\n"
    assert (tmp_path / "clicks.csv").read_text().count("007") == 2
    assert "cache: 1 entries may hold" in done.out
    done = in_process.run("data.__main__", *line, "--in-place", cwd=tmp_path)
    assert "007" not in (tmp_path / "clicks.csv").read_text() + (tmp_path / "split.csv").read_text()
    assert "cache: 1 entries made of texts removed" in done.out
    assert in_process.run("data.__main__", "forget", "data=tables", cwd=tmp_path).code != 0
