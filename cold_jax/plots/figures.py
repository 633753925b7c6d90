"""Series → figures of matplotlib, and figures → SVG files. The same numbers give the same file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cold_jax.errors import ConfigError
from cold_jax.plots.series import LearningCurve, Series
from cold_jax.storage.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

    from cold_jax.plots.embeddings import ItemMap

STYLE: "dict[RcKeyType, object]" = {
    "svg.hashsalt": "cold_jax",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
}
MOST_LABELS = 12  # of a legend; more would cover the picture


def require_matplotlib() -> None:
    """Raises ConfigError where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise ConfigError("plot: matplotlib is not installed; pip install 'cold_jax[plot]'") from None
    matplotlib.use("svg")


def save(figure: "Figure", path: Path) -> None:
    """As SVG, replacing what is there; never half a file."""
    import io

    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="white")
    path.parent.mkdir(exist_ok=True)
    with atomic(path, new=False) as file:
        file.write(buffer.getvalue())


def _figure(width: float, height: float, panels: int = 1) -> "Figure":
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.subplots(1, panels)
    return figure


def draw_learning_curve(found: LearningCurve, metric: str) -> "Figure":
    """Left the loss; right validation, with the start's level and the band of what is not significant."""
    figure = _figure(9, 3.2, 2)
    left, right = figure.axes
    left.plot(found.loss.x, found.loss.y, color="tab:grey", linewidth=1, label=found.loss.label)
    left.set(xlabel="step", ylabel="training loss")
    for part in found.parts if len(found.parts) > 1 else []:
        right.plot(part.x, part.y, linewidth=0.8, alpha=0.6, label=part.label)
    if found.unsure.x:
        right.fill_between(found.unsure.x, found.unsure.low or [], found.unsure.high or [], color="0.9", label=found.unsure.label)
    right.axhline(found.start, color="black", linewidth=0.8, linestyle=":", label="start")
    right.plot(found.metric.x, found.metric.y, color="black", marker="o", markersize=3, label=found.metric.label)
    right.plot(
        found.best_step,
        dict(zip(found.metric.x, found.metric.y, strict=True)).get(found.best_step, found.start),
        "r*",
        label="kept",
    )
    right.set(xlabel="step", ylabel=f"validation {metric}")
    right.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_quality(parts: Sequence[str], lines: Sequence[Series], metric: str) -> "Figure":
    """The model with its interval over the baselines; along k, or side by side."""
    figure = _figure(6.5, 3.4)
    (ax,) = figure.axes
    of_k = all(part.startswith("support_") for part in parts)
    for line in [*lines[1 : 1 + MOST_LABELS], lines[0]]:
        own = line is lines[0]
        ax.plot(
            line.x,
            line.y,
            marker="o",
            markersize=3,
            linestyle="-" if of_k else "none",
            color="black" if own else None,
            linewidth=1.8 if own else 1,
            label=line.label,
        )
    if lines[0].low is not None and lines[0].high is not None:
        if of_k:
            ax.fill_between(lines[0].x, lines[0].low, lines[0].high, color="0.9", label="95 % of the model")
        else:
            ax.vlines(lines[0].x, lines[0].low, lines[0].high, color="black")
    ax.set(xlabel="k, items of the support" if of_k else "test task", ylabel=metric)
    ax.set_xticks(lines[0].x, [part.removeprefix("support_") for part in parts] if of_k else parts)
    ax.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_quality_by_parameters(lines: Sequence[Series], metric: str) -> "Figure":
    figure = _figure(6, 3.4)
    (ax,) = figure.axes
    for line in lines:
        ax.plot(line.x, line.y, marker="o", markersize=4, label=line.label)
    ax.set_xscale("symlog", linthresh=1000)
    ax.set(xlabel="trained parameters", ylabel=metric)
    ax.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_seconds(bars: Series) -> "Figure":
    names = bars.label.split(", ")
    figure = _figure(6, 0.6 + 0.28 * len(names))
    (ax,) = figure.axes
    ax.barh(bars.x, bars.y, color="tab:blue")
    ax.set_yticks(bars.x, names)
    ax.invert_yaxis()
    for x, y in zip(bars.x, bars.y, strict=True):
        ax.annotate(f"{y:.1f}", (y, x), (3, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set(xlabel="seconds; compile is part of the stages that compile")
    return figure


def draw_item_map(found: "ItemMap") -> "Figure":
    """Two panels on the same axes: θ and φ."""
    figure = _figure(8, 3.8, 2)
    both_I2 = np.concatenate([found.theta_I2, found.phi_I2])
    low_2, high_2 = both_I2.min(0), both_I2.max(0)
    margin_2 = 0.05 * (high_2 - low_2) + 1e-9  # of both, so that no point of either is cut off
    for ax, title, point_I2 in zip(figure.axes, ("θ", "φ = θ + Δθ"), (found.theta_I2, found.phi_I2), strict=True):
        for cold, colour, label in ((False, "0.7", "warm items"), (True, "tab:red", "cold items")):
            of_I = found.cold_I == cold
            if of_I.any():
                ax.scatter(point_I2[of_I, 0], point_I2[of_I, 1], s=9, color=colour, label=label, linewidths=0)
        ax.set(title=title, xlabel="first principal axis", ylabel="second")
        ax.set_aspect("equal", "box")
        ax.set_xlim(low_2[0] - margin_2[0], high_2[0] + margin_2[0])
        ax.set_ylim(low_2[1] - margin_2[1], high_2[1] + margin_2[1])
    figure.axes[0].legend(fontsize="small", frameon=False)
    figure.suptitle(f"items on the first two axes of both ({found.explained:.0%} of the variance)", fontsize=9)
    return figure
