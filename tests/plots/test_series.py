"""What the pictures show is what the run's folder holds."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_compare import BASE_U, write

from cold_jax.errors import ConfigError, RunError
from cold_jax.plots import series
from cold_jax.runs.finished import FinishedRun


def test_the_learning_curve_is_that_of_metrics_jsonl(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    checks = [line for line in lines if "metric" in line]
    found = series.learning_curve(finished)
    assert found.loss.y == [line["loss"] for line in lines if "loss" in line]
    assert (found.metric.x, found.metric.y) == ([c["step"] for c in checks], [c["metric"] for c in checks])
    assert found.start == checks[0]["metric"]
    assert found.best_step == json.loads((finished / "results.json").read_text())["best_step"]
    assert [part.label for part in found.parts] == ["support_0", "support_1", "support_5", "support_10"]
    assert found.parts[2].y == [c["support_5"] for c in checks]
    assert found.unsure.low is not None
    assert found.unsure.high is not None
    assert found.unsure.x == [c["step"] for c in checks[1:]]
    for low, high, check in zip(found.unsure.low, found.unsure.high, checks[1:], strict=True):
        assert (low + high) / 2 == pytest.approx(found.start)
        assert high - low == pytest.approx(2 * 1.96 * check["standard_error"])


def test_quality_against_k(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    parts, (model, *baselines) = series.quality(FinishedRun(finished), "ndcg@20")
    assert parts == ["support_0", "support_1", "support_5", "support_10"]
    assert model.x == [0, 1, 5, 10]
    assert model.y == [results["test"][part]["ndcg@20"] for part in parts]
    assert {line.label for line in baselines} == {"popularity", "random"}
    assert baselines[0].y == [results["baselines"][baselines[0].label][part]["ndcg@20"] for part in parts]
    assert model.low is not None
    table = pl.read_parquet(finished / "per_user.parquet").filter(
        (pl.col("part") == "support_5") & (pl.col("method") == "model") & (pl.col("metric") == "ndcg@20")
    )
    value_U = table.get_column("value").to_numpy()
    error = np.std(value_U, ddof=1) / math.sqrt(len(value_U))
    assert model.low[2] == pytest.approx(value_U.mean() - 1.96 * error)


def test_a_metric_that_no_part_has_is_refused(finished: Path) -> None:
    with pytest.raises(ConfigError, match="has recal@20; there are"):
        series.quality(FinishedRun(finished), "recal@20")


def test_parts_are_in_their_order(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", baselines={"ridge": BASE_U})
    parts, lines = series.quality(FinishedRun(folder), "recall@20")
    assert parts == sorted(parts, key=["warm", "cold", "overall", "support_5"].index)
    assert lines[1].label == "ridge"


def test_runs_stand_by_their_trained_parameters(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    run, other = FinishedRun(finished), FinishedRun(finished)
    other.__dict__["results"] = {**results, "parameters": {"trained": 7, "frozen": 0}}
    lines = series.quality_by_parameters([run, other], "recall@20")
    assert {line.label for line in lines} == set(results["test"])
    for line in lines:
        assert line.x == [7, results["parameters"]["trained"]]
        assert line.y == [results["test"][line.label]["recall@20"]] * 2


def test_seconds_are_those_of_the_stages(finished: Path) -> None:
    own = {
        name: value for name, value in json.loads((finished / "results.json").read_text())["seconds"].items() if name != "total"
    }
    found = series.seconds(FinishedRun(finished))
    assert dict(zip(found.label.split(", "), found.y, strict=True)) == own
    assert found.y == sorted(found.y, reverse=True)


def test_a_run_that_did_not_train_has_no_curve(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    with pytest.raises((ConfigError, RunError)):
        series.learning_curve(folder)
