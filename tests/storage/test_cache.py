"""The cache gives back what was put in, whatever happens to its files."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from cold_jax.errors import ConfigError
from cold_jax.storage import cache
from cold_jax.storage.files import digest

ENTRY = {
    "token_N": np.arange(7, dtype=np.int32),
    "vector_TD": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scalar": np.array(3.5),
    "none": np.zeros((0, 4), np.int64),
    "half": np.array([1.5, -2], ml_dtypes.bfloat16),
    "flag": np.array([True, False]),
}
KEY = {"what": "a test", "length": 3}


def absent() -> dict[str, np.ndarray]:
    raise AssertionError("built, though the entry is there")


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype
        assert found[name].shape == wanted[name].shape
        np.testing.assert_array_equal(found[name], wanted[name])


def files() -> list[Path]:
    return sorted(p for p in cache.root().rglob("*") if p.is_file())


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLD_JAX_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / "own"
    monkeypatch.delenv("COLD_JAX_CACHE")
    assert cache.root() == tmp_path / "xdg" / "cold_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.root() == tmp_path / ".cache" / "cold_jax"


def test_built_once_then_read() -> None:
    assert_same(cache.arrays("things", KEY, lambda: ENTRY), ENTRY)
    assert_same(cache.arrays("things", dict(reversed(KEY.items())), absent), ENTRY)
    assert [p.parent.name for p in files()] == ["things"]


def test_each_key_has_an_entry_of_its_own() -> None:
    for value in (1, "1", 1.5, None, [1]):
        cache.arrays("things", {"value": value}, lambda value=value: {"a": np.array([json.dumps(value) == "1"])})
    assert len(files()) == 5
    assert cache.arrays("things", {"value": 1}, absent)["a"][0]
    assert not cache.arrays("things", {"value": "1"}, absent)["a"][0]


def test_digest_tells_sequences_apart() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), (b"abc",), ("ab", "c", ""), (np.zeros(2, np.int32),), (np.zeros(1, np.int64),)]
    parts += [(np.zeros((2, 1), np.int32),), ("a\x00b",), ("a", "b"), ("str 1\na",)]
    assert len({digest(*p) for p in parts}) == len(parts)


@pytest.mark.parametrize("damage", ["flip", "truncate", "zero", "empty", "other key", "other dtype", "older version"])
def test_a_broken_entry_is_built_again_with_one_warning(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.numpy import save_file

    cache.arrays("things", KEY, lambda: ENTRY)
    (path,) = files()
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(50 if damage == "flip" else 20 if damage == "truncate" else 1):
        broken = bytearray(whole)
        if damage == "flip":
            broken[random.integers(len(whole))] ^= 1 << random.integers(8)
        elif damage == "truncate":
            broken = broken[: random.integers(len(whole))]
        elif damage == "zero":
            broken[-40:] = bytes(40)
        elif damage == "empty":
            broken = bytearray()
        if damage == "other key":
            cache.arrays("things", {"another": 1}, lambda: {"a": np.ones(2)})
            next(p for p in files() if p != path).rename(path)
        elif damage == "other dtype":
            save_file(ENTRY | {"flag": np.array([1, 0], np.uint8)}, path, {"key": json.dumps(KEY), "sha256": "0" * 64})
        elif damage == "older version":
            save_file(ENTRY, path)
        else:
            path.write_bytes(broken)
        caplog.clear()
        assert_same(cache.arrays("things", KEY, lambda: ENTRY), ENTRY)
        # a bit of the header's padding or of a name that JSON spells in two ways may be harmless: then the entry is still right
        assert len(caplog.records) == 1 or damage == "flip"
        assert all(str(path) in record.getMessage() for record in caplog.records)
        assert_same(cache.arrays("things", KEY, absent), ENTRY)


def test_what_cannot_be_written_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COLD_JAX_CACHE", str(tmp_path / "file" / "cache"))  # no folder can be made there, for root neither
    for _ in range(2):
        assert_same(cache.arrays("things", KEY, lambda: ENTRY), ENTRY)
    assert len(caplog.records) == 1
    assert "COLD_JAX_CACHE" in caplog.text


def test_a_full_disk_leaves_no_file() -> None:
    program = """
        import resource, signal
        import numpy as np
        from cold_jax.storage import cache
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        assert (cache.arrays("things", {"a": 1}, lambda: {"a": np.ones(10_000)})["a"] == 1).all()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stderr
    assert [p for p in cache.root().rglob("*") if p.is_file() or p.suffix == ".tmp"] == []


def test_what_dead_processes_left_is_swept(caplog: pytest.LogCaptureFixture) -> None:
    folder = cache.root() / "things"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = socket.gethostname()
    dead, living = folder / f".{child.pid}-{host}-abc.tmp", folder / f".{os.getppid()}-{host}-abc.tmp"
    recent, old = folder / f".{child.pid}-else.where-abc.tmp", folder / ".1-else.where-old.tmp"
    for path in (dead, living, recent, old):
        path.mkdir(parents=True)
        (path / "half").write_text("…")
    os.utime(old, (time.time() - 2e5, time.time() - 2e5))
    cache.arrays("things", KEY, lambda: ENTRY)
    assert {p.name for p in folder.iterdir() if p.suffix == ".tmp"} == {living.name, recent.name}


# its size


def fill(count: int, start: float) -> list[Path]:
    """Entries of 100 kB, each used a second after the one before."""
    made = []
    for n in range(count):
        before = set(files())
        cache.arrays("things", {"n": n}, lambda: {"a": np.zeros(100_000, np.uint8)})
        (path,) = set(files()) - before
        os.utime(path, (start + n, start + n))
        made.append(path)
    return made


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("1000", 1000),
        ("500MB", 500 * 10**6),
        ("20GB", 20 * 10**9),
        ("1.5g", 1_500_000_000),
        (" 2 kB ", 2000),
        ("1T", 10**12),
        ("", 20 * 10**9),
    ],
)
def test_sizes_as_people_write_them(given: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLD_JAX_CACHE_SIZE", given)
    assert cache.limit() == size
    monkeypatch.delenv("COLD_JAX_CACHE_SIZE")
    assert cache.limit() == 20 * 10**9


@pytest.mark.parametrize("given", ["lots", "-1", "1e9", "20 GiB", "GB", "1,000", "nan"])
def test_a_size_that_is_none_is_refused_by_name(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLD_JAX_CACHE_SIZE", given)
    with pytest.raises(ConfigError, match="COLD_JAX_CACHE_SIZE: .* is not a size; give bytes, or as in 500MB"):
        cache.limit()


def test_what_was_not_used_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fill(5, time.time() - 1000)
    cache.arrays("things", {"n": 0}, absent)  # used now
    monkeypatch.setenv("COLD_JAX_CACHE_SIZE", "450kB")
    cache.arrays("things", {"n": "new"}, lambda: {"a": np.zeros(100_000, np.uint8)})
    assert [path.exists() for path in made] == [True, False, False, True, True]
    assert sum(entry.size for entry in cache.entries()) < 450_000
    cache.arrays("things", {"n": "new"}, absent)


def test_a_single_entry_beyond_the_limit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fill(2, time.time() - 1000)
    monkeypatch.setenv("COLD_JAX_CACHE_SIZE", "250kB")
    entry = {"a": np.zeros(300_000, np.uint8)}
    assert_same(cache.arrays("things", {"large": 1}, lambda: entry), entry)
    assert files() == sorted(made)


def test_a_folder_of_files_goes_whole_unless_it_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, age in (("old", 100_000.0), ("new", 10.0)):
        folder = cache.root() / "assets" / name
        (folder / "sub").mkdir(parents=True)
        for path in (folder / "a", folder / "sub" / "b"):
            path.write_bytes(bytes(50_000))
        for path in (folder / "a", folder / "sub" / "b", folder / "sub", folder):
            os.utime(path, (time.time() - age, time.time() - age))
    monkeypatch.setenv("COLD_JAX_CACHE_SIZE", "10kB")
    assert cache.evict() == 100_000
    assert [path.name for path in (cache.root() / "assets").iterdir()] == ["new"]
    assert len([path for path in files() if path.parent.name in ("new", "sub")]) == 2


def test_what_is_being_written_and_what_lies_outside_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = cache.root() / "things" / f".{os.getpid()}-{socket.gethostname()}-x.tmp"
    half.mkdir(parents=True)
    (half / "half").write_bytes(bytes(10_000))
    (tmp_path / "mine").write_bytes(bytes(10_000))
    (cache.root() / "things" / "link").symlink_to(tmp_path)
    monkeypatch.setenv("COLD_JAX_CACHE_SIZE", "0")
    cache.evict()
    assert (half / "half").exists()
    assert (tmp_path / "mine").exists()


WORKER = """
import os, signal, sys
import numpy as np
from cold_jax.storage import cache
from cold_jax.storage.files import private_folder, write_synced
victim = sys.argv[1] == "0"
print("ready", flush=True)
sys.stdin.readline()
for n in range(5):
    if victim and n == 3:
        with private_folder(cache.root() / "things") as own:
            write_synced(own / "half", b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    print((cache.arrays("things", {"n": n}, lambda: {"a": np.full(50_000, n)})["a"] == n).all())
"""


def test_eight_processes_at_once_and_one_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(i)], **pipes) for i in range(8)]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=60)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL, *[0] * 7]
    assert said[1:] == [["True"] * 5] * 7

    cache.arrays("things", {"n": "the next start"}, lambda: ENTRY)
    assert [p.name for p in (cache.root() / "things").iterdir() if p.suffix == ".tmp"] == []
    for n in range(5):
        cache.arrays("things", {"n": n}, absent)
    assert not caplog.records


BUILDER = """
import sys, time
import numpy as np
from cold_jax.storage import cache

def build():
    print("built", flush=True)
    time.sleep(float(sys.argv[1]))
    return {"a": np.arange(3)}

assert cache.arrays("things", {"n": 1}, build)["a"].tolist() == [0, 1, 2]
"""


def test_of_two_processes_one_builds_and_the_other_waits() -> None:
    started = [subprocess.Popen([sys.executable, "-c", BUILDER, "2"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(process.communicate(timeout=60)[0] for process in started) == ["", "built\n"]
    assert [path.suffix for path in (cache.root() / "things").iterdir()] == [".safetensors"]


def test_the_lock_of_a_killed_builder_is_free() -> None:
    first = subprocess.Popen([sys.executable, "-c", BUILDER, "60"], stdout=subprocess.PIPE, text=True)
    assert first.stdout
    assert first.stdout.readline() == "built\n"
    first.kill()
    first.communicate()
    assert cache.arrays("things", {"n": 1}, lambda: {"a": np.arange(4)})["a"].tolist() == [0, 1, 2, 3]
