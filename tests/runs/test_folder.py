"""Every file of a run's folder comes back as written, or is seen to be damaged; full disks and kills leave no half of one."""

import csv
import hashlib
import json
import os
import random
import re
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

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cold_jax.errors import ExistsError, RunError, WriteError
from cold_jax.evaluation.tables import PerUser, Rankings
from cold_jax.runs.folder import FORMAT, Run, create, new_name, open_run
from cold_jax.runs.results import Results
from cold_jax.splits.files import SplitRows, read_split_rows
from cold_jax.storage.files import atomic
from cold_jax.storage.sealed import read_lines, seal, to_json
from cold_jax.storage.tensors import pack_tensors

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
    assert {"seed": 1, "names": ["a", "no", "1e-3", "2020-01-01"]}.items() <= run.read_config().items()
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


def test_a_utilisation_is_numbers_or_not_known(run: Run):
    reached = {"mfu": None, "flop_per_second": 3e9, "peak": None, "dtype": "float32"}
    run.write_results(results(utilisation=reached))
    assert run.read_results()["utilisation"] == reached  # type: ignore[typeddict-item]
    with pytest.raises(ValueError, match=r"utilisation.mfu is 'a third', not a finite number"):
        run.write_results(results(utilisation=reached | {"mfu": "a third"}))
    with pytest.raises(ValueError, match=r"utilisation is '0.3', not an object"):
        run.write_results(results(utilisation=0.3))


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


def test_a_head_of_another_model_is_refused_by_name(run: Run):
    run.write_parameters({}, {"bias": np.zeros(3, np.float32)})
    assert run.read_head({"bias": (3,)}).keys() == {"bias"}
    for shapes, message in (
        ({"bias": (4,)}, r"bias has shape \(3,\), and the model \(4,\)"),
        ({}, r"bias has shape \(3,\), and the model None"),
        ({"bias": (3,), "kernel": (1, 2)}, r"kernel has shape None, and the model \(1, 2\)"),
    ):
        with pytest.raises(RunError, match=rf"head\.safetensors: {message}"):
            run.read_head(shapes)


# metrics.jsonl


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(-1, 9), st.integers(0, 30))
def test_cut_leaves_whole_lines_up_to_the_step(steps: list[int], step: int, kept_bytes: int):
    with scratch() as run:
        for number, s in enumerate(steps):
            run.append_metrics({"loss": 1 / (number + 3), "step": s})
        half = seal({"step": 0, "loss": 0.123456})[:kept_bytes]  # what a kill leaves of a line
        with open(run.path / "metrics.jsonl", "ab") as file:
            file.write(half)
        whole = [{"step": s, "loss": 1 / (number + 3)} for number, s in enumerate(steps)]
        assert run.read_metrics() == whole
        run.cut_metrics(step)
        run.append_metrics({"step": 99})
        expected = [line for line in whole if line["step"] <= step] + [{"step": 99}]
        assert read_lines((run.path / "metrics.jsonl").read_bytes(), "", RunError) == expected


def test_cut_of_no_lines(run: Run):
    run.cut_metrics(3)
    assert run.read_metrics() == []


def test_damaged_metrics_name_file_and_line(run: Run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step, "loss": step / 8})
    data = (run.path / "metrics.jsonl").read_bytes()
    for damage in (data.replace(b"0.25", b"0.75"), data.replace(b'{"step": 2, ', b'{"step":\n'), data.replace(b"2, ", b"3, ")):
        (run.path / "metrics.jsonl").write_bytes(damage)
        with pytest.raises(RunError, match=r"metrics\.jsonl:2: damaged"):
            run.read_metrics()
        with pytest.raises(RunError, match=r"metrics\.jsonl:2: damaged"):
            run.cut_metrics(1)
        assert (run.path / "metrics.jsonl").read_bytes() == damage


def test_no_flipped_bit_of_metrics_changes_a_value(run: Run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step, "loss": 1 / step, "epoch": 1})
    whole, seen = run.read_metrics(), 0
    for _ in altered(run.path / "metrics.jsonl"):
        try:
            assert run.read_metrics() == whole
        except RunError:
            seen += 1
    assert seen > 150


def test_no_flipped_bit_of_a_stranger_s_config_changes_a_value(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    run.write_config("seed: 1\nadapter: {rank: 8, alpha: 16.5}\nnames: [a, b]\n")
    whole, seen = run.read_config(), 0
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another user's"))
    for _ in altered(run.path / "config.yaml"):
        try:
            assert run.read_config() == whole  # a bit of the signature, which is not read
        except RunError as error:
            assert str(run.path / "config.yaml") in str(error)  # noqa: PT017
            seen += 1
    assert seen > 100
    assert run.read_config() == whole


# damage, and files of others


def altered(path: Path) -> Iterator[int]:
    """The file with one bit flipped, many times over; the place of the bit's byte."""
    data, draw = path.read_bytes(), random.Random(0)
    for _ in range(200):
        broken, place = bytearray(data), draw.randrange(len(data))
        broken[place] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        yield place
    path.write_bytes(data)


def test_no_flipped_bit_of_results_changes_a_figure(run: Run):
    run.write_results(results())
    seen = 0
    for _ in altered(run.path / "results.json"):
        try:
            assert run.read_results() == results()  # a space that became another
        except RunError as error:
            assert str(run.path / "results.json") in str(error)  # noqa: PT017
            seen += 1
    assert seen > 150
    assert run.read_results() == results()


def test_a_pre_training_comes_back_and_no_run_is_finished_by_it(run: Run):
    with pytest.raises(RunError, match="only a finished pre-training has it"):
        run.read_pretraining()
    cost = {"parameters": {"trained": 3, "frozen": 7}, "seconds": {"train": 1.5}, "peak_memory": None}
    run.write_pretraining(cost)
    assert run.read_pretraining() == cost
    assert not run.finished
    path = run.path / "pretraining.json"
    path.write_bytes(path.read_bytes().replace(b"1.5", b"1.6"))
    with pytest.raises(RunError, match=r"pretraining.json: damaged \(sha256"):
        run.read_pretraining()


def test_the_digest_of_results_is_the_documented_one(run: Run):
    run.write_results(results())
    document = json.loads((run.path / "results.json").read_text())
    written = document.pop("sha256")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == written
    assert document["format"] == FORMAT
    (run.path / "results.json").write_text(json.dumps({**document, "sha256": written}))  # another layout is the same document
    assert run.read_results() == results()


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "nan", "no digest"])
@pytest.mark.parametrize("name", ["delta", "head"])
def test_damaged_parameters_are_refused_by_name(run: Run, name: str, damage: str):
    run.write_parameters({"a": np.ones((30, 30), np.float32)}, {"b": np.ones(700, np.float32)})
    path, read = run.path / f"{name}.safetensors", run.read_delta if name == "delta" else lambda: run.read_head({"b": (700,)})
    data = path.read_bytes()
    if damage == "bit":
        for place in altered(path):
            if place > 8 + int.from_bytes(data[:8], "little"):
                with pytest.raises(RunError, match=rf"{name}\.safetensors: damaged \(sha256"):
                    read()
    else:
        tensors = {"a": np.array([1, np.nan], np.float32)}
        path.write_bytes(
            {"cut": data[:-1], "empty": b"", "nan": pack_tensors(tensors, {}), "no digest": safetensors.numpy.save(tensors)}[
                damage
            ]
        )
        with pytest.raises(RunError, match=rf"{name}\.safetensors: damaged"):
            read()
    path.unlink()
    with pytest.raises(RunError, match=rf"{name}\.safetensors: is not there; only a finished run has it"):
        read()


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 50_000, b"[]", b"{}", b"null", b"", b'{"format": 3}', b'{"format": true}', b'{"format": "3"}', b'{"format": 1e999}',
        b'{"format": 3, "sha256": ["x"]}', b'{"format": 3, "test": 1e999, "sha256": ""}', b"\xff", b'{"format": NaN}',
    ],
)  # fmt: skip
def test_results_that_are_none_are_one_line(run: Run, document: bytes):
    (run.path / "results.json").write_bytes(document)
    with pytest.raises(RunError, match=r"results\.json: ") as raised:
        run.read_results()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"test": {"cold": {"recall@20": "0.1"}}}, "test.cold.recall@20"),
        ({"test": {"cold": [1]}}, "test.cold"),
        ({"baselines": {"p": {"cold": {"auc": True}}}}, "baselines.p.cold.auc"),
        ({"seconds": {"total": None}}, "seconds.total"),
        ({"experiment": 3}, "experiment"),
        ({"seed": "1"}, "seed"),
        ({"protocol": {"cold": {"users": "\x1b[31m"}}}, "protocol.cold.users"),
        ({"protocol": {"cold": 1}}, "protocol.cold"),
        ({"versus": {"p": {"cold": {"auc": {"difference": 1.0}}}}}, "versus.p.cold.auc"),
        ({"versus": {"p": {"cold": {"auc": {"difference": 1.0, "p": 0.5, "ci95": [1, "x"]}}}}}, "versus.p.cold.auc.ci95.1"),
        ({"versus": {"p": 1}}, "versus.p"),
        ({"best_step": "\x1b[31m"}, "best_step"),
        ({"devices": 1}, "devices"),
    ],
)
def test_results_of_wrong_types_are_refused_with_a_right_digest_too(run: Run, changed: dict[str, Any], name: str):
    document = {**json.loads(to_json(results())), **changed, "format": FORMAT}
    (run.path / "results.json").write_bytes(seal(document))
    with pytest.raises(RunError, match=rf"results\.json: {re.escape(name)}"):
        run.read_results()
    with pytest.raises(ValueError, match=re.escape(name)):
        run.write_results(results(**changed))


def test_older_runs_are_refused_in_one_sentence(run: Run):
    """Their keys and classes have other names: groups `start` and `blend`, cold_jax.adapters.Lora."""
    (run.path / "config.yaml").write_text("adapter: {_target_: cold_jax.adapters.Lora, rank: 8}\nstart: {}\n")
    (run.path / "results.json").write_text(json.dumps(results()))
    for read in (run.read_config, run.read_results):
        with pytest.raises(
            RunError, match="the format of runs has changed: this one has an older one, and format 3 is read; train it again"
        ):
            read()
    for other in ("1", "2", "4", "true", "3.0", "[3]", "'3'"):
        (run.path / "config.yaml").write_text(f"format: {other}\nseed: 1\n")
        with pytest.raises(RunError, match="the format of runs has changed"):
            run.read_config()


# config.yaml of others


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a: "\\x24{oc.env:HOME}"', "a holds an interpolation"),
        ("a: ${oc.env:HOME}", "a holds an interpolation"),
        ("a: {b: [1, 'x\\${y}', '\\\\${y}']}", "a.b.1 holds an interpolation"),
        ('a: {b: [1, {c: "\\u0024{y}"}]}', r"a\.b\.1\.c holds an interpolation"),
        ('"\\x24{oc.env:HOME}": 1', "is not one that a run has written"),
        ('a: {"b\\ncurl evil": 1}', r"the key 'b\\ncurl evil' under a is not one that a run has written"),
        ('"\\e[31m": 1', "is not one that a run has written"),
        ("null: 1", "the key 'None' under the top is not one that a run has written"),
        ("a: {1: 0x" + "f" * 100 + "}", "a number of 102 characters"),
        ("a: &x [1]\nb: [*x, *x]", "holds an anchor or an alias"),
        ("a: !!python/name:os.system", "holds a tag"),
        ("[1]", "is not the config of a run"),
        ("x", "is not the config of a run"),
        ("", "is not the config of a run"),
        ("a: [" * 10_000, "nested more than 64 deep"),
        ("a: " + "x" * 300_000, "300,013 bytes, more than the 262,144"),
    ],
)
def test_config_that_no_run_has_written(run: Run, text: str, message: str):
    (run.path / "config.yaml").write_text(f"format: 3\n{text}" if text not in ("[1]", "x", "") else text)
    with pytest.raises(RunError, match=message) as raised:
        run.read_config()
    assert "\n" not in str(raised.value)


def test_the_signature_is_of_the_file_as_it_stands(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    run.write_config("seed: 1")
    assert run.made_here
    for _ in altered(run.path / "config.yaml"):
        assert not run.made_here
    assert run.made_here
    data = (run.path / "config.yaml").read_bytes()
    for other in (data + b"a: 1\n", data + b"# signature: " + b"0" * 64 + b"\n", data.split(b"# sig")[0], b"\n" + data):
        (run.path / "config.yaml").write_bytes(other)
        assert not run.made_here
    (run.path / "config.yaml").write_bytes(data)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another user's"))
    assert not run.made_here


# links


NAMES = [
    "config.yaml",
    "results.json",
    "metrics.jsonl",
    "per_user.parquet",
    "rankings.parquet",
    "delta.safetensors",
    "head.safetensors",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_file_is_read_through_a_link_or_from_a_pipe(run: Run, name: str, tmp_path: Path):
    (tmp_path / "secret").write_text('format: 3\n{"step": 1}\n')
    readers = {
        "config.yaml": run.read_config,
        "results.json": run.read_results,
        "metrics.jsonl": run.read_metrics,
        "per_user.parquet": run.read_per_user,
        "rankings.parquet": run.read_rankings,
        "delta.safetensors": run.read_delta,
        "head.safetensors": lambda: run.read_head({}),
    }
    (run.path / name).symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match=rf"{name}: cannot be read"):
        readers[name]()
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    with pytest.raises(RunError, match=rf"{name}: cannot be read"):
        readers[name]()


@pytest.mark.parametrize("kind", ["symbolic", "hard", "dangling"])
def test_nothing_is_written_through_a_link(run: Run, kind: str, tmp_path: Path):
    target = tmp_path / "bashrc"
    if kind != "dangling":
        target.write_text("mine")
    for name in [*NAMES, "split.csv"]:
        if kind == "hard":
            os.link(target, run.path / name)
        else:
            (run.path / name).symlink_to(target)
    with pytest.raises(WriteError, match=r"metrics\.jsonl: cannot be written"):
        run.append_metrics({"step": 1})
    with pytest.raises(ExistsError):
        run.write_config("seed: 1")
    run.write_results(results())
    run.write_split(SplitRows(["a"], ["b"], ["train"]), np.zeros(1, int))
    run.write_per_user(per_user(["a"]))
    run.write_rankings(rankings(["a"]))
    run.write_parameters({}, {})
    assert (target.read_text() if target.exists() else None) == (None if kind == "dangling" else "mine")


def test_a_run_is_opened_where_nothing_leads_out_of_it(tmp_path: Path):
    run = create(tmp_path / "run")
    with pytest.raises(RunError, match="no config.yaml in it; give the folder of a run"):
        open_run(run.path)
    run.write_config("seed: 1")
    (run.path / "wandb" / "run-1").mkdir(parents=True)
    (run.path / "wandb" / "latest-run").symlink_to("run-1")  # as W&B itself makes it, and the next
    (run.path / "wandb" / "run-1" / "logs").mkdir()
    (run.path / "wandb" / "run-1" / "files").mkdir()
    (run.path / "wandb" / "run-1" / "logs" / "debug-core.log").symlink_to(tmp_path / "cache" / "core-debug.log")
    assert open_run(run.path) == run
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(run.path)
    assert open_run(tmp_path / "link").path == tmp_path / "link"  # the user's own word
    for name in ("checkpoints", "profile", "wandb/run-1/x", "wandb/logs", "wandb/run-1/files/x", "cold_jax.log", "search_title"):
        for target in (tmp_path / "elsewhere", tmp_path / "nowhere", Path("../../../../x"), Path("/")):
            (run.path / name).symlink_to(target)
            with pytest.raises(RunError, match=f"{name}: a link that leads out of the run's folder"):
                open_run(run.path)
            (run.path / name).unlink()
    (run.path / "loop").symlink_to("loop")
    with pytest.raises(RunError, match="loop: a link"):
        open_run(run.path)
    (run.path / "loop").unlink()
    os.mkfifo(run.path / "pipe")
    with pytest.raises(RunError, match="pipe: neither a plain file nor a folder"):
        open_run(run.path)
    for nothing in (tmp_path / "nowhere", tmp_path / "link" / "config.yaml"):
        with pytest.raises(RunError, match="there is no such folder; give the folder of a run"):
            open_run(nothing)


@pytest.mark.parametrize(
    "line", [b"[1]", seal({"step": "1"}), seal({"step": True}), seal({}), b"null", b"[" * 5000, b'{"step": NaN}', b'{"step": 2}']
)
def test_a_line_that_is_no_record_of_a_step_is_named(run: Run, line: bytes):
    (run.path / "metrics.jsonl").write_bytes(seal({"step": 1}) + b"\n" + line + b"\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl:2: damaged"):
        run.cut_metrics(5)


# full disks, kills, races

WRITERS = """
import json, os, resource, sys
import warnings
from pathlib import Path
import numpy as np
from cold_jax.evaluation.tables import PerUser, Rankings
from cold_jax.runs.folder import Run
from cold_jax.splits.files import SplitRows

def write(run, limit):
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
    raised = {}
    for name, write in writers.items():
        try:
            write()
            sys.exit(f"{name} wrote more than {limit} bytes without an error")
        except OSError as error:
            raised[name] = error.errno
    step = 10
    try:
        while True:
            step += 1
            run.append_metrics({"step": step, "loss": step / 7})
    except OSError:
        raised["steps"] = step
    print(json.dumps(raised), flush=True)

for folder, limit in zip(sys.argv[1::2], sys.argv[2::2]):
    if child := os.fork():
        if os.waitpid(child, 0)[1]:
            sys.exit("a writer failed")
    else:
        warnings.simplefilter("error")  # EncodingWarning: nothing depends on the locale
        write(Run(Path(folder)), int(limit))
        os._exit(0)
"""


def test_a_full_disk_raises_and_leaves_no_half_file(tmp_path: Path):
    """Files that may have so many bytes, in a process that has imported everything once; in new folders, and in some with files."""
    cases = [(before, kilobytes) for before in (False, True) for kilobytes in (1, 4, 64)]
    runs, old = [create(tmp_path / f"run{number}") for number in range(len(cases))], []
    for run, (before, _) in zip(runs, cases, strict=True):
        if before:
            run.write_split(SplitRows(["a"], ["b"], ["train"]), np.zeros(1, int))
            run.append_metrics({"step": 1})
            run.write_per_user(per_user(["a"]))
            run.write_rankings(rankings(["a"]))
            run.write_results(results())
        old.append({path.name: path.read_bytes() for path in run.path.iterdir()})
    given = [word for run, (_, kilobytes) in zip(runs, cases, strict=True) for word in (str(run.path), str(kilobytes * 1024))]
    command = [sys.executable, "-X", "warn_default_encoding", "-c", WRITERS, *given]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    for run, (before, kilobytes), files, line in zip(runs, cases, old, child.stdout.splitlines(), strict=True):
        raised = json.loads(line)
        assert set(raised) == {"config", "split", "metrics", "per_user", "rankings", "parameters", "results", "steps"}
        now = {path.name: path.read_bytes() for path in run.path.iterdir()}
        lines = now.pop("metrics.jsonl")
        assert now == {name: data for name, data in files.items() if name != "metrics.jsonl"}
        assert lines.endswith(b"\n")
        assert len(lines) <= kilobytes * 1024
        steps = [json.loads(line)["step"] for line in lines.splitlines()]
        assert steps == [1] * before + list(range(11, raised["steps"]))


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
    assert run.read_config()["seed"] == winner
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_a_run_is_not_made_through_a_link(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="is there already"):
        create(tmp_path / "run")
