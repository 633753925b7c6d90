"""python -m cold_jax.evaluate run=DIR."""

from pathlib import Path

import runs


def test_a_checkpoint_gives_the_run_s_figures_again_and_nothing_is_unpickled(finished: Path, tmp_path: Path) -> None:
    trap = "import pickle\ndef loads(*a, **k): raise SystemExit('unpickled')\npickle.loads = pickle.load = loads\n"
    again = runs.run("evaluate", f"run={finished}", cwd=tmp_path, cache=finished.parent / "cache", first=trap)
    assert again.returncode == 0, again.stderr
    assert "the largest difference" in again.stdout
    assert again.stdout.rstrip().endswith(": 0")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    done = runs.run("evaluate", f"run={tmp_path}", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1
    assert "no config.yaml in it; give the folder of a run" in done.stdout + done.stderr
