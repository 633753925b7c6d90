"""The learning curves of runs."""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from cold_jax.errors import RunError, WriteError
from cold_jax.runs.compare import RunRecord
from cold_jax.runs.folder import Run
from cold_jax.runs.page.charts import Chart, colour, field, short, spec

log = logging.getLogger(__name__)

MOST_POINTS = 3000  # of a chart
LEAST_POINTS = 20  # of a run


def learning_curves(groups: Mapping[str, Sequence[RunRecord]]) -> list[Chart]:
    """Of validation, and of the training loss; a run without a readable metrics.jsonl has none."""
    runs = sum(map(len, groups.values()))
    limit = max(MOST_POINTS // max(runs, 1), LEAST_POINTS)
    drawn = []
    for key, title, what in (("metric", "Validation", "validation metric"), ("loss", "Training loss", "loss")):
        points = [
            {
                "name": short(name),
                "method": name,
                "run": f"{name}, seed {run.results['seed']}, {n}",
                "step": record["step"],
                "value": record[key],
            }
            for name, members in groups.items()
            for n, run in enumerate(members)
            for record in thinned([record for record in records(run) if key in record], limit)
        ]
        names = list(dict.fromkeys(point["name"] for point in points))
        if len({point["step"] for point in points}) < 2:
            continue
        drawn.append(
            Chart(
                title,
                "A line for each run; a step is kept by validation." if key == "metric" else "A line for each run.",
                spec(
                    points,
                    f"{what} by training step, {len(names)} methods",
                    mark={"type": "line", "point": key == "metric", "tooltip": True, "interpolate": "linear"},
                    encoding={
                        "x": field("step", "quantitative", "step"),
                        "y": field("value", "quantitative", what, scale={"zero": False}),
                        "color": colour(names),
                        "detail": field("run", "nominal"),
                        "tooltip": [
                            field("run", "nominal", "run"),
                            field("step", "quantitative", "step"),
                            field("value", "quantitative", what, format=".4f"),
                        ],
                    },
                ),
            )
        )
    return drawn


def records(run: RunRecord) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; none where it is absent, or damaged, which is logged."""
    try:
        return Run(run.path).read_metrics()
    except (RunError, WriteError, OSError) as error:
        if (run.path / "metrics.jsonl").exists():
            _warn_once(f"{error}; the run has no curve")
        return []


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)


def thinned(values: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """Evenly, with the first and the last."""
    if len(values) <= limit:
        return values
    return [values[round(n * (len(values) - 1) / (limit - 1))] for n in range(limit)]
