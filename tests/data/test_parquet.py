"""Parquet's types become the text of cells, damaged pages are seen, and small files stay small."""

import re
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_tables import read, refused

from cold_jax.data import parquet
from cold_jax.errors import DataError


def test_parquet_of_numbers_lists_and_times(tmp_path: Path) -> None:
    when = pa.array([1_000_000_000, None], pa.timestamp("ms", "UTC"))
    table = {
        "user_id": pa.array([7, -1], pa.int64()),
        "item_id": pa.array([2**63, 5], pa.uint64()),
        "stars": pa.array([0.5, 2], pa.float32()),
    }
    pq.write_table(pa.table(table | {"when": when}).slice(0, 1), tmp_path / "x.parquet")
    items = {
        "item_id": pa.array([5, 2**63], pa.uint64()),
        "tags": pa.array([["b", "a"], None]),
        "new": [True, None],
        "price": pa.array([1.5, None]),
        "nested": pa.array([{"a": 1}, None]),
    }
    pq.write_table(pa.table(items), tmp_path / "m.parquet")
    attributes = {"items": "m.parquet", "item_sets": {"tags": "\n"}, "item_texts": {"line": "{new} {price}"}}
    data = read(tmp_path, interactions="x.parquet", value="stars", time="when", **attributes)
    assert data.users.ids == ("7",)
    assert data.items.ids == ("5", str(2**63))
    assert (data.value_N.tolist(), data.time_N.tolist()) == ([0.5], [1_000_000.0])
    assert data.items.texts["line"] == ("true 1.5", "")
    assert data.items.indicators["tags"].tolist() == [[1, 1], [0, 0]]
    pq.write_table(pa.table(table | {"when": when}), tmp_path / "x.parquet")
    assert refused(tmp_path, interactions="x.parquet", time="when").startswith("x.parquet:2: when '' is not a time")


@pytest.mark.parametrize(
    "ids",
    [pa.array([1.0]), pa.array([True]), pa.array([["a"]]), pa.array([b"a"]), pa.array([None]), pa.array([1], pa.timestamp("s"))],
)
def test_ids_in_parquet_are_text_or_whole_numbers(ids: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["a"], "item_id": ids}), tmp_path / "x.parquet")
    assert "ids in column 'item_id' (data.item) are " in refused(tmp_path, interactions="x.parquet")


def test_a_null_id_in_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["a", "a"], "item_id": ["b", None]}), tmp_path / "x.parquet")
    assert refused(tmp_path, interactions="x.parquet").startswith("x.parquet:2: no item id")
    pq.write_table(pa.table({"user_id": ["a", ""], "item_id": ["b", "b"]}), tmp_path / "x.parquet")
    assert refused(tmp_path, interactions="x.parquet").startswith("x.parquet:2: no user id")


def test_every_flipped_bit_of_a_checked_page_is_seen(tmp_path: Path) -> None:
    table = pa.table({"user_id": [f"user {n}" for n in range(500)], "item_id": [f"item {n}" for n in range(500)]})
    pq.write_table(table, tmp_path / "x.parquet", write_page_checksum=True, use_dictionary=False, compression="none")
    whole, wanted = (tmp_path / "x.parquet").read_bytes(), read(tmp_path, interactions="x.parquet").digest
    for bit in range(8 * whole.index(b"user 0"), 8 * whole.rindex(b"item 499"), 331):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        (tmp_path / "x.parquet").write_bytes(broken)
        try:
            assert read(tmp_path, interactions="x.parquet").digest == wanted  # a byte of a header that carries nothing
        except DataError as error:
            assert "x.parquet: cannot be read" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1, 0], pa.timestamp("s")),
        pa.array([1_000_000_000, 0], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([1.0, 0.0]),
        pa.array(["1970-01-01T00:00:01", "1970-01-01T00:00:00"]),
        pa.array([datetime(1970, 1, 1, 0, 0, 1), datetime(1970, 1, 1)]),
    ],
)
def test_times_are_seconds(times: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["a", "a"], "item_id": ["b", "c"], "at": times}), tmp_path / "x.parquet")
    assert read(tmp_path, interactions="x.parquet", time="at").time_N.tolist() == [1, 0]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_are_times_and_texts(kind: pa.DataType, tmp_path: Path) -> None:
    days = pa.array([date(2024, 5, 31), date(1969, 12, 31)], kind)
    at = pa.array([datetime(2024, 5, 31, 12, 0, 0, 5), None], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"user_id": ["a", "a"], "item_id": ["b", "c"], "day": days, "at": at}), tmp_path / "x.parquet")
    given = {"items": "x.parquet", "item_texts": {"line": "{day} {at}"}}
    data = read(tmp_path, interactions="x.parquet", time="day", **given)
    assert data.time_N.tolist() == [1717113600, -86400]
    assert data.items.texts["line"] == ("2024-05-31 2024-05-31T12:00:00.000005+00:00", "1969-12-31")


def test_durations_are_no_times(tmp_path: Path) -> None:
    table = {"user_id": ["a"], "item_id": ["b"], "at": pa.array([timedelta(seconds=1)])}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    assert refused(tmp_path, interactions="x.parquet", time="at").startswith(
        "x.parquet:1: at '0:00:01' is neither text nor number"
    )


def test_run_lengths_do_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"user_id": ["a"] * 300_000, "item_id": ["b"] * 300_000}), tmp_path / "x.parquet")
    monkeypatch.setattr(parquet, "_FREE_ROWS", 200_000)
    monkeypatch.setattr(parquet, "_ROWS_PER_BYTE", 1000)
    assert len(read(tmp_path, interactions="x.parquet")) == 300_000
    monkeypatch.setattr(parquet, "_ROWS_PER_BYTE", 50)
    assert "300,000 rows; the limits are 4,294,967,296 bytes, and 200 bytes and 50 rows" in refused(
        tmp_path, interactions="x.parquet"
    )


@pytest.mark.parametrize("lists", [False, True])
def test_a_dictionary_does_not_fill_memory(tmp_path: Path, lists: bool) -> None:
    """60,000 rows of one text: 60 GB of some kilobytes, if each row had its own."""
    texts = pa.array(["x" * 1_000_000]).dictionary_encode().take(pa.array([0] * 60_000))
    about = pa.ListArray.from_arrays(pa.array(range(60_001), pa.int32()), texts) if lists else texts
    pq.write_table(pa.table({"item_id": range(60_000), "about": about}), tmp_path / "m.parquet", compression="zstd")
    assert (tmp_path / "m.parquet").stat().st_size < 1_000_000
    (tmp_path / "x.csv").write_text("user_id,item_id\na,0\n")
    assert re.match(
        r"m\.parquet: unpacks [\d,]+ bytes to [\d,]{14,} and 60,000 rows; the limits are",
        refused(tmp_path, items="m.parquet", item_texts={"line": "{about}"}),
    )


def test_millions_of_rows_of_a_run_length_are_refused_at_once(tmp_path: Path) -> None:
    rows = pa.table({"user_id": pa.array([7] * 1_000_000), "item_id": pa.array([9] * 1_000_000)})
    with pq.ParquetWriter(tmp_path / "x.parquet", rows.schema, compression="zstd") as file:
        for _ in range(20):
            file.write_table(rows)
    assert (tmp_path / "x.parquet").stat().st_size < 200_000
    assert "and 20,000,000 rows; the limits are" in refused(tmp_path, interactions="x.parquet")


def test_an_index_beyond_the_dictionary_is_refused(tmp_path: Path) -> None:
    """A byte that a search over mutated files found."""
    texts = {
        name: pa.array(values).dictionary_encode()
        for name, values in {"user_id": ["a", "b", "a"], "item_id": ["x", "y", "x"]}.items()
    }
    pq.write_table(pa.table(texts), tmp_path / "x.parquet", compression="none")
    whole, refusals = (tmp_path / "x.parquet").read_bytes(), 0
    for at in range(len(whole)):
        (tmp_path / "x.parquet").write_bytes(whole[:at] + bytes([whole[at] ^ 6]) + whole[at + 1 :])
        try:
            assert {*read(tmp_path, interactions="x.parquet").users.ids} <= {"a", "b", "g", "d"}
        except DataError:
            refusals += 1
    assert refusals > 100


def test_texts_that_rows_share_are_those_of_each_row(tmp_path: Path) -> None:
    texts = pa.array(["b", None, "a", "b", ""]).dictionary_encode()
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 2, 3, 4, 4], pa.int32()), pa.array(["p", "q", "r", "p"]).dictionary_encode())
    columns = {"item_id": pa.array(list("12345")), "title": texts, "tags": lists}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    (tmp_path / "x.csv").write_text("user_id,item_id\na,1\n")
    data = read(tmp_path, items="m.parquet", item_texts={"line": "{title}"}, item_sets={"tags": "\n"})
    assert data.items.texts["line"] == ("b", "", "a", "b", "")
    assert data.items.indicators["tags"].tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]]
