"""How a job in a process of its own is started, and what is said of how it ended; tests/faults/test_jobs_die.py has whole sweeps."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cold_jax.cli import OF_SWEEP, Invocation
from cold_jax.jobs import run_apart


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ("exit 0", None),
        ("exit 3", ""),
        ("exit 7", "its process exited with 7"),
        ("exit 130", "it was interrupted"),
        ("exit 143", "SIGTERM ended it; the same command again goes on from its last step"),
        ("kill -KILL $$", "SIGKILL ended its process, as it does where memory runs out"),
        ("kill -ABRT $$", "SIGABRT ended its process"),
    ],
)
def test_every_end_has_its_reason(ends: str, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "${OF_SWEEP}" "$@" >{tmp_path}/given\n{ends}\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    job = Invocation(tmp_path / "run", ["+experiment=smoke", "seed=2"], tmp_path, 4)
    assert run_apart("train", ["--config-dir", "mine"], job) == why
    of, *command = (tmp_path / "given").read_text().splitlines()
    assert json.loads(of) == {"sweep": str(tmp_path), "number": 4}
    assert command == [
        "-m",
        "cold_jax.train",
        "--config-dir",
        "mine",
        "+experiment=smoke",
        "seed=2",
        f"hydra.run.dir={tmp_path}/run",
        "hydra.mode=RUN",
    ]


def test_a_child_whose_parent_is_gone_gets_sigterm() -> None:
    code = "import time; from cold_jax.jobs import end_with_parent; end_with_parent(); print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(30) == -signal.SIGTERM
