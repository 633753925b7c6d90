"""Sweeps on a real Slurm: scripts/slurm.sh makes one of this machine."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import runs

from cold_jax import sweeps

pytest.importorskip("submitit")  # the extra sweep
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("sinfo") is None or subprocess.run(["sinfo", "-h"], capture_output=True).returncode != 0,
        reason="no Slurm is running (scripts/slurm.sh)",
    ),
]
ON_SLURM = ("+launcher=submitit_slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1")


def arguments(sweep: Path, seeds: str, *more: str, steps: int = 6) -> list[str]:
    return [
        "-m",
        "+experiment=smoke",
        f"loop.max_steps={steps}",
        "loop.validate_every=50",
        f"seed={seeds}",
        f"hydra.sweep.dir={sweep}",
        *more,
    ]


def started(sweep: Path, cache: Path, *words: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(runs.command("train", *words), cwd=sweep.parent, env=runs.environment(cache), **pipes)


def until(what: Callable[[], object], seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.2)


def finished(sweep: Path) -> list[int]:
    return sorted(int(path.parent.name) for path in sweep.glob("*/results.json"))


def test_four_jobs_and_the_same_command_again(tmp_path: Path) -> None:
    sweep, cache = tmp_path / "sweep", tmp_path / "cache"
    command = arguments(sweep, "1,2,3,4", *ON_SLURM)
    output, _ = started(sweep, cache, *command).communicate(timeout=1200)
    assert finished(sweep) == [0, 1, 2, 3], output
    assert [job.state for job in sweeps.jobs(sweep)] == ["done"] * 4
    times = {path: path.stat().st_mtime_ns for path in sweep.glob("*/results.json")}
    shutil.rmtree(sweep / "2")
    output, _ = started(sweep, cache, *command).communicate(timeout=1200)
    again = {path: path.stat().st_mtime_ns for path in sweep.glob("*/results.json")}
    assert {path.parent.name for path in again if again[path] != times.get(path)} == {"2"}, output


def test_a_requeued_job_ends_with_the_figures_of_one_that_was_left_alone(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    alone, requeued = tmp_path / "alone", tmp_path / "requeued"
    output, _ = started(alone, cache, *arguments(alone, "1", "loop.epochs=50", steps=60)).communicate(timeout=1200)
    assert finished(alone) == [0], output
    process = started(requeued, cache, *arguments(requeued, "1", "loop.epochs=50", *ON_SLURM, steps=60))
    log = requeued / "0" / "metrics.jsonl"
    until(lambda: log.exists() and '"step": 12,' in log.read_text())
    name = next((requeued / ".submitit").glob("[0-9]*")).name
    subprocess.run(["scontrol", "requeue", name], check=True)
    output, _ = process.communicate(timeout=1200)
    assert finished(requeued) == [0], output
    assert re.search(r"SIGTERM: step \d+ is saved", (requeued / "0" / "cold_jax.log").read_text())
    assert "resuming at step" in (requeued / "0" / "cold_jax.log").read_text()
    assert runs.fingerprint(alone / "0") == runs.fingerprint(requeued / "0")


def test_an_array_of_twenty_with_two_slots(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    seeds = ",".join(map(str, range(1, 21)))
    process = started(
        sweep, tmp_path / "cache", *arguments(sweep, seeds, *ON_SLURM, "hydra.launcher.array_parallelism=2", steps=1)
    )
    most = 0
    while process.poll() is None:
        listed = subprocess.run(
            ["squeue", "-h", "-r", "-t", "R", "-u", str(os.getuid())], capture_output=True, text=True, check=True
        )
        most = max(most, len(listed.stdout.splitlines()))
        time.sleep(1)
    output, _ = process.communicate()
    assert finished(sweep) == list(range(20)), output
    assert most == 2


def test_two_tasks_of_one_run(tmp_path: Path) -> None:
    """srun -n 2: jax.distributed finds itself by Slurm's variables; the losses are those of one process."""
    cache, smoke = tmp_path / "cache", ("+experiment=smoke", "logger=none", "parallel=mesh", "baseline=[popularity]")
    alone, both = (tmp_path / name for name in ("alone", "both"))
    done = runs.run("train", *smoke, f"hydra.run.dir={alone}", cwd=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    line = ["srun", "-n", "2", "--cpus-per-task=1", *runs.command("train", *smoke, f"hydra.run.dir={both}")]
    done = subprocess.run(
        line, cwd=tmp_path, env=runs.environment(cache), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads((folder / "results.json").read_text()) for folder in (alone, both)]
    assert results[1]["devices"]["processes"] == 2
    for part, values in results[0]["test"].items():
        assert results[1]["test"][part] == pytest.approx(values, rel=1e-5)
