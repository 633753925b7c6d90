"""SIGTERM: the step is finished and saved, the exit code says so, and the run goes on to the same figures."""

import re
import signal
import time
from pathlib import Path

import harness
import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("step 7/", id="step"),
        pytest.param("step 10/", id="validation", marks=pytest.mark.slow),
        pytest.param("saving step 20", id="save", marks=pytest.mark.slow),
        pytest.param("step 59/", id="last", marks=pytest.mark.slow),
    ],
)
def test_the_step_is_finished_and_saved(shared: Path, tmp_path: Path, words: str) -> None:
    folder = tmp_path / "run"
    with harness.start(shared, *harness.arguments(folder)) as child:
        lines = harness.until(child, words)
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        code, rest = harness.finish(child)
        assert time.monotonic() - began < 10
    assert code == 143, rest
    steps = [int(step) for step in re.findall(r"^step (\d+)/", "".join(lines) + rest, re.MULTILINE)]
    assert f"SIGTERM: step {steps[-1]} is saved; continue with resume={folder}" in rest
    assert max(int(path.name) for path in (folder / "checkpoints").iterdir()) == steps[-1]
    assert steps[-1] - int(re.findall(r"\d+", words)[0]) <= 2
    harness.check_whole(folder)
    harness.resume(shared, folder)


@pytest.mark.parametrize("words", ["saved step 0", f"saved step {harness.STEPS}"], ids=["compiling", "evaluation"])
def test_where_there_is_nothing_to_save_it_ends_at_once(shared: Path, tmp_path: Path, words: str) -> None:
    folder = tmp_path / "run"
    with harness.start(shared, *harness.arguments(folder)) as child:
        harness.until(child, words)
        time.sleep(0.1)
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        code, _ = harness.finish(child)
        assert time.monotonic() - began < 5
    assert code in (-signal.SIGTERM, 143)  # a shell reports both as 143
    harness.check_whole(folder)
    harness.resume(shared, folder)


@pytest.mark.parametrize("pause", [0.02, *(pytest.param(pause, marks=pytest.mark.slow) for pause in (0.0, 0.05))])
def test_a_second_one_ends_it_at_once_and_older_steps_stay(shared: Path, tmp_path: Path, pause: float) -> None:
    folder = tmp_path / "run"
    with harness.start(shared, *harness.arguments(folder)) as child:
        harness.until(child, "saving step 20")
        for _ in range(2):
            child.send_signal(signal.SIGTERM)
            time.sleep(pause)
        code, rest = harness.finish(child)
    assert code == 143, rest
    assert {"10"} <= {path.name for path in (folder / "checkpoints").iterdir()}
    harness.resume(shared, folder)
