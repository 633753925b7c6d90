"""Settings of a sweep: where they stand on an axis, and how much they explain."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_compare import write

from cold_jax.runs.compare import scan_runs
from cold_jax.runs.folder import Run
from cold_jax.runs.page import sweep


def test_importance_of_categories_is_that_of_an_analysis_of_variance() -> None:
    generator = np.random.default_rng(0)
    names = np.array(list("aabbbcccc"))
    value_R = generator.normal(size=9)
    f = stats.f_oneway(*(value_R[names == name] for name in "abc")).statistic
    found = sweep.importance(names.tolist(), value_R)
    assert found / (1 - found) * (9 - 3) / (3 - 1) == pytest.approx(f)


def test_importance_of_numbers_is_spearmans() -> None:
    x_R, value_R = np.random.default_rng(1).normal(size=(2, 12))
    assert sweep.importance(x_R.tolist(), value_R) == pytest.approx(stats.spearmanr(x_R, value_R)[0] ** 2)
    assert sweep.importance([1, 10, 100, 1000], np.array([0.1, 0.2, 0.3, 0.9])) == pytest.approx(1)


def test_places() -> None:
    np.testing.assert_allclose(sweep.places([1, 2, 5]), [0, 0.25, 1])
    np.testing.assert_allclose(sweep.places([0.001, 0.1, 0.01]), [0, 1, 0.5])
    np.testing.assert_allclose(sweep.places(["b", "a", None]), [1, 0.5, 0])
    np.testing.assert_allclose(sweep.places([0, 1000, 500]), [0, 1, 0.5])
    assert sweep.labels(["a.width", "b.width", "a.rank"]) == {"a.width": "a.width", "b.width": "b.width", "a.rank": "rank"}


def test_the_objective_is_validation_at_the_step_that_was_kept(tmp_path: Path) -> None:
    for n, rank in enumerate((2, 4, 8, 16)):
        folder = write(
            tmp_path / str(n), config=f"adapter: {{_target_: cold_jax.adapters.lora.Lora, rank: {rank}, alpha: {n % 2}}}"
        )
        results = Run(folder).read_results()
        Run(folder).write_results({**results, "best_step": 5})
        for step, metric in ((0, 0.9), (5, n / 10), (10, 0.7)):
            Run(folder).append_metrics({"step": step, "epoch": 0.0, "metric": metric, "best_step": 5})
    parallel, importances = sweep.charts(scan_runs([tmp_path]).finished)
    bars = {bar["name"]: bar["value"] for bar in importances.spec["data"]["values"]}
    assert bars == {"adapter.rank": pytest.approx(1), "adapter.alpha": pytest.approx(0.2)}
    lines = parallel.spec["layer"][0]["data"]["values"]
    assert {line["metric"] for line in lines} == {0, 0.1, 0.2, 0.3}
    assert {line["axis"] for line in lines} == {"rank", "alpha", "validation"}
    assert sweep.charts(scan_runs([tmp_path]).finished[:3]) == []
