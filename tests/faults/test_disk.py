"""A disk that is full from some moment on: the run ends with an error, no file is cut short, and with room again it goes on.

A limit on the size of files stands for the disk; it can be set on a running process.
"""

import re
import resource
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
