"""Runs of seconds in processes of their own, disturbed by a signal, a full disk or a changed file, and what must be true of them after."""

import functools
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from safetensors.numpy import load_file

from cold_jax.errors import RunError
from cold_jax.runs.folder import Run
from cold_jax.storage.sealed import unseal

STEPS = 60
SMALL = (
    "+experiment=smoke",
    "baseline=[popularity]",
    "logger.console.every=1",
    f"loop.max_steps={STEPS}",
    "loop.validate_every=10",
    "loop.patience=null",
    "batching.size=16",
    "batching.negatives=16",
    "batching.support=[0,2]",
    "encoder.width=16",
    "encoder.ffn_width=24",
)


def arguments(folder: Path, *overrides: str) -> list[str]:
    return [*SMALL, f"hydra.run.dir={folder}", *overrides]


@functools.cache
def can_mount() -> bool:
    """Whether file systems can be mounted for a child alone, which takes no root."""
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0 if shutil.which("unshare") else False


def start(
    shared: Path, *command: str, largest: int | None = None, first: str = "", mounts: str = "", **environment: str
) -> subprocess.Popen[str]:
    """A training in a session of its own; `shared` holds the cache. It can write no file of more than `largest` bytes.

    first: Python that runs before it. mounts: shell commands that run before it, and whose file systems it sees alone.
    """
    if mounts and not can_mount():
        pytest.skip("no user namespaces here")
    before = ["unshare", "-rm", "sh", "-ec", f'{mounts}\nexec "$@"', "sh"] if mounts else []
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}))"
    train = f"{limited if largest else ''}\n{first}\nfrom cold_jax.train import main; main()"
    return subprocess.Popen(
        [*before, sys.executable, "-c", train, *command],
        cwd=shared,
        env=runs.environment(shared / "cache") | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until(child: subprocess.Popen[str], words: str) -> list[str]:
    """The lines that the run writes, up to the first with these words in it."""
    assert child.stdout is not None
    lines: list[str] = []
    for line in child.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"no line with {words!r} in:\n{''.join(lines)}")


def finish(child: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and the rest of what it writes."""
    assert child.stdout is not None
    rest = child.stdout.read()
    return child.wait(60), rest


def train(
    shared: Path, *command: str, largest: int | None = None, first: str = "", mounts: str = "", **environment: str
) -> tuple[int, str]:
    with start(shared, *command, largest=largest, first=first, mounts=mounts, **environment) as child:
        return finish(child)


def read_only(folder: Path) -> str:
    """Mounts a folder read-only. Modes would prove nothing: tests may run as root."""
    quoted = shlex.quote(str(folder))
    return f"mount --bind {quoted} {quoted}; mount -o remount,bind,ro {quoted}"


def interrupted(shared: Path, folder: Path, words: str = "saved step 20") -> Path:
    """The folder of a run that was killed when it had written these words."""
    with start(shared, *arguments(folder)) as child:
        until(child, words)
        child.kill()
    return folder


def check_whole(folder: Path) -> None:
    """Every file that has its final name is whole, whatever happened."""
    run = Run(folder)
    readers: dict[str, Callable[[], Any]] = {
        "config.yaml": run.read_config,
        "split.csv": run.read_split,
        "per_user.parquet": run.read_per_user,
        "rankings.parquet": run.read_rankings,
        "overrides.json": lambda: unseal(json.loads((folder / "overrides.json").read_text()), "", RunError),
        "metrics.jsonl": run.read_metrics,
        "results.json": run.read_results,
        "delta.safetensors": run.read_delta,
        "head.safetensors": lambda: load_file(folder / "head.safetensors"),
    }
    for path in folder.iterdir():
        assert path.name in {*readers, "checkpoints", "cold_jax.log", "lock"} or path.suffix == ".tmp", path
        readers.get(path.name, lambda: None)()
    if (folder / "split.csv").exists():
        assert len(run.read_split().user_id) == 200 * 20


def check_same(folder: Path, golden: Path) -> None:
    """The run is finished, clean, and no bit of what it found differs from the run that nothing disturbed."""
    assert runs.fingerprint(folder) == runs.fingerprint(golden)
    for name in ("split.csv", "per_user.parquet", "rankings.parquet"):
        assert (folder / name).read_bytes() == (golden / name).read_bytes(), name
    check_whole(folder)
    assert runs.unclean(folder) == []
    assert not (folder / "lock").exists()


def resume(shared: Path, folder: Path) -> None:
    code, output = train(shared, f"resume={folder}")
    assert code == 0, output
    check_same(folder, shared / "golden")


assert sys.platform != "win32", "signals and limits of POSIX"
