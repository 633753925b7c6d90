"""Commands as a user gives them, in processes of their own, for the tests that need a whole run."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

VOLATILE = ("seconds", "peak_memory", "versions", "devices", "examples_per_second", "sha256")
XLA_FLAGS = "--xla_backend_optimization_level=0"  # half the time of a short run is compilation


def environment(cache: Path) -> dict[str, str]:
    """A user's, on one device, with a cache of the test's own but for compiled programs, which all tests of a session share."""
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / "programs").exists():
        (cache / "programs").symlink_to(os.environ["TEST_PROGRAMS"])
    settings = {"COLD_JAX_CACHE": str(cache), "WANDB_MODE": "disabled", "PYTHONUNBUFFERED": "1", "XLA_FLAGS": XLA_FLAGS}
    return {**os.environ, **settings}


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"cold_jax.{module}", *arguments]


def run(module: str, *arguments: str, cwd: Path, cache: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(module, *arguments),
        cwd=cwd,
        env=environment(cache) | more,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


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


def unclean(folder: Path) -> list[str]:
    """Files that a writer left half done."""
    return [str(path) for path in folder.rglob("*") if path.name.endswith(".tmp") or "orbax-checkpoint-tmp" in path.name]
