"""A disk that is full from some moment on: the run ends with an error, no file is cut short, and with room again it goes on.

A limit on the size of files stands for the disk, as it can be set on a running process; disks that are full or read-only from the start are real.
"""

import re
import resource
import shlex
import shutil
from pathlib import Path

import harness
import pytest

pytestmark = pytest.mark.faults
END = f"saved step {harness.STEPS}"


@pytest.mark.parametrize(
    ("words", "limit", "named"),
    [
        pytest.param("saved step 20", 11_000, "saving step 30", id="checkpoint"),
        pytest.param(END, 12_000, "split.csv", id="split"),
        pytest.param("saved step 20", 6_000, "metrics.jsonl", id="metrics", marks=pytest.mark.slow),
        pytest.param(END, 100_000, "rankings.parquet", id="rankings", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_finds_no_room_goes_on_later(shared: Path, tmp_path: Path, words: str, limit: int, named: str) -> None:
    folder = tmp_path / "run"
    with harness.start(shared, *harness.arguments(folder)) as child:
        harness.until(child, words)
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (limit, limit))
        code, output = harness.finish(child)
    assert code == 1, output
    assert named in output
    assert re.search(r"[\d,]+ bytes are free on its disk", output)
    harness.check_whole(folder)
    names = {path.name for path in folder.iterdir()}
    assert named not in names - {"metrics.jsonl"}
    assert "results.json" not in names
    if named == "saving step 30":
        assert "saved step 30" not in output
        kept = {path.name for path in (folder / "checkpoints").iterdir() if path.name.isdigit()}
        assert {"10", "20"} <= kept <= {"0", "10", "20"}
    harness.resume(shared, folder)


@pytest.mark.parametrize("largest", [1_000, 10_000])
def test_nor_does_one_that_finds_none_from_the_start(shared: Path, tmp_path: Path, largest: int) -> None:
    folder = tmp_path / "run"
    code, output = harness.train(shared, *harness.arguments(folder), largest=largest)
    assert code == 1, output
    assert "bytes are free on its disk" in output
    if folder.exists():  # it is gone again where no step was saved
        assert not {"split.csv", "results.json"} & {path.name for path in folder.iterdir()}
        harness.check_whole(folder)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_disk_that_is_too_small_is_named_before_the_first_step(shared: Path, tmp_path: Path) -> None:
    disk, before = tmp_path / "disk", cpu_seconds()
    disk.mkdir()
    mounts = f"mount -t tmpfs -o size=200k tmpfs {shlex.quote(str(disk))}"
    code, output = harness.train(shared, *harness.arguments(disk / "run"), mounts=mounts)
    assert code == 1, output
    found = re.search(
        r"error: \S+/disk/run/checkpoints: 4 checkpoints of ([\d,]+) bytes need ([\d,]+), and ([\d,]+) bytes are free on the disk; make room",
        output,
    )
    assert found, output
    size, needed, free = (int(number.replace(",", "")) for number in found.groups())
    assert free < needed == 4 * size
    assert free <= 200 * 1024
    assert "step 1/" not in output
    assert "Traceback" not in output
    assert cpu_seconds() - before < 15


def test_a_folder_that_is_read_only_is_named_at_once(shared: Path, tmp_path: Path) -> None:
    disk, before = tmp_path / "disk", cpu_seconds()
    disk.mkdir()
    code, output = harness.train(shared, *harness.arguments(disk / "run"), mounts=harness.read_only(disk))
    assert code == 1, output
    assert re.search(rf"^error: {disk}\S*: Read-only file system", output, re.MULTILINE), output
    assert "Traceback" not in output
    assert "reading the data" not in output
    assert cpu_seconds() - before < 6


@pytest.mark.slow
@pytest.mark.parametrize("warm", [False, True])
def test_a_cache_that_is_read_only_changes_no_figure(shared: Path, tmp_path: Path, warm: bool) -> None:
    cache = tmp_path / "cache"
    if warm:
        shutil.copytree(shared / "cache", cache)
    cache.mkdir(exist_ok=True)
    command = harness.arguments(tmp_path / "run")
    code, output = harness.train(shared, *command, mounts=harness.read_only(cache), COLD_JAX_CACHE=str(cache))
    assert code == 0, output
    assert output.count("COLD_JAX_CACHE") == (0 if warm else 1), output  # once, where something was to be written
    assert "persistent compilation cache" not in output
    harness.check_same(tmp_path / "run", shared / "golden")
    assert warm or list(cache.iterdir()) == []
