"""kill -9 at any moment: what is left is whole, and the run goes on to the figures of one that was never disturbed."""

import random
import signal
import subprocess
import time
from pathlib import Path

import harness
import pytest

pytestmark = pytest.mark.faults


def wait(child: subprocess.Popen[str], folder: Path, phase: str, draw: random.Random) -> None:
    """Until some moment of the phase."""
    if phase == "early":  # before the first save, or in it
        while not (folder / "config.yaml").exists():
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 2))
    elif phase == "step":
        for _ in range(draw.randint(1, 12)):
            harness.until(child, f"/{harness.STEPS} ")
        time.sleep(draw.uniform(0, 0.05))
    elif phase == "save":
        for _ in range(draw.randint(1, 2)):
            harness.until(child, "saving step")
        time.sleep(draw.uniform(0, 0.08))
    elif phase == "evaluation":
        harness.until(child, f"saved step {harness.STEPS}")
        time.sleep(draw.uniform(0, 0.1))  # all of it takes 0.3 s on a quiet machine
    else:  # results.json is written last, some milliseconds after the first of them
        while not any(folder.glob("*split.csv*")):
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.03))


@pytest.mark.parametrize(
    "phases",
    [
        pytest.param(("save", "step", "results"), id="save-step-results"),
        *(
            pytest.param(phases, id="-".join(phases), marks=pytest.mark.slow)
            for phases in [
                ("early", "early", "early"),
                ("step", "save", "evaluation"),
                ("save", "save", "evaluation"),
                ("early", "save", "step"),
                ("step", "step", "results"),
                ("save", "save", "save"),
            ]
        ),
    ],
)
def test_killed_three_times(shared: Path, tmp_path: Path, phases: tuple[str, ...]) -> None:
    folder, draw = tmp_path / "run", random.Random("-".join(phases))
    command = harness.arguments(folder)
    for phase in phases:
        with harness.start(shared, *command) as child:
            wait(child, folder, phase, draw)
            child.send_signal(signal.SIGKILL)
            code, output = harness.finish(child)
        assert code == -signal.SIGKILL, output
        assert not (folder / "results.json").exists()
        harness.check_whole(folder)
        command = [f"resume={folder}"]
    harness.resume(shared, folder)
