"""A disk that is full at some size of file: the run ends with an error, no file under its final name is cut short, and it goes on later."""

import resource
from pathlib import Path

import harness
import pytest

pytestmark = pytest.mark.faults


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "metrics.jsonl",
        "split.csv",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("config.yaml", "per_user.parquet", "rankings.parquet")),
    ],
)
def test_no_file_is_cut_short(shared: Path, tmp_path: Path, name: str) -> None:
    """The limit is just below the size of the file that is named, so that this one fails, or a larger one before it."""
    folder, limit = tmp_path / "run", sizes(shared / "golden")[name] - 1
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    code, output = harness.train(shared, *harness.arguments(folder), before=full)
    assert code == 1, output
    assert "Error" in output
    harness.check_whole(folder)
    assert not (folder / "results.json").exists()
    if (folder / "config.yaml").exists():
        harness.resume(shared, folder)
    else:
        code, output = harness.train(shared, f"resume={folder}")
        assert code == 1
        assert "no config.yaml in it; give the folder of a run" in output


def test_a_save_that_fails_leaves_the_step_before(shared: Path, tmp_path: Path) -> None:
    """From step 20 on no checkpoint finds room; what is there is used when there is room again."""
    folder = harness.interrupted(shared, tmp_path / "run", "saved step 20")
    largest = max(path.stat().st_size for path in (folder / "checkpoints").rglob("*") if path.is_file())
    limit = max(sizes(folder)["metrics.jsonl"] + 10_000, largest - 1)
    if limit > largest:
        pytest.skip(f"metrics.jsonl alone is larger than a checkpoint's largest file of {largest} bytes")
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    code, output = harness.train(shared, f"resume={folder}", before=full)
    assert code == 1, output
    assert "saving step 30" in output
    assert "saved step 30" not in output
    harness.resume(shared, folder)
