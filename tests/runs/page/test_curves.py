"""Learning curves."""

import itertools
from pathlib import Path

import pytest
from test_compare import write

from cold_jax.runs.compare import scan_runs
from cold_jax.runs.folder import Run
from cold_jax.runs.page import curves


def test_lines_of_validation_and_loss(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    for step in range(6):
        Run(folder).append_metrics({"step": step, "epoch": 0.0, "loss": 1 / (step + 1)})
    for step in (0, 5):
        Run(folder).append_metrics({"step": step, "epoch": 0.0, "metric": step / 10})
    [run] = scan_runs([tmp_path]).finished
    other = Run(write(tmp_path / "b", seed=2))
    for step in range(2):
        other.append_metrics({"step": step, "epoch": 0.0, "loss": 7.0})
    _, of_both = curves.learning_curves({"#1 a": sorted(scan_runs([tmp_path]).finished, key=lambda one: one.path)})
    assert [point["value"] for point in of_both.spec["data"]["values"]][-3:] == [1 / 6, 7, 7]
    validation, loss = curves.learning_curves({"#1 a": [run]})
    assert [(point["step"], point["value"]) for point in validation.spec["data"]["values"]] == [(0, 0), (5, 0.5)]
    assert [point["value"] for point in loss.spec["data"]["values"]] == [1 / (step + 1) for step in range(6)]
    assert validation.spec["data"]["values"][0]["name"] == "#1"


def test_a_run_without_readable_lines_has_no_curve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write(tmp_path / "a")
    [run] = scan_runs([tmp_path]).finished
    assert curves.learning_curves({"a": [run]}) == []
    assert not caplog.messages
    (folder / "metrics.jsonl").write_text("{}\n")
    assert curves.learning_curves({"a": [run]}) == []
    [message] = caplog.messages
    assert "metrics.jsonl:1: damaged" in message
    assert message.endswith("; the run has no curve")


def test_thinned_keeps_both_ends() -> None:
    values = [{"step": step} for step in range(1000)]
    kept = [value["step"] for value in curves.thinned(values, 21)]
    assert (len(kept), kept[0], kept[-1]) == (21, 0, 999)
    assert max(b - a for a, b in itertools.pairwise(kept)) <= 51
    assert curves.thinned(values[:5], 21) == values[:5]
