"""What the pictures show, read from runs' folders: numbers with labels, nothing of matplotlib."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cold_jax.errors import ConfigError
from cold_jax.runs.finished import FinishedRun
from cold_jax.runs.folder import Run

NORMAL_95 = 1.96  # standard errors on either side of a mean
NO_PART = ("step", "epoch", "metric", "best_step", "gain", "standard_error")  # of a validation's line in metrics.jsonl


class Series(NamedTuple):
    """A line, or points, with an interval of 95 % where there is one; all of one length."""

    label: str
    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


class LearningCurve(NamedTuple):
    """Steps of training and of validation.

    start: the validation metric before the first step. unsure: of each later validation the band round the start within which its
    difference to the start is not significant, paired over users; empty where validation has no values of users.
    """

    loss: Series
    metric: Series
    parts: list[Series]
    start: float
    unsure: Series
    best_step: int


def learning_curve(folder: Path) -> LearningCurve:
    """Of metrics.jsonl. Raises ConfigError where the run did not train."""
    records = Run(folder).read_metrics()
    steps = [record for record in records if "loss" in record]
    checks = [record for record in records if "metric" in record]
    if not steps or not checks:
        raise ConfigError(f"{folder}: nothing was trained, so there is no learning curve")
    start, paired = float(checks[0]["metric"]), [record for record in checks if "standard_error" in record]
    width = [NORMAL_95 * record["standard_error"] for record in paired]
    parts = [name for name in checks[0] if name not in NO_PART]
    return LearningCurve(
        loss=_of("training loss", steps, "loss"),
        metric=_of("mean", checks, "metric"),
        parts=[_of(name, [record for record in checks if name in record], name) for name in parts],
        start=start,
        unsure=Series(
            "95 % around the start",
            [float(record["step"]) for record in paired],
            [start] * len(paired),
            [start - w for w in width],
            [start + w for w in width],
        ),
        best_step=int(checks[-1]["best_step"]),
    )


def _of(label: str, records: Sequence[Mapping[str, Any]], key: str) -> Series:
    return Series(label, [float(record["step"]) for record in records], [float(record[key]) for record in records])


def quality(run: FinishedRun, metric: str) -> tuple[list[str], list[Series]]:
    """(test parts, a line for the model and for each baseline over them). x is k where all parts but `warm` are supports, else a place.

    The model's interval is that of a mean over users. Raises ConfigError where no test part has the metric.
    """
    test = run.results["test"]
    parts = sorted((part for part in test if metric in test[part]), key=_order)
    if not parts:
        known = sorted({name for of in test.values() for name in of})
        raise ConfigError(f"metric: no test part of {run.path} has {metric}; there are {', '.join(known)}")
    supports = [part for part in parts if part.startswith("support_")]
    if len(supports) > 1:
        parts = supports
    x = [float(part.removeprefix("support_")) for part in parts] if len(supports) > 1 else [float(n) for n in range(len(parts))]
    error = [_standard_error(run, part, metric) for part in parts]
    mean = [test[part][metric] for part in parts]
    interval = (None, None)
    if all(np.isfinite(error)):
        interval = (
            [y - NORMAL_95 * e for y, e in zip(mean, error, strict=True)],
            [y + NORMAL_95 * e for y, e in zip(mean, error, strict=True)],
        )
    lines = [Series("model", x, mean, *interval)]
    for name, of in run.results["baselines"].items():
        here = [n for n, part in enumerate(parts) if metric in of.get(part, {})]
        lines.append(Series(name, [x[n] for n in here], [of[parts[n]][metric] for n in here]))
    return parts, lines


def _order(part: str) -> tuple[int, int, str]:
    """warm, cold, overall; supports by k."""
    support = re.fullmatch(r"support_(\d+)", part)
    known = ["warm", "cold", "cold_users", "cold_items", "cold_both", "overall"]
    return (1, int(support[1]), part) if support else (0, known.index(part) if part in known else len(known), part)


def _standard_error(run: FinishedRun, part: str, metric: str) -> float:
    """NaN where the metric is no mean over users, or there is one user."""
    import polars as pl

    rows = run.per_user.filter((pl.col("part") == part) & (pl.col("method") == "model") & (pl.col("metric") == metric))
    value_U = rows.get_column("value").to_numpy()
    return float(value_U.std(ddof=1) / len(value_U) ** 0.5) if len(value_U) > 1 else float("nan")


def quality_by_parameters(runs: Sequence[FinishedRun], metric: str) -> list[Series]:
    """For each test part that all runs have: the runs' numbers of trained parameters and the metric, by number of parameters."""
    counted = [(run.results.get("parameters", {}).get("trained", 0), run) for run in runs]
    counted.sort(key=lambda pair: pair[0])
    common = [part for part in runs[0].results["test"] if all(metric in run.results["test"].get(part, {}) for run in runs)]
    return [
        Series(part, [float(count) for count, _ in counted], [run.results["test"][part][metric] for _, run in counted])
        for part in sorted(common, key=_order)
    ]


def seconds(run: FinishedRun) -> Series:
    """A bar for each stage, the longest first; `total` is left out. Stages may lie in each other (compile is within train)."""
    by_stage = sorted(((value, name) for name, value in run.results["seconds"].items() if name != "total"), reverse=True)
    return Series(
        ", ".join(name for _, name in by_stage), [float(n) for n in range(len(by_stage))], [value for value, _ in by_stage]
    )
