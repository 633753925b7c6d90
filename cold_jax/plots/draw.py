"""Which pictures of which runs are drawn, and where they go."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cold_jax.errors import ConfigError, UserError
from cold_jax.plots import figures, series
from cold_jax.runs.finished import FinishedRun
from cold_jax.runs.folder import Run
from cold_jax.storage.logs import escape_control

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = ("learning_curve", "quality", "seconds", "item_map", "quality_by_parameters")


def draw(words: Sequence[str], metric: str, only: Sequence[str]) -> list[Path]:
    """The files written, RUN/plots/PICTURE.svg.

    Args:
        words: run=DIR, once or more; KEY=VALUE where a run's data or encoder has moved.
        metric: of the test.
        only: pictures; none: all, and one that a run has no data for is left out with a line on stderr.

    Raises:
        ConfigError: a word is neither, a folder holds no finished run, matplotlib is missing; of pictures in `only`, there is nothing to draw.
    """
    if wrong := [word for word in words if "=" not in word]:
        raise ConfigError(f"{wrong[0]}: not run=DIR or KEY=VALUE; as in run={wrong[0]}")
    if unknown := [name for name in only if name not in PICTURES]:
        raise ConfigError(f"--only {unknown[0]}: there is no such picture; there are {', '.join(PICTURES)}")
    figures.require_matplotlib()
    runs = [FinishedRun(word.removeprefix("run=")) for word in words if word.startswith("run=")]
    places = [word for word in words if not word.startswith("run=")]
    if not runs:
        raise ConfigError("run: give the folder of a finished run, as in run=runs/DIR")
    of_one = [(name, [run]) for run in runs for name in PICTURES[:-1]]
    wanted = [*of_one, *([(PICTURES[-1], runs)] if len(runs) > 1 or PICTURES[-1] in only else [])]
    written: list[Path] = []
    for name, drawn in wanted:
        if only and name not in only:
            continue
        try:
            figure = make_figure(name, drawn, metric, places)
        except UserError as error:
            if only:
                raise
            print(escape_control(f"{name}: left out: {error}"), file=sys.stderr)
            continue
        written.append(drawn[0].path / "plots" / f"{name}.svg")
        figures.save(figure, written[-1])
    return written


def make_figure(name: str, runs: Sequence[FinishedRun], metric: str, places: Sequence[str]) -> "Figure":
    """One of PICTURES, of the first run, or of all of them."""
    run = runs[0]
    if name == "learning_curve":
        by = Run(run.path).read_config()["evaluation"]["metric"]
        return figures.draw_learning_curve(series.learning_curve(run.path), by)
    if name == "quality":
        return figures.draw_quality(*series.quality(run, metric), metric)
    if name == "seconds":
        return figures.draw_seconds(series.seconds(run))
    if name == "quality_by_parameters":
        return figures.draw_quality_by_parameters(series.quality_by_parameters(runs, metric), metric)
    import cold_jax
    from cold_jax.plots.embeddings import item_map

    return figures.draw_item_map(item_map(cold_jax.load(run.path, *places)))
