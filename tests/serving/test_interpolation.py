"""The share of Δθ that validation chooses."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import runs
from safetensors.numpy import load_file

from cold_jax.runs.folder import Run


def test_alpha_is_chosen_on_validation(finished: Path, tmp_path: Path) -> None:
    """At 1 the metric is that of the kept step, which the training wrote down; what is exported is φ at the best."""
    alphas = "alpha=[0,0.5,1]"
    done = runs.run("export", f"run={finished}", f"to={tmp_path / 'best'}", alphas, cwd=tmp_path, cache=finished.parent / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"alpha=([0-9.]+): recall@20 ([0-9.]+) on validation", done.stdout)
    assert [alpha for alpha, _ in found] == ["0", "0.5", "1"]
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    validations = {line["step"]: line for line in lines if "metric" in line}
    assert float(found[2][1]) == pytest.approx(validations[list(validations.values())[-1]["best_step"]]["metric"], abs=6e-5)
    best = max(found, key=lambda line: float(line[1]))[0]
    single = f"to={tmp_path / 'single'}", f"alpha={best}"
    assert runs.run("export", f"run={finished}", *single, cwd=tmp_path, cache=finished.parent / "cache").returncode == 0
    exported = [load_file(tmp_path / name / "model.safetensors") for name in ("best", "single")]
    for name, value in exported[0].items():
        np.testing.assert_array_equal(value, exported[1][name], err_msg=name)


def test_alpha_is_not_chosen_on_other_data(finished: Path, tmp_path: Path) -> None:
    """What is held out there may have been trained on."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    results = Run(run).read_results()
    Run(run).write_results({**results, "digests": {**results["digests"], "split": "another"}})
    arguments = f"run={run}", f"to={tmp_path / 'to'}"
    done = runs.run("export", *arguments, "alpha=[0,1]", cwd=tmp_path, cache=finished.parent / "cache")
    assert done.returncode == 1
    assert f"alpha: the split is not that which {run} was trained on" in done.stderr
    assert not (tmp_path / "to").exists()
    assert runs.run("export", *arguments, "alpha=0.5", cwd=tmp_path, cache=finished.parent / "cache").returncode == 0
