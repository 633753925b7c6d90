"""A job of submitit that is preempted: it saves its step, is queued again, and ends with the figures of one that was left alone."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import harness
import pytest
import runs

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def task_of(sweep: Path) -> int:
    """The process that submitit started for the sweep's one job."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "submitit.core._submit" in words and any(str(sweep) in word for word in words):
            return int(path.parent.name)
    raise AssertionError(f"no task of {sweep}")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found under /proc")
def test_a_warned_job_is_queued_again_with_its_step_saved(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    sweep = tmp_path / "sweep"
    command = runs.command("train", "-m", *harness.SMALL, "+launcher=submitit_local", f"hydra.sweep.dir={sweep}")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=runs.environment(shared / "cache"), **pipes) as process:
        metrics, end = sweep / "0" / "metrics.jsonl", time.monotonic() + 200
        while not (metrics.exists() and '"step": 12,' in metrics.read_text()):
            assert time.monotonic() < end, process.poll()
            time.sleep(0.02)
        os.kill(task_of(sweep), signal.SIGUSR2)  # as submitit's own Job._interrupt does
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    log = (sweep / "0" / "cold_jax.log").read_text()
    (saved,) = re.findall(r"SIGUSR2: step (\d+) is saved", log)
    assert 12 <= int(saved) < harness.STEPS
    assert f"resuming at step {saved} of {harness.STEPS}" in log
    harness.check_same(sweep / "0", shared / "golden")
