"""A run of many processes, two of them on this machine, and the one process that it is compared with."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from safetensors.numpy import load_file

from cold_jax import processes
from cold_jax.errors import ConfigError, ProcessLost

STEPS = 12
ONE_PROCESS = ("logger=none", "baseline=[popularity]", "parallel=mesh", "loop.validate_every=4", f"loop.max_steps={STEPS}")
Started = list["subprocess.Popen[str]"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(folder: Path, cache: Path, *more: str, count: int = 2) -> Started:
    """The processes of one run; what they write goes to files beside its folder."""
    where, begun = [f"parallel.coordinator=127.0.0.1:{free_port()}", f"parallel.processes={count}"], []
    for n in range(count):
        words = ("+experiment=smoke", *ONE_PROCESS, *where, f"parallel.process={n}", f"hydra.run.dir={folder}", *more)
        with open(output(folder, n), "a") as file:
            begun.append(
                subprocess.Popen(runs.command("train", *words), env=runs.environment(cache), stdout=file, stderr=file, text=True)
            )
    return begun


def output(folder: Path, process: int) -> Path:
    return folder.with_name(f"{folder.name}.{process}.txt")


def ended(begun: Started, seconds: float = 300) -> list[int]:
    try:
        return [process.wait(seconds) for process in begun]
    finally:
        for process in begun:
            process.kill()


def until(what: Callable[[], object], begun: Started, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        assert all(process.poll() is None for process in begun)
        time.sleep(0.05)


def log_of(folder: Path) -> str:
    path = folder / "cold_jax.log"
    return path.read_text() if path.exists() else ""


def figures(folder: Path) -> Iterator[tuple[str, float]]:
    """Losses and validations by step, and the test's, by name."""
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        yield from ((f"{key} {record['step']}", record[key]) for key in ("loss", "metric") if key in record)
    for part, values in json.loads((folder / "results.json").read_text())["test"].items():
        yield from ((f"{part} {name}", value) for name, value in values.items())


def same(folder: Path, other: Path) -> None:
    ours, theirs = dict(figures(folder)), dict(figures(other))
    assert len(ours) > STEPS
    assert ours == pytest.approx(theirs, rel=1e-5)
    for name in ("delta.safetensors", "head.safetensors"):
        found, wanted = load_file(folder / name), load_file(other / name)
        assert found.keys() == wanted.keys()
        # of a gradient that is 0, as of an attribute that no item has, Adam makes whole steps of the rounding errors
        assert all((np.abs(found[leaf] - wanted[leaf]) > 1e-4).mean() < 0.05 for leaf in found)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """One process, one device."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = runs.run("train", "+experiment=smoke", *ONE_PROCESS, f"hydra.run.dir={folder}", cwd=folder.parent, cache=cache)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    codes = ended(start(folder, cache))
    assert codes == [0, 0], output(folder, 0).read_text() + output(folder, 1).read_text()
    return folder


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(alone: Path, two: Path) -> None:
    same(two, alone)
    assert json.loads((two / "results.json").read_text())["devices"]["processes"] == 2


@pytest.mark.slow
def test_the_first_process_writes_and_all_save(two: Path) -> None:
    """One table, one log; the arrays of a checkpoint come from both processes."""
    first, second = (output(two, n).read_text() for n in range(2))
    assert "recall@20" in first
    assert "recall@20" not in second
    assert "run: " not in second
    assert not (two / "lock").exists()
    assert runs.unclean(two) == []
    assert re.search(r"this is process 1 of 2: 0, the leader: .*, process \d+; 1: .*, process \d+", second)
    written = {path.name for path in (two / "checkpoints").rglob("ocdbt.process_*")}
    assert written == {"ocdbt.process_0", "ocdbt.process_1"}
    typed = json.loads((two / "results.json").read_text())["overrides"]
    assert "parallel=mesh" in typed
    assert not [word for word in typed if "coordinator" in word or "process" in word]


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_dies_ends_the_other_within_a_minute(tmp_path: Path, cache: Path, alone: Path, dies: int) -> None:
    """By name; and one process goes on from the last checkpoint, to the same figures."""
    folder = tmp_path / "run"
    begun = start(folder, cache)
    until(lambda: "saved step 4" in log_of(folder), begun)
    begun[dies].send_signal(signal.SIGKILL)
    died = time.monotonic()
    codes = ended(begun, 60)
    assert time.monotonic() - died < 60
    assert codes[dies] == -signal.SIGKILL
    assert codes[1 - dies] != 0
    said = output(folder, 1 - dies).read_text()
    name = f"{socket.gethostname()}, process {begun[dies].pid}"
    assert f"0, the leader: {name}" in said if dies == 0 else f"process 1 ({name}): has stopped" in said
    assert dies == 1 or "leader task was preempted/died" in said  # XLA's own words
    done = runs.run("train", f"resume={folder}", "parallel=mesh", "logger=none", cwd=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    assert "resuming at step" in log_of(folder)
    same(folder, alone)


@pytest.mark.slow
def test_sigterm_to_one_stops_both_at_one_step(tmp_path: Path, cache: Path, alone: Path) -> None:
    folder = tmp_path / "run"
    begun = start(folder, cache, "loop.epochs=50", "loop.max_steps=400")
    until(lambda: "saved step 4" in log_of(folder), begun)
    begun[1].terminate()
    assert ended(begun, 120) == [143, 143]
    (step,) = re.findall(r"SIGTERM: step (\d+) is saved", log_of(folder))
    assert 4 <= int(step) < 400
    assert (folder / "checkpoints" / step).is_dir()


@pytest.mark.slow
def test_two_processes_go_on_with_what_one_began(tmp_path: Path, cache: Path, alone: Path) -> None:
    folder = Path(shutil.copytree(alone, tmp_path / "run"))
    (folder / "results.json").unlink()
    shutil.rmtree(folder / "checkpoints" / str(STEPS))
    codes = ended(start(folder, cache, f"resume={folder}"))
    assert codes == [0, 0], output(folder, 0).read_text() + output(folder, 1).read_text()
    assert f"resuming at step 8 of {STEPS}" in log_of(folder)
    same(folder, alone)


def test_srun_with_a_choice_of_one_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(ConfigError, match="srun started 2 processes, and this choice is of one; use parallel=mesh"):
        processes.start({"devices": None})


def test_one_process_is_its_own_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    processes.start({"coordinator": None})
    assert processes.first()
    assert processes.count() == 1
    assert processes.share(lambda: b"mine", 4) == b"mine"
    assert processes.lost(ValueError("of its own")) is None
    processes.wait("nobody")
    processes.leave(1)


@pytest.mark.parametrize(
    ("message", "who"),
    [
        (
            "Barrier timed out.\n# of tasks that reached the barrier: 1/2.\nThe first task at the barrier: 0. Some timed out task names:\n1\n\n\nRPC: /x",
            [1],
        ),
        ("The first task at the barrier: 2. Some timed out task names:\n0\n1\n", [0, 1]),
        ("UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n2\nThe tasks have crashed.", [2]),
        ("task is set to ERROR: UNAVAILABLE: Task 1 heartbeat timeout. This indicates that", [1]),
        ("failed to connect to all addresses", [0]),  # the coordination service is gone with process 0
    ],
)
def test_who_has_stopped(monkeypatch: pytest.MonkeyPatch, message: str, who: list[int]) -> None:
    """The coordination service's own messages, as they came."""

    def silent(*_: Any, **__: Any) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(processes, "_place", [processes.Place(0, ("a, process 7", "b, process 8", "c, process 9"))])
    monkeypatch.setattr("orbax.checkpoint.multihost.sync_global_processes", silent)
    lost = processes.lost(OSError("connection reset"))
    assert isinstance(lost, ProcessLost)
    names = ", ".join(f"process {n} ({'abc'[n]}, process {7 + n})" for n in who)
    assert str(lost).startswith(f"{names}: has stopped")
    assert processes.lost(ConfigError("of the user")) is None
