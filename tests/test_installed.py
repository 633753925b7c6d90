"""The wheel in a fresh virtual environment, outside the checkout: what a user gets."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.network


def run(*command: str | Path, cwd: Path, cache: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XLA_FLAGS", "WANDB_MODE")}
    if cache is not None:
        environment["COLD_JAX_CACHE"] = str(cache)
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_every_config_and_no_test(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    ours = {f"cold_jax/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert ours <= set(names)
    assert not [name for name in names if name.startswith(("tests", "conf"))]


def test_it_trains_anywhere(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    there = tmp_path / "venv" / "bin"
    run(there / "python", "-m", "pip", "install", "--quiet", wheel, "--constraint", ROOT / "constraints.txt", cwd=tmp_path)
    run(there / "cold-jax-train", "+experiment=smoke", "loop.max_steps=2", "logger=none", cwd=tmp_path, cache=tmp_path / "cache")
    (results,) = (tmp_path / "runs").glob("*/results.json")
    assert json.loads(results.read_text())["experiment"] == "smoke"
    run(there / "python", "-m", "cold_jax.evaluate", f"run={results.parent}", cwd=tmp_path, cache=tmp_path / "cache")
    assert "smoke" in run(there / "cold-jax-report", tmp_path / "runs", cwd=tmp_path)
