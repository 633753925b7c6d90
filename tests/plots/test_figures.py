"""The figures hold the series' numbers, and a file is the same each time."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from cold_jax.errors import ConfigError
from cold_jax.plots import figures, series
from cold_jax.plots.embeddings import ItemMap
from cold_jax.runs.finished import FinishedRun


def test_the_curve_has_start_band_and_kept_step(finished: Path) -> None:
    found = series.learning_curve(finished)
    left, right = figures.draw_learning_curve(found, "recall@20").axes
    np.testing.assert_array_equal(left.lines[0].get_xydata(), np.column_stack([found.loss.x, found.loss.y]))
    drawn = {line.get_label(): line for line in right.lines}
    assert set(drawn["start"].get_ydata()) == {found.start}
    np.testing.assert_array_equal(drawn["mean"].get_ydata(), found.metric.y)
    assert list(drawn["kept"].get_xdata()) == [found.best_step]
    corner = right.collections[0].get_paths()[0].vertices
    assert corner[:, 1].max() == pytest.approx(max(found.unsure.high or []))
    assert corner[:, 1].min() == pytest.approx(min(found.unsure.low or []))
    _, right = figures.draw_learning_curve(found._replace(best_step=int(found.metric.x[-1])), "recall@20").axes
    kept = next(line for line in right.lines if line.get_label() == "kept")
    np.testing.assert_array_equal(kept.get_xydata(), [[found.metric.x[-1], found.metric.y[-1]]])


def test_a_line_for_each_method(finished: Path) -> None:
    parts, lines = series.quality(FinishedRun(finished), "recall@20")
    (ax,) = figures.draw_quality(parts, lines, "recall@20").axes
    drawn = {line.get_label(): line for line in ax.lines}
    assert set(drawn) == {"model", "popularity", "random"}
    for line in lines:
        np.testing.assert_array_equal(drawn[line.label].get_xydata(), np.column_stack([line.x, line.y]))


def test_the_model_has_a_band_along_k_and_bars_beside_parts() -> None:
    model = series.Series("model", [0.0, 5.0], [0.2, 0.3], [0.1, 0.25], [0.3, 0.35])
    (ax,) = figures.draw_quality(["support_0", "support_5"], [model], "recall@20").axes
    corners = {(x, round(y, 6)) for x, y in ax.collections[0].get_paths()[0].vertices.tolist()}
    assert corners == {(0, 0.1), (0, 0.3), (5, 0.25), (5, 0.35)}
    (ax,) = figures.draw_quality(["warm", "cold"], [model], "recall@20").axes
    assert [path.vertices.tolist() for path in ax.collections[0].get_paths()] == [[[0, 0.1], [0, 0.3]], [[5, 0.25], [5, 0.35]]]


def test_bars_and_points(finished: Path) -> None:
    bars = series.seconds(FinishedRun(finished))
    (ax,) = figures.draw_seconds(bars).axes
    assert [bar.get_width() for bar in ax.patches] == bars.y
    point_I2 = np.arange(6.0).reshape(3, 2)
    found = ItemMap(point_I2, point_I2 + 1, np.array([False, True, False]), 0.5)
    theta, phi = figures.draw_item_map(found).axes
    np.testing.assert_array_equal(theta.collections[1].get_offsets(), point_I2[[1]])
    np.testing.assert_array_equal(phi.collections[0].get_offsets(), point_I2[[0, 2]] + 1)
    assert theta.get_xlim() == phi.get_xlim()  # one scale, with room for the points of both
    assert theta.get_ylim() == phi.get_ylim()
    assert theta.get_xlim()[0] < 0 < 5 < theta.get_xlim()[1]
    assert theta.get_ylim()[0] < 1 < 6 < theta.get_ylim()[1]
    lines = [series.Series("cold", [0.0, 100.0], [0.1, 0.2])]
    (ax,) = figures.draw_quality_by_parameters(lines, "recall@20").axes
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 0.1], [100, 0.2]])


def test_the_same_numbers_give_the_same_file(tmp_path: Path) -> None:
    lines = [series.Series("cold", [0.0, 100.0], [0.1, 0.2])]
    for name in "ab":
        figures.save(figures.draw_quality_by_parameters(lines, "recall@20"), tmp_path / "plots" / f"{name}.svg")
    assert (tmp_path / "plots" / "a.svg").read_bytes() == (tmp_path / "plots" / "b.svg").read_bytes()


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'cold_jax\[plot\]'"):
        figures.require_matplotlib()
    assert mpl
