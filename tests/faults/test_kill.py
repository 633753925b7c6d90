"""kill -9 and SIGTERM, for real: what a run left goes on to the figures of one that was never disturbed (marked faults)."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import runs

STEPS = 30
pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    done = runs.run("train", *arguments(folder / "golden"), cwd=folder, cache=folder / "cache")
    assert done.returncode == 0, done.stderr
    return folder


def arguments(folder: Path) -> list[str]:
    return runs.smoke(folder, "baseline=[popularity]", "logger.console.every=1", "loop.validate_every=5", steps=STEPS)


def until(process: subprocess.Popen[str], line: str) -> None:
    """Reads the run's output up to a line that holds `line`."""
    assert process.stdout is not None
    for written in process.stdout:
        if line in written:
            return
    raise AssertionError(f"the run ended before it wrote {line!r}")


def start(shared: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        runs.command("train", *command),
        cwd=shared,
        env=runs.environment(shared / "cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def resume_and_compare(shared: Path, folder: Path) -> None:
    done = runs.run("train", f"resume={folder}", "logger=console", cwd=shared, cache=shared / "cache")
    assert done.returncode == 0, done.stderr
    ours, golden = runs.fingerprint(folder), runs.fingerprint(shared / "golden")
    assert ours == golden
    assert runs.unclean(folder) == []


def kill_and_resume(shared: Path, name: str, draw: random.Random, times: int) -> None:
    folder = shared / name
    command = arguments(folder)
    for _ in range(times):
        moment = draw.choice(
            ["step 1/", f"step {draw.randrange(2, STEPS)}/", "saving step", f"saved step {STEPS}", "step 0  validation"]
        )
        with start(shared, *command) as process:
            with suppress(AssertionError):  # a resumed run may be beyond that line, and end
                until(process, moment)
            time.sleep(draw.uniform(0, 0.1))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
        if (folder / "config.yaml").exists():
            command = [f"resume={folder}", "logger=console", "logger.console.every=1"]
    resume_and_compare(shared, folder)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(shared: Path, seed: int) -> None:
    kill_and_resume(shared, f"killed {seed}", random.Random(seed), times=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 27))
def test_killed_at_many_moments(shared: Path, seed: int) -> None:
    kill_and_resume(shared, f"killed {seed}", random.Random(seed), times=1 + seed % 3)


@pytest.mark.parametrize("moment", ["step 7/", "saving step 10"])
def test_sigterm_finishes_the_step_saves_and_exits(shared: Path, moment: str) -> None:
    folder = shared / f"terminated {moment[:6].strip()}"
    with start(shared, *arguments(folder)) as process:
        until(process, moment)
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout is not None
        rest = process.stdout.read()
    assert process.returncode == 143, rest
    assert "SIGTERM: saved step" in rest
    resume_and_compare(shared, folder)


def test_sigterm_while_it_compiles_ends_at_once(shared: Path) -> None:
    folder = shared / "terminated early"
    with start(shared, *arguments(folder)) as process:
        until(process, "saved step 0")
        began = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout is not None
        process.stdout.read()
    assert process.returncode in (143, -signal.SIGTERM)
    assert time.monotonic() - began < 10
    resume_and_compare(shared, folder)


def test_a_flipped_bit_in_the_newest_checkpoint_is_named_and_the_one_before_taken(shared: Path) -> None:
    folder = shared / "flipped"
    with start(shared, *arguments(folder)) as process:
        until(process, "saved step 15")
        os.kill(process.pid, signal.SIGKILL)
    newest = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    largest = max(
        (folder / "checkpoints" / str(newest) / "state").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0
    )
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 4
    largest.write_bytes(bytes(data))
    done = runs.run("train", f"resume={folder}", "logger=console", cwd=shared, cache=shared / "cache")
    assert done.returncode == 0, done.stderr
    assert f"step {newest} is broken and set aside" in done.stderr + done.stdout
    assert runs.fingerprint(folder) == runs.fingerprint(shared / "golden")
