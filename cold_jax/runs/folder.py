"""A run's folder: each file has one writer and one reader, and under its final name it is always whole.

    config.yaml       the resolved config, written once
    split.csv         user_id, item_id, part, order
    metrics.jsonl     a line per logged step
    per_user.parquet  part, method, user_id, metric, value
    rankings.parquet  part, user_id, rank, item_id, score
    results.json      written last: a run that has it is finished

Ids are text, byte for byte, and no id or name becomes the name of a file.
"""

import csv
import hashlib
import io
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from cold_jax.errors import NoRoom
from cold_jax.evaluation.statistics import Comparison
from cold_jax.evaluation.tables import PerUser, Rankings
from cold_jax.splits.files import SplitRows, read_split_rows
from cold_jax.storage.files import atomic, room

Parts = dict[str, dict[str, float]]  # part -> metric -> value


class Results(TypedDict):
    experiment: str
    seed: int
    versions: dict[str, str]
    devices: dict[str, Any]  # platform, device kind, CPU model, thread count, XLA_FLAGS
    seconds: dict[str, float]
    test: Parts
    baselines: dict[str, Parts]
    versus: dict[str, dict[str, dict[str, Comparison]]]  # baseline -> part -> metric
    protocol: dict[str, dict[str, Any]]  # part -> task, candidates, mask, ties, users, items, minimum_detectable_difference


_TEXT = pa.string()


_UNSIGNED = b"0" * 64  # stands in a Parquet file where its own sha256 goes


PER_USER = pa.schema({"part": _TEXT, "method": _TEXT, "user_id": _TEXT, "metric": _TEXT, "value": pa.float64()})


RANKINGS = pa.schema({"part": _TEXT, "user_id": _TEXT, "rank": pa.int32(), "item_id": _TEXT, "score": pa.float32()})


def new_name() -> str:
    """A name for a run's folder that two runs never share, whatever moment they start at."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}_{secrets.token_hex(4)}"


def create(path: Path) -> "Run":
    """A new run; FileExistsError where there is anything at `path`, so that two runs never write into one folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        raise FileExistsError(f"{path} is there already: choose another folder, or go on in it with resume={path}") from None
    return Run(path)


@dataclass(frozen=True)
class Run:
    path: Path

    @property
    def finished(self) -> bool:
        return (self.path / "results.json").exists()

    def write_config(self, text: str) -> None:
        """FileExistsError where the folder has one: it is another run's."""
        with atomic(self.path / "config.yaml", new=True) as file:
            file.write(text.encode())

    def read_config(self) -> str:
        return (self.path / "config.yaml").read_bytes().decode()

    def write_split(self, rows: SplitRows, order: np.ndarray) -> None:
        """`order` is each interaction's place among its user's; for people and other tools, ours derive it from the data."""
        text = io.StringIO(newline="")
        # csv's own dialect ends lines in \r\n; with \n alone it would leave an id that holds \r unquoted
        writer = csv.writer(text)
        writer.writerow((*SplitRows._fields, "order"))
        writer.writerows(zip(*rows, order.tolist(), strict=True))
        with atomic(self.path / "split.csv", new=False) as file:
            file.write(text.getvalue().encode())

    def read_split(self) -> SplitRows:
        return read_split_rows(self.path / "split.csv")

    def append_metrics(self, record: Mapping[str, float | str]) -> None:
        """A record has its step, an int, and finite numbers or text; one that finds no room on the disk leaves nothing."""
        line = _json({"step": record["step"], **record}) + b"\n"
        with open(self.path / "metrics.jsonl", "ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):
                file.truncate(size)
                raise NoRoom(f"{file.name}: no room for the line of step {record['step']}; {room(self.path / 'metrics.jsonl')}")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The whole lines; what a killed process left of its last one is no line."""
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1]
        return [_from_json(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]

    def cut_metrics(self, step: int) -> None:
        """Drops the lines after `step`, from which a run resumes, and a last line that is not whole."""
        if (self.path / "metrics.jsonl").exists():
            kept = [_json(line) + b"\n" for line in self.read_metrics() if line["step"] <= step]
            with atomic(self.path / "metrics.jsonl", new=False) as file:
                file.writelines(kept)

    def write_per_user(self, rows: PerUser) -> None:
        _write_table(self.path / "per_user.parquet", PER_USER, rows)

    def read_per_user(self) -> PerUser:
        return PerUser(*_read_table(self.path / "per_user.parquet", PER_USER))

    def write_rankings(self, rows: Rankings) -> None:
        _write_table(self.path / "rankings.parquet", RANKINGS, rows)

    def read_rankings(self) -> Rankings:
        return Rankings(*_read_table(self.path / "rankings.parquet", RANKINGS))

    def write_parameters(self, delta: dict[str, np.ndarray], head: dict[str, np.ndarray]) -> None:
        """Δθ alone, kilobytes for LoRA, and what stands on the encoder."""
        for name, tensors in (("delta.safetensors", delta), ("head.safetensors", head)):
            in_order = {
                key: np.asarray(tensor, order="C") for key, tensor in tensors.items()
            }  # safetensors garbles others silently
            with atomic(self.path / name, new=False) as file:
                file.write(safetensors.numpy.save(in_order))

    def read_delta(self) -> dict[str, np.ndarray]:
        return safetensors.numpy.load_file(self.path / "delta.safetensors")

    def write_results(self, results: Results) -> None:
        """ValueError where a figure of test or baselines is not a finite number."""
        _require_finite(results["test"], "test")
        _require_finite(results["baselines"], "baselines")
        with atomic(self.path / "results.json", new=False) as file:
            file.write(_json(results, indent=2, sort_keys=True) + b"\n")

    def read_results(self) -> Results:
        path = self.path / "results.json"
        return _from_json(path.read_bytes(), str(path))

    def remove_temporaries(self) -> None:
        """Removes what killed writers left; only for the holder of the folder's lock."""
        for temporary in self.path.glob(".*.tmp"):
            temporary.unlink(missing_ok=True)


def _json(value: Any, **style: Any) -> bytes:
    """Floats as repr writes them, NumPy's scalars as Python's; ValueError for NaN and infinity, which JSON has not."""
    return json.dumps(value, allow_nan=False, default=lambda scalar: scalar.item(), **style).encode()


def _from_json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"{where}: damaged ({error})") from None


def _require_finite(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _require_finite(inner, f"{where}.{key}")
    elif isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise ValueError(f"results.json: {where} is {value!r}, not a finite number")


def _write_table(path: Path, schema: pa.Schema, rows: PerUser | Rankings) -> None:
    # page checksums leave out the footer, where 1 of 850 flipped bits changed values without a word: hence a digest of the file
    columns = [list(c) if f.type == _TEXT else np.asarray(c, f.type.to_pandas_dtype()) for c, f in zip(rows, schema, strict=True)]
    table = pa.table(columns, schema=schema.with_metadata({b"sha256": _UNSIGNED}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    before, _, after = sink.getvalue().to_pybytes().rpartition(_UNSIGNED)
    with atomic(path, new=False) as file:
        file.write(before + _signature(before, after) + after)


def _read_table(path: Path, schema: pa.Schema) -> list[Any]:
    data = path.read_bytes()
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if not file.schema_arrow.equals(schema):
            raise ValueError(f"its columns are {file.schema_arrow.names}")
        signature = (file.metadata.metadata or {}).get(b"sha256", b"none")
        before, _, after = data.rpartition(signature)
        if signature != _signature(before, after):
            raise ValueError("its sha256 is not the one that was written into it")
        columns = file.read().columns
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"{path}: damaged, or not a file of this project: {error}") from error
    return [column.to_pylist() if column.type == _TEXT else column.to_numpy() for column in columns]


def _signature(before: bytes, after: bytes) -> bytes:
    return hashlib.sha256(before + _UNSIGNED + after).hexdigest().encode()
