"""python -m cold_jax.train from the command line to the run's folder."""

import csv
import json
from pathlib import Path

import pytest
import runs

FILES = ["config.yaml", "results.json", "metrics.jsonl", "per_user.parquet", "rankings.parquet", "split.csv"]


@pytest.fixture(scope="module")
def shared(finished: Path) -> Path:
    """Where the run lies, with its cache."""
    return finished.parent


def test_a_run_leaves_what_the_contract_says(finished: Path) -> None:
    assert [name for name in FILES if not (finished / name).is_file()] == []
    results = json.loads((finished / "results.json").read_text())
    keys = {"experiment", "seed", "versions", "devices", "seconds", "test", "baselines", "versus", "protocol"}
    assert keys <= set(results)
    assert set(results["test"]) == {"warm", "support_0", "support_1", "support_5", "support_10"}
    assert results["parameters"]["trained"] > 0
    assert results["peak_memory"] > 2**26
    assert {"difference", "ratio", "ci95", "p", "p_holm"} == set(results["versus"]["popularity"]["support_0"]["recall@20"])
    assert runs.unclean(finished) == []
    assert (finished / "delta.safetensors").stat().st_size < 20_000


def test_the_folder_alone_gives_the_figure_again(finished: Path) -> None:
    """recall@20 from split.csv and rankings.parquet, without this library."""
    import pyarrow.parquet as pq

    with open(finished / "split.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "cold_test"]
    hidden: dict[str, set[str]] = {}
    for row in rows:
        if int(row["order"]) >= 5:
            hidden.setdefault(row["user_id"], set()).add(row["item_id"])
    ranked = [
        row
        for row in pq.read_table(finished / "rankings.parquet").to_pylist()
        if row["part"] == "support_5" and row["rank"] <= 20
    ]
    hits = dict.fromkeys(hidden, 0)
    for row in ranked:
        hits[row["user_id"]] += row["item_id"] in hidden[row["user_id"]]
    recall = sum(hits[user] / len(items) for user, items in hidden.items()) / len(hidden)
    assert recall == pytest.approx(json.loads((finished / "results.json").read_text())["test"]["support_5"]["recall@20"])


def test_the_same_config_gives_the_same_bits(finished: Path, shared: Path) -> None:
    done = runs.run("train", *runs.smoke(shared / "again", "baseline=[popularity,random]"), cwd=shared, cache=shared / "cache")
    assert done.returncode == 0, done.stderr
    assert runs.fingerprint(shared / "again") == runs.fingerprint(finished)


def test_resuming_a_finished_run_prints_its_table(finished: Path, shared: Path) -> None:
    before = {path: path.read_bytes() for path in finished.iterdir() if path.is_file() and path.suffix != ".log"}
    done = runs.run("train", f"resume={finished}", cwd=shared, cache=shared / "cache")
    assert done.returncode == 0, done.stderr
    assert "this run" in done.stdout
    assert {path: path.read_bytes() for path in before} == before


def test_two_runs_never_share_a_folder(finished: Path, shared: Path) -> None:
    done = runs.run("train", *runs.smoke(finished), cwd=shared, cache=shared / "cache")
    assert done.returncode != 0
    assert "config.yaml" in done.stderr + done.stdout


def test_resuming_with_another_config_names_the_key(finished: Path, shared: Path) -> None:
    arguments = ["+experiment=smoke", "loop.max_steps=6", "loop.validate_every=3", "adapter.rank=4", f"resume={finished}"]
    done = runs.run("train", *arguments, cwd=shared, cache=shared / "cache")
    assert done.returncode == 1
    assert "adapter.rank: 4 here, 8 in" in done.stdout + done.stderr
