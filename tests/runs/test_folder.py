"""Every file of a run's folder comes back as written, or is seen to be damaged; full disks and kills leave no half of one."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cold_jax.errors import ExistsError
from cold_jax.evaluation.tables import PerUser, Rankings
from cold_jax.runs.folder import Run, create, new_name
from cold_jax.runs.results import Results
from cold_jax.splits.files import SplitRows, read_split_rows
from cold_jax.storage.files import array_digest, atomic

IDS = [
    "007", "1e5", "NA", "null", "True", "", " x", "x ", "X", "x", "\u00e9", "e\u0301", "\U0001f600", "\u202ertl", "\ufeffbom",
    "a\nb", "a\rb", "a\r\nb", "\r", "\n", "\u2028", "\x85", "\x00a", "a\x00", 'q"', '"q"', "'", "a,b", ",",
    "=HYPERLINK(1)", "@SUM", "-1+1", "\t=1", "-5", "../../x", "/etc/x", "a/b", "..", "CON", "x" * 300,
]  # fmt: skip
ids = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20)
FINITE = {"test": {"cold": {"recall@20": 0.1}}, "baselines": {"popularity": {"cold": {"recall@20": 1 / 3}}}}


def results(**changed: object) -> Results:
    comparison = {"difference": -0.2, "ratio": None, "ci95": [-0.3, -0.1], "p": 0.01}
    document: dict[str, Any] = {
        "experiment": "lora_user_cold",
        "seed": 1,
        "versions": {"jax": "0.10.2"},
        "devices": {"platform": "cpu", "threads": 2},
        "seconds": {"total": 12.5},
        "versus": {"popularity": {"cold": {"recall@20": comparison}}},
        "protocol": {"cold": {"task": "rank", "candidates": 1682, "users": 95, "minimum_detectable_difference": 0.01}},
        **FINITE,
        **changed,
    }
    return cast(Results, document)


def rankings(user_id: list[str]) -> Rankings:
    n = len(user_id)
    score_N = np.random.default_rng(n).normal(size=n).astype(np.float32)
    return Rankings(["cold"] * n, user_id, np.arange(1, n + 1, dtype=np.int32), user_id[::-1], score_N)


def per_user(user_id: list[str]) -> PerUser:
    n = len(user_id)
    return PerUser(["cold"] * n, ["popularity"] * n, user_id, ["recall@20"] * n, np.random.default_rng(n).uniform(size=n))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create(tmp_path / "run")


@contextmanager
def scratch() -> Iterator[Run]:
    """As hypothesis calls a test many times for one tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        yield create(Path(folder) / "run")


def columns(rows: SplitRows | PerUser | Rankings) -> list[list[object]]:
    return [np.asarray(c).tolist() if isinstance(c, np.ndarray) else list(c) for c in rows]


# ids through every format


@settings(max_examples=60, deadline=None)
@given(ids)
@example(IDS)
def test_ids_come_back_byte_for_byte(user_id: list[str]):
    item_id, part, order = user_id[::-1], ["train"] * len(user_id), np.arange(len(user_id))
    with scratch() as run:
        run.write_split(SplitRows(user_id, item_id, part), order)
        assert run.read_split() == SplitRows(user_id, item_id, part)
        with open(run.path / "split.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["user_id", "item_id", "part", "order"]
        assert rows[1:] == [[u, i, "train", str(o)] for u, i, o in zip(user_id, item_id, order, strict=True)]
        table = pyarrow.csv.read_csv(
            run.path / "split.csv",
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={"user_id": pa.string(), "item_id": pa.string()}, strings_can_be_null=False
            ),
        )
        assert table["user_id"].to_pylist() == user_id
        assert table["item_id"].to_pylist() == item_id

        run.write_rankings(rankings(user_id))
        assert columns(run.read_rankings()) == columns(rankings(user_id))
        run.write_per_user(per_user(user_id))
        assert columns(run.read_per_user()) == columns(per_user(user_id))
        # and with a plain reader, for those who have only the folder
        assert pyarrow.parquet.ParquetFile(run.path / "rankings.parquet").read()["item_id"].to_pylist() == item_id
        names = {"split.csv", "rankings.parquet", "per_user.parquet"}
        assert {path.name for path in run.path.parent.rglob("*")} == {"run", *names}  # no id became a file


def test_formats_are_the_documented_ones(tmp_path: Path):
    run = create(tmp_path / "seed=1")  # which pyarrow's dataset reader would take for a column
    run.write_rankings(rankings(["a", "b"]))
    run.write_per_user(per_user(["a", "b"]))
    schema = pyarrow.parquet.read_schema(run.path / "rankings.parquet")
    assert (schema.names, schema.types[2], schema.types[4]) == (
        ["part", "user_id", "rank", "item_id", "score"],
        pa.int32(),
        pa.float32(),
    )
    assert pyarrow.parquet.read_schema(run.path / "per_user.parquet").names == ["part", "method", "user_id", "metric", "value"]
    assert columns(run.read_rankings()) == columns(rankings(["a", "b"]))


def test_empty_tables(run: Run):
    run.write_rankings(rankings([]))
    assert columns(run.read_rankings()) == [[]] * 5
    run.write_split(SplitRows([], [], []), np.zeros(0, int))
    assert run.read_split() == SplitRows([], [], [])


def test_columns_of_other_lengths_are_refused(run: Run):
    with pytest.raises(ValueError, match="length"):
        run.write_rankings(rankings(["a", "b"])._replace(item_id=["a"]))
    with pytest.raises(ValueError, match="zip"):
        run.write_split(SplitRows(["a"], ["b", "c"], ["train"]), np.zeros(1, int))
    assert list(run.path.iterdir()) == []


# split.csv of others


def test_split_of_three_columns_with_a_byte_order_mark_and_other_line_ends(tmp_path: Path):
    path = tmp_path / "split.csv"
    for text in (
        "\ufeffuser_id,item_id,part\n007,a,train\n8,b,cold_test\n",
        "user_id,item_id,part,note\r\n007,a,train,x\r\n\r\n8,b,cold_test,y",
    ):
        path.write_bytes(text.encode())
        assert read_split_rows(path) == SplitRows(["007", "8"], ["a", "b"], ["train", "cold_test"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "split.csv:0: the columns are"),
        (
            b"user,item,part\n",
            r"split.csv:1: the columns are \['user', 'item', 'part'\]; the first three must be user_id, item_id, part",
        ),
        (b"user_id,item_id,part\n1,2,train\n1,3\n", "split.csv:3: 2 fields where the header has 3: '1,3'"),
        (b"user_id,item_id,part\n1,2,train,4\n", "split.csv:2: 4 fields where the header has 3"),
        (b'user_id,item_id,part\n1,2,train\n"a\nb,2,train\n', "split.csv:4: unexpected end of data"),
        (b'user_id,item_id,part\n"a"b,2,train\n', "split.csv:2: ',' expected after '\"'"),
        (b"user_id,item_id,part\n1,2,train\n\xff,2,train\n", "split.csv:3: byte 0xff is not UTF-8"),
    ],
)
def test_wrong_split_says_where(tmp_path: Path, data: bytes, message: str):
    (tmp_path / "split.csv").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_split_rows(tmp_path / "split.csv")


# config.yaml, results.json


def test_config_is_written_once(run: Run):
    run.write_config("seed: 1  # é\nnames: [a, 'no', 1e-3, 2020-01-01]\n")
    first = (run.path / "config.yaml").read_bytes()
    assert run.read_config() == {"seed": 1, "names": ["a", "no", "1e-3", "2020-01-01"]}
    with pytest.raises(ExistsError, match=r"holds a run already.*resume="):
        run.write_config("seed: 2")
    assert (run.path / "config.yaml").read_bytes() == first
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_results_come_back_and_mean_finished(run: Run):
    assert not run.finished
    run.write_results(results())
    assert run.finished
    assert run.read_results() == results()
    first = (run.path / "results.json").read_bytes()
    run.write_results(cast(Results, dict(reversed(results().items()))))
    assert (run.path / "results.json").read_bytes() == first


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_bit_for_bit(value: float):
    with scratch() as run:
        run.write_results(results(test={"cold": {"auc": value, "mrr": np.float32(0.1), "hits": np.int64(3)}}))
        got = run.read_results()["test"]["cold"]
        assert (got["auc"].hex(), got["mrr"], got["hits"]) == (value.hex(), float(np.float32(0.1)), 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), None, "0.1", True])
@pytest.mark.parametrize("where", ["test", "baselines"])
def test_results_that_are_no_numbers_are_refused_by_name(run: Run, where: str, value: object):
    part = {"cold": {"recall@20": value}}
    with pytest.raises(ValueError, match=r"results.json: (test|baselines.popularity).cold.recall@20 is .*, not a finite number"):
        run.write_results(results(**{where: part if where == "test" else {"popularity": part}}))
    assert not run.finished


def test_nan_is_nowhere_in_json(run: Run):
    with pytest.raises(ValueError, match="seconds.total is 'nan', not a finite number"):
        run.write_results(results(seconds={"total": float("nan")}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_results(results(devices={"load": float("nan")}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.append_metrics({"step": 1, "loss": float("inf")})
    assert list(run.path.iterdir()) == []


def test_parameters_come_back_whatever_their_layout(run: Run):
    kernel = np.arange(12, dtype=np.float32).reshape(3, 4)
    run.write_parameters({"a": kernel.T, "b": kernel[:, ::2]}, {"head": np.asfortranarray(kernel)})
    delta, head = (safetensors.numpy.load_file(run.path / f"{name}.safetensors") for name in ("delta", "head"))
    np.testing.assert_array_equal(delta["a"], kernel.T)
    np.testing.assert_array_equal(delta["b"], kernel[:, ::2])
    np.testing.assert_array_equal(head["head"], kernel)


def test_damaged_results_name_the_file(run: Run):
    (run.path / "results.json").write_bytes(b'{"test": ')
    with pytest.raises(ValueError, match=r"results.json: damaged"):
        run.read_results()


# metrics.jsonl


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(-1, 9), st.integers(0, 30))
def test_cut_leaves_whole_lines_up_to_the_step(steps: list[int], step: int, kept_bytes: int):
    with scratch() as run:
        for number, s in enumerate(steps):
            run.append_metrics({"loss": 1 / (number + 3), "step": s})
        half = b'{"step": 0, "loss": 0.123456}'[:kept_bytes]  # what a kill leaves of a line
        with open(run.path / "metrics.jsonl", "ab") as file:
            file.write(half)
        whole = [{"step": s, "loss": 1 / (number + 3)} for number, s in enumerate(steps)]
        assert run.read_metrics() == whole
        run.cut_metrics(step)
        run.append_metrics({"step": 99})
        expected = [line for line in whole if line["step"] <= step] + [{"step": 99}]
        assert [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()] == expected


def test_cut_of_no_lines(run: Run):
    run.cut_metrics(3)
    assert list(run.path.iterdir()) == []


def test_damaged_metrics_name_file_and_line(run: Run):
    (run.path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"step": \n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl:2: damaged"):
        run.read_metrics()


# damage


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
    with pytest.raises(FileNotFoundError, match=r"per_user.parquet"):
        run.read_per_user()


def test_digest_tells_type_shape_and_bits():
    types = (np.float32, np.int32, ml_dtypes.bfloat16)
    shapes = ((4,), (2, 2), (1, 4), (), (0, 4), (4, 0))
    arrays = [np.zeros(shape, dtype) for dtype in types for shape in shapes] + [np.array([0, 0, 0, -0.0], np.float32)]
    assert len({array_digest(array) for array in arrays}) == len(arrays)
    array = np.arange(12).reshape(3, 4)
    assert array_digest(array) == array_digest(np.asfortranarray(array)) == array_digest(np.repeat(array, 2, 0)[::2])
    assert array_digest(array) != array_digest(array.T)


# full disks, kills, races

WRITERS = """
import resource, sys
import warnings
from pathlib import Path
import numpy as np
from cold_jax.evaluation.tables import PerUser, Rankings
from cold_jax.runs.folder import Run
from cold_jax.splits.files import SplitRows

warnings.simplefilter("error")  # EncodingWarning: nothing depends on the locale
run, limit = Run(Path(sys.argv[1])), int(sys.argv[2])
n = 20_000
noise = np.random.default_rng(0).uniform(size=n)
names = [repr(x) for x in noise]
value = {str(x): float(x) for x in noise}
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
writers = {
    "config": lambda: run.write_config("names: " + str(names)),
    "split": lambda: run.write_split(SplitRows(names, names, names), np.arange(n)),
    "metrics": lambda: run.append_metrics({"step": 9, **value}),
    "per_user": lambda: run.write_per_user(PerUser(names, names, names, names, noise)),
    "rankings": lambda: run.write_rankings(Rankings(names, names, np.arange(n), names, noise)),
    "parameters": lambda: run.write_parameters({"a": noise}, {"b": noise}),
    "results": lambda: run.write_results(
        {"experiment": "x", "seed": 1, "test": {"cold": value}}
        | dict.fromkeys(["versions", "devices", "seconds", "baselines", "versus", "protocol"], {})
    ),
}
for name, write in writers.items():
    try:
        write()
        sys.exit(f"{name} wrote more than {limit} bytes without an error")
    except OSError as error:
        print(name, error.errno)
step = 10
try:
    while True:
        step += 1
        run.append_metrics({"step": step, "loss": step / 7})
except OSError:
    print("steps", step)
"""


@pytest.mark.parametrize("kilobytes", [1, 4, 64])
@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_raises_and_leaves_no_half_file(run: Run, kilobytes: int, before: bool):
    old: dict[str, bytes] = {}
    if before:
        run.write_split(SplitRows(["a"], ["b"], ["train"]), np.zeros(1, int))
        run.append_metrics({"step": 1})
        run.write_per_user(per_user(["a"]))
        run.write_rankings(rankings(["a"]))
        run.write_results(results())
        old = {path.name: path.read_bytes() for path in run.path.iterdir()}
    command = [sys.executable, "-X", "warn_default_encoding", "-c", WRITERS, str(run.path), str(kilobytes * 1024)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    raised = dict(line.split() for line in child.stdout.splitlines())
    assert set(raised) == {"config", "split", "metrics", "per_user", "rankings", "parameters", "results", "steps"}
    now = {path.name: path.read_bytes() for path in run.path.iterdir()}
    lines = now.pop("metrics.jsonl")
    assert now == {name: data for name, data in old.items() if name != "metrics.jsonl"}
    assert lines.endswith(b"\n")
    assert len(lines) <= kilobytes * 1024
    steps = [json.loads(line)["step"] for line in lines.splitlines()]
    assert steps == [1] * before + list(range(11, int(raised["steps"])))


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_an_error_in_writing_leaves_the_old_file(run: Run, monkeypatch: pytest.MonkeyPatch, fails: str):
    path = run.path / "file"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("no room")

    def write() -> None:
        with atomic(path, new=False) as file:
            file.write(b"new")
            if fails == "write":
                fail()

    if fails != "write":
        monkeypatch.setattr(f"os.{fails}", fail)
    with pytest.raises(OSError, match="no room"):
        write()
    assert {p.name: p.read_bytes() for p in run.path.iterdir()} == {"file": b"old"}


KILLED = """
import sys
from pathlib import Path
import numpy as np
from cold_jax.evaluation.tables import Rankings
from cold_jax.runs.folder import Run
from cold_jax.splits.files import SplitRows

run = Run(Path(sys.argv[1]))
names = [str(i) for i in range(3000)]
for step in range(10**9):
    run.write_split(SplitRows(names, names, names), np.full(3000, step))
    run.write_rankings(Rankings(names, names, np.full(3000, step), names, np.full(3000, step)))
    run.append_metrics({"step": step})
    print(step, flush=True)
"""


def test_a_kill_leaves_whole_files_and_sweep_the_rest(run: Run):
    generator = random.Random(0)
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(run.path)], stdout=subprocess.PIPE)
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            threading.Event().wait(generator.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
        assert len(run.read_split().user_id) == 3000
        assert len(set(run.read_rankings().score.tolist())) == 1
        run.remove_temporaries()
        assert {path.name for path in run.path.iterdir()} == {"split.csv", "rankings.parquet", "metrics.jsonl"}
        run.cut_metrics(0)
        assert {line["step"] for line in run.read_metrics()} == {0}


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    barrier = threading.Barrier(len(calls))

    def call(f: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return f()
        except OSError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_sweep_takes_the_unfinished_and_nothing_else(run: Run):
    run.write_config("seed: 1")
    (run.path / "notes.tmp").write_text("a person's")
    with atomic(run.path / "split.csv", new=False) as file:
        os.link(file.name, file.name.replace("split.csv.", "split.csv.killed"))
    assert len(list(run.path.iterdir())) == 4
    run.remove_temporaries()
    assert {path.name for path in run.path.iterdir()} == {"config.yaml", "split.csv", "notes.tmp"}


def test_sixteen_runs_at_once_get_sixteen_folders(tmp_path: Path):
    runs = at_once([lambda: create(tmp_path / "runs" / new_name())] * 16)
    assert len({run.path for run in runs if isinstance(run, Run)}) == 16


def test_of_sixteen_runs_with_one_name_one_gets_the_folder(tmp_path: Path):
    outcome = at_once([lambda: create(tmp_path / "runs" / "x")] * 16)
    assert sum(isinstance(one, Run) for one in outcome) == 1
    assert all("is there already" in str(one) for one in outcome if not isinstance(one, Run))
    run = Run(tmp_path / "runs" / "x")
    outcome = at_once([lambda seed=seed: run.write_config(f"seed: {seed}  # {seed}\n" * 1) for seed in range(16)])
    (winner,) = (seed for seed, one in enumerate(outcome) if one is None)
    assert run.read_config() == {"seed": winner}
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_a_run_is_not_made_through_a_link(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="is there already"):
        create(tmp_path / "run")
