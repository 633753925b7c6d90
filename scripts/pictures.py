"""python scripts/pictures.py [NAME …]: experiments/NAME/rows.svg, rows of its table.json as points with their 95 % intervals.

Of `serving` it is latency.svg. The same table gives the same bytes. Experiments whose pictures are made with their figures are not listed here.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
STYLE: "dict[RcKeyType, object]" = {
    "svg.hashsalt": "cold_jax",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
}
COLOUR = {"baseline": "#888888", "closed_form": "#4477aa", "method": "#ee7733"}
LABEL = {"baseline": "published, or another's code", "closed_form": "closed form (ours)", "method": "trained (ours)"}
ROW_HEIGHT, EDGES = 0.21, 0.9  # inches: of a method, and of a panel's title and axis
Row = dict[str, Any]  # of table.json


class Panels(NamedTuple):
    """A table of table.json by the beginning of its name, and what of it is drawn side by side."""

    data: str
    columns: Sequence[tuple[str, str]]  # (part, metric)


BY_K = [("support_0", "recall@20"), ("support_5", "recall@20")]
OF_SEQUENCES = [("all", "hr@10"), ("warm", "hr@10"), ("cold", "hr@10")]
PICTURES: dict[str, list[Panels]] = {
    "amazon2014": [
        Panels(data, [("unmasked", "recall@10"), ("all", "recall@10"), ("cold", "recall@10")]) for data in ("Beauty", "Toys")
    ],
    "amazon_office": [
        Panels("Cold items", [("cold", "recall@20"), ("cold", "ndcg@20")]),
        Panels("Cold users", [("support_1", "recall@20"), ("support_5", "recall@20")]),
    ],
    "coldrec_ml100k": [
        Panels("Cold items, ColdRec's", [("cold", "recall@20"), ("cold", "ndcg@20")]),
        Panels("Cold users, ColdRec's", BY_K),
    ],
    "collm_ml1m": [Panels("CoLLM's MovieLens-1M", [("all", "auc"), ("all", "uauc")])],
    "contrastive": [Panels("IISAN Scientific by texts", OF_SEQUENCES), Panels("IISAN Scientific with", OF_SEQUENCES)],
    "iisan": [Panels("IISAN Scientific by texts", OF_SEQUENCES), Panels("IISAN Scientific with", OF_SEQUENCES)],
    "item_kernel": [
        Panels(data, [("cold", "recall@20"), ("cold", "ndcg@20")])
        for data in ("Cold items of Amazon Office", "Cold items of Amazon-2018 Scientific")
    ],
    "movie_text": [Panels("Cold items", [("cold", "recall@20"), ("cold", "ndcg@20")])],
    "pretraining": [Panels(data, [("all", "recall@20"), ("cold", "recall@20")]) for data in ("Toys", "Beauty")],
    "published_toy": [Panels("Ratings", [("all", "accuracy"), ("all", "auc"), ("all", "uauc")])],
    "training_free": [
        Panels("MovieLens-100k", [("support_0", "recall@10"), ("support_1", "recall@10"), ("support_10", "recall@10")])
    ],
    "user_cold_head": [Panels("Cold users", [("support_0", "recall@20"), ("support_5", "recall@20"), ("support_5", "ndcg@20")])],
    "zero_shot": [
        Panels("MovieLens-100k, new users", BY_K),
        Panels("MovieLens-100k, new items", [("cold", "recall@20"), ("cold", "ndcg@20")]),
    ],
}


def cells(rows: Sequence[Row], data: str, column: tuple[str, str]) -> dict[str, Row]:
    """Method → its row in one column of a table."""
    return {row["method"]: row for row in rows if row["data"] == data and (row["part"], row["metric"]) == column}


def draw(rows: Sequence[Row], pictures: Sequence[Panels]) -> Figure:
    """Tables below each other, their columns side by side; methods in the order of the first column that has each, the best on top."""
    whole = [next(row["data"] for row in rows if row["data"].startswith(panels.data)) for panels in pictures]
    found = [[cells(rows, data, column) for column in panels.columns] for data, panels in zip(whole, pictures, strict=True)]
    methods = [list(dict.fromkeys(name for by_method in columns for name in _ordered(by_method))) for columns in found]
    heights = [EDGES + ROW_HEIGHT * len(of) for of in methods]
    widest = max(len(panels.columns) for panels in pictures)
    figure = plt.figure(figsize=(2.6 + 2.1 * widest, sum(heights) + 0.3), layout="constrained")
    parts = figure.subfigures(len(pictures), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, data, panels, columns, names in zip(parts, whole, pictures, found, methods, strict=True):
        axes = part.subplots(1, len(panels.columns), sharey=True, squeeze=False)[0]
        part.suptitle(data, fontsize=10)
        for ax, (of, metric), by_method in zip(axes, panels.columns, columns, strict=True):
            points(ax, names, by_method)
            ax.set_title(f"{of.replace('support_', 'k = ')}: {metric}", fontsize=9)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.4, -0.6)
    kinds = [kind for kind in COLOUR if any(row["kind"] == kind for columns in found for of in columns for row in of.values())]
    handles = [Line2D([], [], color=COLOUR[kind], marker="o", markersize=4, linewidth=1.2, label=LABEL[kind]) for kind in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(kinds), frameon=False)
    return figure


def _ordered(by_method: dict[str, Row]) -> list[str]:
    return sorted(by_method, key=lambda name: -by_method[name]["mean"])


def points(ax: Axes, names: Sequence[str], by_method: dict[str, Row]) -> None:
    """A point for each method, with its interval where it has one; a method without a figure leaves its line empty."""
    for y, name in enumerate(names):
        if row := by_method.get(name):
            colour = COLOUR[row["kind"]]
            if row["ci95"]:
                ax.plot(row["ci95"], [y, y], color=colour, linewidth=1.2)
            ax.plot(row["mean"], y, "o", color=colour, markersize=4)
    ax.grid(axis="y", color="0.93", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=4)


def draw_latency(found: dict[str, Any]) -> Figure:
    """experiments/serving/table.json: the median answer time against connections."""
    figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for load in found["load"].values():
        for request in dict.fromkeys(row["request"] for row in load["rows"]):
            rows = [row for row in load["rows"] if row["request"] == request]
            label = f"{load['items']:,} items, {request}"
            ax.plot([row["connections"] for row in rows], [row["p50_ms"] for row in rows], marker="o", markersize=4, label=label)
    ticks = sorted({row["connections"] for load in found["load"].values() for row in load["rows"]})
    ax.set(xscale="log", yscale="log", xlabel="connections", ylabel="p50, ms")
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*PICTURES, "serving"]
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(known)}; none: all")
    names = parser.parse_args().names or known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{unknown[0]}: there is no such picture; there are {', '.join(known)}")
    for name in names:
        with matplotlib.rc_context(STYLE):
            found = json.loads((EXPERIMENTS / name / "table.json").read_text())
            figure = draw(found, PICTURES[name]) if name in PICTURES else draw_latency(found)
            path = EXPERIMENTS / name / ("rows.svg" if name in PICTURES else "latency.svg")
            figure.savefig(path, metadata={"Date": None}, facecolor="white")
            plt.close(figure)


if __name__ == "__main__":
    main()
