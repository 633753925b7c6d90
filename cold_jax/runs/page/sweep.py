"""A sweep in the page of a report: which settings differ, and what validation makes of them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from cold_jax.errors import RunError
from cold_jax.runs.compare import RunRecord
from cold_jax.runs.finished import kept_metric
from cold_jax.runs.page.charts import Chart, Spec, field, spec

LEAST_RUNS = 4
MOST_AXES = 8
WIDE = 100  # largest / smallest value, from which an axis is logarithmic


class Axis(NamedTuple):
    """A setting that differs between runs."""

    key: str
    values: list[Any]  # one for each run
    place_R: np.ndarray  # in [0, 1]
    importance: float


def charts(runs: Sequence[RunRecord]) -> list[Chart]:
    """Parallel coordinates and importances of the settings; nothing where less than two differ or too few runs have been validated."""
    validated = [(run, value) for run in runs if (value := validation_metric(run)) is not None]
    if len(validated) < LEAST_RUNS or len({value for _, value in validated}) < 2:
        return []
    value_R = np.array([value for _, value in validated])
    axes = axes_of([run for run, _ in validated], value_R)
    if not axes:
        return []
    drawn = [_importances(axes)]
    return [_parallel(axes, value_R), *drawn] if len(axes) > 1 else drawn


def validation_metric(run: RunRecord) -> float | None:
    try:
        return kept_metric(run.path)
    except (RunError, OSError, KeyError, TypeError, ValueError):  # a damaged file
        return None


def axes_of(runs: Sequence[RunRecord], value_R: np.ndarray) -> list[Axis]:
    """The most important first. A setting that only some runs have is left out; so is the path of a run's data."""
    shared = set.intersection(*(set(run.config) for run in runs))
    found = []
    for key in (key for key in runs[0].config if key in shared):
        values = [run.config[key] for run in runs]
        if len({str(value) for value in values}) > 1:
            name = key.removesuffix("._target_")
            shown = [str(value).rpartition(".")[2] for value in values] if key.endswith("._target_") else values
            found.append(Axis(name, shown, places(shown), importance(shown, value_R)))
    return sorted(found, key=lambda axis: -axis.importance)[:MOST_AXES]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def places(values: Sequence[Any]) -> np.ndarray:
    """Numbers in proportion, by their logarithms where they are far apart; other values in order, evenly."""
    if all(is_number(value) for value in values):
        x_R = np.array(values, float)
        x_R = np.log(x_R) if x_R.min() > 0 and x_R.max() / x_R.min() >= WIDE else x_R
        return (x_R - x_R.min()) / (x_R.max() - x_R.min())
    names = sorted({str(value) for value in values})
    return np.array([names.index(str(value)) / max(len(names) - 1, 1) for value in values])


def importance(values: Sequence[Any], value_R: np.ndarray) -> float:
    """The share of the metric's variance that the setting alone explains.

    η², the variance between its values over the whole; of a number with a value of its own in most runs ρ², Spearman's.
    """
    names = [str(value) for value in values]
    if all(is_number(value) for value in values) and len(set(names)) > len(names) / 2:
        rank_R, rank_of_value_R = stats.rankdata(np.array(values, float)), stats.rankdata(value_R)
        return float(np.corrcoef(rank_R, rank_of_value_R)[0, 1] ** 2)
    total = float(((value_R - value_R.mean()) ** 2).sum())
    at_R = np.unique(names, return_inverse=True)[1]
    mean_K = np.bincount(at_R, value_R) / np.bincount(at_R)
    return float(((mean_K[at_R] - value_R.mean()) ** 2).sum()) / total


def _parallel(axes: Sequence[Axis], value_R: np.ndarray) -> Chart:
    metric = Axis("validation", value_R.tolist(), places(value_R.tolist()), 1.0)
    drawn = [*axes, metric]
    label_of = labels([axis.key for axis in drawn])
    lines = [
        {
            "axis": label_of[axis.key],
            "run": run,
            "place": float(axis.place_R[run]),
            "shown": text(axis.values[run]),
            "metric": value,
        }
        for axis in drawn
        for run, value in enumerate(value_R.tolist())
    ]
    categories = {label_of[axis.key] for axis in drawn if not all(is_number(value) for value in axis.values)}
    ends = [line for line in lines if line["place"] in (0, 1) or line["axis"] in categories]
    x = field(
        "axis",
        "nominal",
        None,
        sort=[label_of[axis.key] for axis in drawn],
        scale={"padding": 0.5},
        axis={"orient": "top", "labelAngle": 0, "labelPadding": 18, "labelLimit": 110, "domain": False, "ticks": False},
    )
    y = field("place", "quantitative", None, axis=None)
    upright = {
        "data": {"values": [{"axis": label_of[axis.key]} for axis in drawn]},
        "mark": {"type": "rule", "opacity": 0.5},
        "encoding": {"x": x, "y": {"value": 0}, "y2": {"value": "height"}},
    }

    return Chart(
        "Settings of the sweep",
        "A line for each run, through its value of each setting; on the right, and in colour, the validation metric.",
        spec(
            [],
            f"parallel coordinates of {len(value_R)} runs over {len(axes)} settings",
            height=280,
            layer=[
                _through(lines, x, y),
                upright,
                _texts([line for line in ends if line["place"] == 1], x, y, dy=-10),
                _texts([line for line in ends if line["place"] == 0], x, y, dy=12),
                _texts([line for line in ends if 0 < line["place"] < 1], x, y, dx=5, align="left"),
            ],
        ),
    )


def _through(lines: Sequence[Spec], x: Spec, y: Spec) -> Spec:
    scale = {"scheme": {"name": "viridis", "extent": [0.3, 1]}}  # bright enough on black
    legend = {"orient": "bottom", "direction": "horizontal", "gradientLength": 160, "columns": 1}
    return {
        "data": {"values": lines},
        "mark": {"type": "line", "opacity": 0.8, "strokeWidth": 2, "tooltip": True},
        "encoding": {
            "x": x,
            "y": y,
            "detail": field("run", "nominal"),
            "color": field("metric", "quantitative", "validation metric", scale=scale, legend=legend),
            "tooltip": [
                field("axis", "nominal", "setting"),
                field("shown", "nominal", "value"),
                field("metric", "quantitative", "validation metric", format=".4f"),
            ],
        },
    }


def _texts(lines: Sequence[Spec], x: Spec, y: Spec, **mark: Any) -> Spec:
    """The values of the axes at some places, each once."""
    shown = list({(line["axis"], line["place"]): line for line in lines}.values())
    encoding = {"x": x, "y": y, "text": field("shown", "nominal")}
    return {"data": {"values": shown}, "mark": {"type": "text", "fontSize": 11, "limit": 90, **mark}, "encoding": encoding}


def labels(keys: Sequence[str]) -> dict[str, str]:
    """The last name of each key, where no other key has it."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def _importances(axes: Sequence[Axis]) -> Chart:
    bars = [{"name": axis.key, "value": axis.importance} for axis in axes]
    return Chart(
        "Importance of the settings",
        "The share of the validation metric's variance that a setting alone explains: η², or Spearman's ρ² of a setting with a value of its own in most runs. "
        "Interactions of settings are not in it.",
        spec(
            bars,
            f"importance of {len(bars)} settings",
            height=max(30 * len(bars), 60),
            mark={"type": "bar", "color": "#0072B2", "tooltip": True},
            encoding={
                "y": field("name", "nominal", None, sort=[axis.key for axis in axes], axis={"labelLimit": 140}),
                "x": field("value", "quantitative", "share of variance", scale={"domain": [0, 1]}),
            },
        ),
    )


def text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
