"""Commands as a user gives them, in processes of their own, for the tests that need a whole run."""

import atexit
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forks

ROOT = Path(__file__).parents[1]
VOLATILE = ("seconds", "peak_memory", "versions", "devices", "examples_per_second", "mfu", "utilisation", "sha256")


def environment(cache: Path) -> dict[str, str]:
    """A user's, on one device, with a cache of the test's own but for compiled programs, which all tests of a session share."""
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / "programs").exists():
        (cache / "programs").symlink_to(os.environ["TEST_PROGRAMS"])
    settings = {"COLD_JAX_CACHE": str(cache), "WANDB_MODE": "disabled", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **settings, "XLA_FLAGS": os.environ["TEST_XLA_FLAGS"]}


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"cold_jax.{module}", *arguments]


@functools.cache
def server() -> "subprocess.Popen[str]":
    """The process of this worker that forks itself for each command (forks.py)."""
    started = subprocess.Popen(
        [sys.executable, "-u", forks.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    atexit.register(_end, started)
    return started


def _end(started: "subprocess.Popen[str]") -> None:
    with started:  # closes what it reads from, at whose end it ends
        pass


def run(module: str, *arguments: str, cwd: Path, cache: Path, first: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """How `python -m cold_jax.MODULE ARGUMENTS` ended, started in `cwd` with `more` in its environment, after the Python of `first`."""
    if any(name.startswith("PYTHON") for name in more):  # read when Python starts, not in a fork
        return subprocess.run(
            command(module, *arguments),
            cwd=cwd,
            env=environment(cache) | more,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    with tempfile.TemporaryDirectory() as written:
        out, err = Path(written, "out"), Path(written, "err")
        asked = {"module": module, "arguments": arguments, "cwd": str(cwd), "environment": environment(cache) | more}
        asked["first"] = first
        talk = server()
        assert talk.stdin is not None
        assert talk.stdout is not None
        talk.stdin.write(json.dumps({**asked, "out": str(out), "err": str(err)}) + "\n")
        talk.stdin.flush()
        code = int(talk.stdout.readline())
        return subprocess.CompletedProcess(command(module, *arguments), code, out.read_text(), err.read_text())


def smoke(folder: Path, *overrides: str, steps: int = 6) -> list[str]:
    """Arguments of a run of seconds in a folder of its own."""
    return ["+experiment=smoke", f"loop.max_steps={steps}", "loop.validate_every=3", f"hydra.run.dir={folder}", *overrides]


def fingerprint(folder: Path) -> dict[str, Any]:
    """All that two runs of one config must share, bit for bit."""
    results = {key: value for key, value in json.loads((folder / "results.json").read_text()).items() if key not in VOLATILE}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [{key: value for key, value in line.items() if key not in VOLATILE} for line in lines]
    learned = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("delta.safetensors", "head.safetensors")
    }
    return {"results": results, "steps": steps, **learned}


def edit_config(folder: Path, change: Callable[[str], str]) -> None:
    """Changes a run's config.yaml as somebody would who wants it to be believed: with its digest, which takes no key."""
    body = change((folder / "config.yaml").read_text().partition("# sha256: ")[0])
    (folder / "config.yaml").write_text(f"{body}# sha256: {hashlib.sha256(body.encode()).hexdigest()}\n")


def unclean(folder: Path) -> list[str]:
    """Files that a writer left half done."""
    return [str(path) for path in folder.rglob("*") if path.name.endswith(".tmp") or "orbax-checkpoint-tmp" in path.name]
