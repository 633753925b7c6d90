"""The Parquet files of a run: no flipped bit gets through, and no file unfolds to more than its size allows."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from test_folder import per_user, rankings

from cold_jax.errors import RunError
from cold_jax.runs import parquet
from cold_jax.runs.folder import PER_USER, Run, create


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create(tmp_path / "run")


@pytest.mark.parametrize("name", ["rankings.parquet", "per_user.parquet"])
def test_each_flipped_bit_and_each_missing_end_is_an_error(run: Run, name: str):
    user_id = [f"user {i}" for i in np.random.default_rng(0).integers(0, 10**9, 400)]
    run.write_rankings(rankings(user_id))
    run.write_per_user(per_user(user_id))
    path, read = run.path / name, run.read_rankings if name == "rankings.parquet" else run.read_per_user
    data, generator = path.read_bytes(), random.Random(0)
    for number in range(200):
        footer = len(data) - 1400 if number % 2 else 0  # which is what the checksums of pages leave out
        damaged = bytearray(data)
        damaged[generator.randrange(footer, len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{name}: damaged"):
            read()
    for length in [0, 1, 4, 12, *(generator.randrange(len(data)) for _ in range(40)), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=f"{name}: damaged"):
            read()


def test_the_signature_is_not_taken_for_an_id(run: Run):
    zeros, digest_like = "0" * 64, "ab" * 32
    for _ in range(2):
        run.write_rankings(rankings([zeros, digest_like]))
        assert run.read_rankings().user_id == [zeros, digest_like]
        metadata = pyarrow.parquet.read_metadata(run.path / "rankings.parquet").metadata
        digest_like = metadata[b"sha256"].decode()


def test_pages_carry_checksums_for_other_readers(run: Run):
    run.write_rankings(rankings([f"user {i}" for i in range(1000)]))
    path = run.path / "rankings.parquet"
    data, generator = path.read_bytes(), random.Random(0)
    column = pyarrow.parquet.read_metadata(path).row_group(0).column(4)  # of scores: its last bytes are values
    end = column.dictionary_page_offset + column.total_compressed_size
    for _ in range(20):
        damaged = bytearray(data)
        damaged[end - 1 - generator.randrange(500)] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(OSError, match=r"CRC|checksum"):
            pyarrow.parquet.ParquetFile(path, page_checksum_verification=True).read()


def test_another_parquet_file_is_refused(run: Run):
    pyarrow.parquet.write_table(pa.table({"user_id": ["a"]}), run.path / "rankings.parquet")
    with pytest.raises(
        ValueError, match=r"rankings.parquet: damaged, or not a file of this project: its columns are \['user_id'\]"
    ):
        run.read_rankings()
    with pytest.raises(RunError, match=r"per_user.parquet: is not there"):
        run.read_per_user()


def write_signed(path: Path, table: pa.Table) -> None:
    """As parquet.write_table does, of a table that it would not write."""
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"sha256": parquet._UNSIGNED}), sink)
    before, _, after = sink.getvalue().to_pybytes().rpartition(parquet._UNSIGNED)
    path.write_bytes(before + parquet._digest(before, after) + after)


def repeated(text: str, rows: int) -> pa.Table:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [text])
    columns = [column.cast(pa.string()) if len(text) * rows < 2**28 else column] * 4 + [pa.array([0.0] * rows)]
    return pa.table(columns, names=PER_USER.names)


def test_rows_and_texts_have_a_limit(run: Run, monkeypatch: pytest.MonkeyPatch):
    path = run.path / "per_user.parquet"
    write_signed(path, repeated("x", 9_000_000))
    with pytest.raises(RunError, match=r"per_user\.parquet: damaged.*9,000,000 rows, more than the"):
        run.read_per_user()
    write_signed(path, repeated("x" * 100, 900_000))
    monkeypatch.setattr(parquet, "TEXT_PER_BYTE", 1)
    with pytest.raises(RunError, match="bytes of text, more than the"):
        run.read_per_user()


BOMB = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
from cold_jax.errors import RunError
from cold_jax.runs.folder import Run
try:
    Run(Path(sys.argv[1])).read_per_user()
except RunError as error:
    print(error)
"""


def test_a_text_that_a_dictionary_repeats_is_not_written_out(run: Run):
    """A file of 30 kB that is 100 GB of text."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), ["x" * 10**6])
    small = pa.array(["a"] * 100_000)
    table = pa.table([column, small, small, small, pa.array([0.0] * 100_000)], names=PER_USER.names)
    sink = pa.BufferOutputStream()
    schema = PER_USER.with_metadata({b"sha256": parquet._UNSIGNED})
    with pyarrow.parquet.ParquetWriter(sink, schema.set(0, pa.field("part", column.type)), store_schema=False) as writer:
        writer.write_table(table.replace_schema_metadata(schema.metadata).cast(schema.set(0, pa.field("part", column.type))))
    before, _, after = sink.getvalue().to_pybytes().rpartition(parquet._UNSIGNED)
    (run.path / "per_user.parquet").write_bytes(before + parquet._digest(before, after) + after)
    assert (run.path / "per_user.parquet").stat().st_size < 100_000
    done = subprocess.run([sys.executable, "-c", BOMB, str(run.path)], capture_output=True, text=True, check=True)
    assert "per_user.parquet: damaged" in done.stdout


def test_nulls_are_refused(run: Run):
    text = pa.array(["a", None])
    write_signed(run.path / "per_user.parquet", pa.table([text] * 4 + [pa.array([0.0, 1.0])], names=PER_USER.names))
    with pytest.raises(RunError, match="it holds nulls"):
        run.read_per_user()
