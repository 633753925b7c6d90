"""A cache that is damaged, or filled by many processes at once: the figures are those of a run that nothing disturbed."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import harness
import pytest
import runs

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def damage(path: Path, how: str, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == "zeros":
        data = bytearray(len(data))
    path.write_bytes(data[: draw.randrange(len(data))] if how == "cut" else data)


@pytest.mark.parametrize("how", ["flipped", "cut", "zeros"])
def test_damaged_entries_of_every_kind_are_made_anew(shared: Path, tmp_path: Path, how: str) -> None:
    """Tokens, vectors and what XLA compiled. The cache is trusted, so a damaged program must never be run."""
    cache, draw = tmp_path / "cache", random.Random(0)
    shutil.copytree(shared / "cache", cache)
    entries = [path for path in sorted(cache.rglob("*")) if path.is_file() and path.stat().st_size]
    assert {"programs"} < {path.relative_to(cache).parts[0] for path in entries}
    for path in entries:
        if not path.name.endswith("-atime"):  # JAX's note of when a program was used
            damage(path, how, draw)
    code, output = harness.train(shared, *harness.arguments(tmp_path / "run"), COLD_JAX_CACHE=str(cache))
    assert code == 0, output
    assert "Traceback" not in output
    harness.check_same(tmp_path / "run", shared / "golden")


ROUNDS, WORKERS = 20, 8
WORKER = """
import sys
import numpy as np
from cold_jax.storage import cache

def build():
    print("built", end=" ", flush=True)
    return {"a": np.full(50_000, n), "b": np.arange(n)}

print("ready", flush=True)
for line in sys.stdin:
    n = int(line)
    found = cache.arrays("things", {"n": n}, build)
    print((found["a"] == n).all() and found["b"].tolist() == list(range(n)), flush=True)
"""
VICTIM = """
import os, signal, sys
import numpy as np
from cold_jax.storage import cache
from cold_jax.storage.files import private_folder, write_synced

def build():
    with private_folder(cache.root() / "things") as own:
        write_synced(own / "half", b"half")
        os.kill(os.getpid(), signal.SIGKILL)

sys.stdin.readline()
cache.arrays("things", {"n": int(sys.argv[1])}, build)
"""


def test_eight_processes_on_a_cold_cache_twenty_times(tmp_path: Path) -> None:
    """In each round one more process is killed while it builds."""
    environment = runs.environment(tmp_path / "cache")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER], **pipes) for _ in range(WORKERS)]
    built, right, killed = [], 0, 0
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for n in range(ROUNDS):
        victim = subprocess.Popen([sys.executable, "-c", VICTIM, str(n)], **pipes)
        for process, line in [(victim, "go"), *((worker, str(n)) for worker in workers)]:
            assert process.stdin is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()
        lines = [worker.stdout.readline() for worker in workers if worker.stdout is not None]
        right += sum(line.endswith("True\n") for line in lines)
        built.append(sum(line.startswith("built") for line in lines))
        victim.communicate(timeout=60)
        killed += victim.returncode == -signal.SIGKILL
    for worker in workers:
        worker.communicate(timeout=60)
    assert right == ROUNDS * WORKERS
    assert max(built) <= WORKERS
    next_start = f"from cold_jax.storage import cache; cache.arrays('things', {{'n': {ROUNDS}}}, lambda: {{}})"
    subprocess.run([sys.executable, "-c", next_start], env=environment, check=True)
    assert [path for path in (tmp_path / "cache" / "things").iterdir() if path.suffix == ".tmp"] == []
    assert killed + sum(built) >= ROUNDS
