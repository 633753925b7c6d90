"""Jobs of a sweep that die in every way: the others run, the table names all of them, and the same command again does only what is missing."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import harness
import pytest
import runs

from cold_jax import sweeps

pytestmark = [pytest.mark.faults, pytest.mark.slow]
SWEEP = ["-m", *harness.SMALL, "+launcher=processes", "hydra.sweep.dir=sweep"]
# Befalls the job whose seed FATES names, where it begins to read its data.
FAULTS = """
import os, resource, signal, sys
from importlib.abc import MetaPathFinder

def out_of_memory():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(2 << 30)

def hang():
    with open(os.environ["HUNG"] + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(file.name, os.environ["HUNG"])
    os.kill(os.getpid(), signal.SIGSTOP)

def bug():
    raise RuntimeError("of ours")

FATES = {
    "2": bug, "3": lambda: sys.exit(7), "4": os.abort, "5": lambda: os.kill(os.getpid(), signal.SIGKILL), "6": out_of_memory, "7": hang,
}

class Fault(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "cold_jax.experiment" and "-m" in sys.orig_argv:
            seed = [word.partition("=")[2] for word in sys.orig_argv if word.startswith("seed=")]
            if seed and "," not in seed[0]:
                FATES.get(seed[0], lambda: None)()

sys.meta_path.insert(0, Fault())
"""
SAYS = {
    2: "",
    3: "its process exited with 7",
    4: "SIGABRT ended its process",
    5: "SIGKILL ended its process, as it does where memory runs out",
    6: "out of memory: ",
    7: "SIGKILL ended its process",
}


def test_the_others_run(shared: Path, tmp_path: Path) -> None:
    words = [*SWEEP, "loop.max_steps=1", "seed=1,2,3,4,5,6,7,8,9"]
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "sitecustomize.py").write_text(FAULTS)
    hung = tmp_path / "hung"
    paths = os.pathsep.join([str(tmp_path / "faults"), os.environ.get("PYTHONPATH", "")])
    environment = runs.environment(shared / "cache") | {"PYTHONPATH": paths, "HUNG": str(hung)}

    def run() -> str:
        with open(tmp_path / "output", "w+") as output:
            with subprocess.Popen(
                runs.command("train", *words), cwd=tmp_path, env=environment, stdout=output, stderr=subprocess.STDOUT
            ) as process:
                while process.poll() is None and not hung.exists():
                    time.sleep(0.1)
                if hung.exists():
                    os.kill(int(hung.read_text()), signal.SIGKILL)  # as somebody would who looks for what hangs
                    hung.unlink()
            written = (tmp_path / "output").read_text()
        assert process.returncode == 1, written
        return written

    output = run()
    found = sweeps.jobs(tmp_path / "sweep")
    assert [job.state for job in found] == ["done", *["failed"] * 6, "done", "done"], output
    for seed, says in SAYS.items():
        assert found[seed - 1].reason.startswith(says), output
    assert "error: 6 of 9 jobs failed; the same command again does only what is missing" in output
    assert "RuntimeError: of ours" in output
    done = [tmp_path / "sweep" / name / "results.json" for name in ("0", "7", "8")]
    times = [path.stat().st_mtime_ns for path in done]
    assert all(json.loads(path.read_text()) for path in done)
    output = run()
    assert times == [path.stat().st_mtime_ns for path in done], output
    assert "6 of 9 jobs failed" in output


def test_a_job_ends_with_its_sweep(shared: Path, tmp_path: Path) -> None:
    """Nothing goes on unseen after kill -9 of the sweep, and the same command goes on with the step that was saved."""
    words = SWEEP
    environment = runs.environment(shared / "cache")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(runs.command("train", *words), cwd=tmp_path, env=environment, **pipes) as process:
        harness.until(process, "saved step 10")
        process.kill()
        assert process.stdout is not None
        rest = process.stdout.read()  # ends when the job has
    assert "SIGTERM: step" in rest
    assert not (tmp_path / "sweep" / "0" / "lock").exists()
    done = subprocess.run(runs.command("train", *words), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resuming at step" in done.stderr
    harness.check_same(tmp_path / "sweep" / "0", shared / "golden")
