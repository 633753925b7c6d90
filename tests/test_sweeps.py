"""A sweep's folder and its jobs."""

import json
import shutil
from pathlib import Path

import pytest
import runs
import yaml

from cold_jax import sweeps
from cold_jax.errors import RunError
from cold_jax.runs.finished import kept_metric
from cold_jax.storage.sealed import seal

WORDS = ["-m", "+experiment=smoke", "seed=1,2"]


def test_the_same_words_give_the_same_folder() -> None:
    folder, words = sweeps.with_folder(WORDS)
    assert folder.parent == Path("multirun")
    assert folder.name.startswith("smoke_")
    assert words == [*WORDS, f"hydra.sweep.dir={folder}"]
    assert sweeps.with_folder([*WORDS, "--cfg", "job"])[1] == [*words, "--cfg", "job"]
    assert sweeps.with_folder(WORDS[::-1])[0] == folder
    assert sweeps.with_folder([*WORDS, "hydra/launcher=joblib"])[0] == folder
    assert sweeps.with_folder([*WORDS, "+launcher=joblib"])[0] == folder
    assert sweeps.with_folder([*WORDS, "adapter=full"])[0] != folder
    assert sweeps.with_folder([*WORDS, "hydra.sweep.dir=x"]) == (Path("x"), [*WORDS, "hydra.sweep.dir=x"])


def test_jobs_are_listed_with_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "sweep"
    sweeps.show(sweep)
    assert capsys.readouterr().out == ""
    failed = sweeps.Job(1, ["seed=2"], "failed", "adapter.rank: 0 is not a rank", "x")
    done = [sweeps.Job(number, [f"seed={number + 1}"], "done", "", f"{sweep}/{number}") for number in (0, 1)]
    for job in (failed, done[0]):
        sweeps.note(sweep, job)
    assert sweeps.jobs(sweep) == [done[0], failed]
    with pytest.raises(sweeps.SweepFailed, match="1 of 2 jobs failed"):
        sweeps.show(sweep)
    shown = capsys.readouterr().out
    assert "0 is not a rank" in shown
    assert "seed=2" in shown
    sweeps.note(sweep, done[1])  # the same command again
    sweeps.show(sweep)
    assert "failed" not in capsys.readouterr().out


def test_failures_are_lines_of_a_report(tmp_path: Path) -> None:
    sweeps.note(tmp_path / "a" / "sweep", sweeps.Job(0, ["seed=1"], "done", "", "x"))
    sweeps.note(tmp_path / "a" / "sweep", sweeps.Job(1, ["seed=2", "b=3"], "failed", "no data", "x"))
    sweeps.note(tmp_path / "b", sweeps.Job(0, ["c=1"], "failed", "", "x"))
    found = sweeps.failures([tmp_path, tmp_path / "a"])
    assert found == [
        f"failed: {tmp_path}/a/sweep, job 1: seed=2 b=3: no data",
        f"failed: {tmp_path}/b, job 0: c=1: a bug, see its log",
    ]


def run_sweep(folder: Path, *words: str) -> str:
    """What a sweep of runs of seconds printed."""
    kept = [word for word in runs.smoke(folder, steps=2) if not word.startswith("hydra.run.dir=")]
    # Hydra takes its overrides in one piece
    typed = [*(word for word in words if word == "-m"), *kept, f"hydra.sweep.dir={folder}", *(w for w in words if w != "-m")]
    done = runs.run("train", *typed, cwd=folder.parent, cache=folder.parent / "cache")
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_side_by_side(launcher: str, tmp_path: Path) -> None:
    """A failed job is a row, the others are done; the same command again does what is missing, and nothing else."""
    pytest.importorskip({"joblib": "hydra_plugins.hydra_joblib_launcher"}.get(launcher, "submitit"))
    sweep, words = tmp_path / "sweep", ("-m", f"+launcher={launcher}", "adapter=lora,zero_shot", "seed=1,2")
    printed = run_sweep(sweep, *words)
    assert [job.state for job in sweeps.jobs(sweep)] == ["done", "done", "failed", "failed"], printed
    assert "error: 2 of 4 jobs failed" in printed
    times = {path: path.stat().st_mtime_ns for path in sweep.glob("*/results.json")}
    assert {path.parent.name for path in times} == {"0", "1"}
    assert json.loads((sweep / "0" / "results.json").read_text())["overrides"][-2:] == ["adapter=lora", "seed=1"]
    shutil.rmtree(sweep / "1")
    run_sweep(sweep, *words)
    again = {path: path.stat().st_mtime_ns for path in sweep.glob("*/results.json")}
    assert {path.parent.name for path in again if again[path] != times.get(path)} == {"1"}


@pytest.mark.slow
def test_a_search_maximises_validation_and_finds_its_trials_again(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    sweep, words = tmp_path / "sweep", ("+sweep=adapter_study", "hydra.sweeper.n_trials=3")
    printed = run_sweep(sweep, *words)
    found = {path.parent: kept_metric(path.parent) for path in sweep.glob("*/results.json")}
    assert len(found) == 3, printed
    best = yaml.safe_load((sweep / "optimization_results.yaml").read_text())
    assert best["best_value"] == max(value for value in found.values() if value is not None)
    times = {path: (path / "results.json").stat().st_mtime_ns for path in found}
    run_sweep(sweep, *words)
    assert times == {path.parent: path.stat().st_mtime_ns for path in sweep.glob("*/results.json")}


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    sweeps.note(tmp_path, sweeps.Job(0, [], "failed", "a reason", "x"))
    data = (tmp_path / "jobs.jsonl").read_bytes()
    for damage in (
        b"{}\n",
        data.replace(b"failed", b"done"),
        data[:-9] + b"\n",
        data[:-9],
        data[:-1],
        b"",
        seal({"number": 0}) + b"\n",
    ):
        (tmp_path / "jobs.jsonl").write_bytes(damage)
        with pytest.raises(RunError, match=r"jobs\.jsonl(:1)?: damaged.*"):
            sweeps.jobs(tmp_path)
