"""Which files are written."""

import shutil
from pathlib import Path

import pytest

from cold_jax.errors import ConfigError
from cold_jax.plots.draw import PICTURES, draw


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that may be written to."""
    return Path(shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")))


def test_all_pictures_of_a_run(run: Path) -> None:
    written = draw([f"run={run}"], "recall@20", [])
    assert written == [run / "plots" / f"{name}.svg" for name in PICTURES[:-1]]
    assert all(path.read_text().startswith("<?xml") for path in written)


def test_several_runs_have_one_picture_more(run: Path) -> None:
    written = draw([f"run={run}", f"run={run}"], "ndcg@20", ["seconds", "quality_by_parameters"])
    assert [path.stem for path in written] == ["seconds", "seconds", "quality_by_parameters"]


def test_what_has_no_data_is_left_out_with_a_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "metrics.jsonl").unlink()
    assert "learning_curve" not in [path.stem for path in draw([f"run={run}"], "recal@20", [])]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["learning_curve", "quality"]
    with pytest.raises(ConfigError, match="recal@20"):
        draw([f"run={run}"], "recal@20", ["quality"])


@pytest.mark.parametrize(
    ("words", "only", "message"),
    [
        (["runs/a"], [], "runs/a: not run=DIR or KEY=VALUE; as in run=runs/a"),
        (["data.root=x"], [], "run: give the folder"),
        (["run=nowhere"], [], "nowhere: not a finished run"),
        (["run=nowhere"], ["curve"], "--only curve: there is no such picture"),
    ],
)
def test_mistakes_are_one_line(words: list[str], only: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        draw(words, "recall@20", only)
