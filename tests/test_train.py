"""python -m cold_jax.train from the command line to the run's folder."""

import csv
import json
from pathlib import Path

import pytest
import runs

from cold_jax.runs.finished import kept_metric

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
    u = results["utilisation"]
    assert u["mfu"] == pytest.approx(u["flop_per_second"] / u["peak_flop_per_second"])
    assert (u["peak"], u["dtype"]) == ("measured", "float32")
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
    assert f"{finished} holds a run already" in done.stderr


def test_resuming_with_another_config_names_the_key(finished: Path, shared: Path) -> None:
    arguments = ["+experiment=smoke", "loop.max_steps=6", "loop.validate_every=3", "adapter.rank=4", f"resume={finished}"]
    done = runs.run("train", *arguments, cwd=shared, cache=shared / "cache")
    assert done.returncode == 1
    assert "adapter.rank: 4 here, 8 in" in done.stdout + done.stderr


def test_a_finished_run_trains_on(shared: Path) -> None:
    """To the figures of a run that was to be as long at once; its config says so then."""
    constant = ("optimizer.schedule=constant", "logger=none")
    places = {"cwd": shared, "cache": shared / "cache"}
    for name, steps in (("long", 9), ("longer", 6)):
        done = runs.run("train", *runs.smoke(shared / name, *constant, steps=steps), **places)
        assert done.returncode == 0, done.stderr
    done = runs.run("train", f"resume={shared / 'longer'}", "loop.max_steps=9", **places)
    assert done.returncode == 0, done.stderr
    one, other = (runs.fingerprint(shared / name) for name in ("long", "longer"))
    assert one["results"].pop("overrides") == ["+experiment=smoke", "loop.max_steps=9", "loop.validate_every=3", *constant]
    other["results"].pop("overrides")
    at_nine = [line for line in other["steps"] if line["step"] != 6 or "loss" in line]
    assert [line for line in at_nine if line["step"] > 6] == [line for line in one["steps"] if line["step"] > 6]
    assert other["results"] == one["results"]
    assert "max_steps: 9" in (shared / "longer" / "config.yaml").read_text()
    done = runs.run("train", f"resume={shared / 'longer'}", "loop.max_steps=3", **places)
    assert "loop.max_steps: 3 here, 9 in" in done.stderr


def test_a_sweep_goes_on_after_a_failure_and_does_only_what_is_missing(shared: Path) -> None:
    place = shared / "sweep"
    place.mkdir()
    line = ["-m", "+experiment=smoke", "loop.max_steps=2", "loop.validate_every=2", "logger=none", "adapter.rank=0,2"]
    done = runs.run("train", *line, cwd=place, cache=shared / "cache")
    assert done.returncode == 1
    assert "1 of 2 jobs failed" in done.stderr
    assert "adapter.rank: 0 is not a rank" in done.stdout
    [results] = place.glob("multirun/*/1/results.json")
    written = results.read_bytes()
    again = runs.run("train", *line, cwd=place, cache=shared / "cache")
    assert again.returncode == 1
    assert "fitting" not in again.stderr
    assert results.read_bytes() == written
    assert [path.name for path in results.parents[1].iterdir() if path.is_dir()] == ["1"]


def test_a_run_that_learns_nothing_claims_no_validation(shared: Path) -> None:
    """What it prints, writes and gives a search; and it is a run like others."""
    folder = shared / "zero_shot"
    arguments = runs.smoke(folder, "adapter=zero_shot", "model=text_vectors", "baseline=[popularity]")
    done = runs.run("train", *arguments, cwd=shared, cache=shared / "cache")
    assert done.returncode == 0, done.stderr
    assert "validation" not in done.stdout + done.stderr
    assert "Nothing was trained." in done.stdout
    assert kept_metric(folder) is None
    again = runs.run("evaluate", f"run={folder}", cwd=shared, cache=shared / "cache")
    assert again.returncode == 0, again.stderr
    assert "step 0; the largest difference" in again.stdout


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    """Users of three items each: one to train on, which has no other to be seen with."""
    (tmp_path / "items.jsonl").write_text("".join(f'{{"item": "{i}", "title": "thing {i % 3} {i}"}}\n' for i in range(9)))
    (tmp_path / "sequences.txt").write_text("".join(f"u{u} {u % 9} {(u + 1) % 9} {(u + 4) % 9}\n" for u in range(20)))
    arguments = (
        f"data.root={tmp_path}",
        "encoder=tiny",
        "adapter=zero_shot",
        "model=text_vectors",
        "baseline=[popularity]",
        "logger=none",
    )
    done = runs.run(
        "train", "+experiment=sequence", *arguments, f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path, cache=tmp_path / "cache"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: batching: there is no example")
