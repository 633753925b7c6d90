"""python docs/figures/draw.py: the figures of the concepts, as SVG beside this file. The same input gives the same bytes."""

import itertools
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

HERE = Path(__file__).resolve().parent
CONTRASTIVE = HERE.parents[1] / "experiments" / "contrastive" / "table.json"
BLUE, ORANGE, GREEN, GREY, PALE = "#4477aa", "#ee7733", "#228833", "#888888", "#eeeeee"
STYLE = {"svg.hashsalt": "cold_jax", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}


def interactions(users: int, items: int) -> np.ndarray:
    """A binary matrix, some items more popular than others."""
    draw = np.random.Generator(np.random.Philox(3))
    return draw.random((users, items)) < np.linspace(0.6, 0.3, items)[None, :]


def matrix(ax: Axes, kind_UI: np.ndarray, colours: list[str]) -> None:
    ax.imshow(kind_UI, cmap=ListedColormap(colours), vmin=0, vmax=len(colours) - 1, aspect="equal")
    ax.set_xticks(np.arange(-0.5, kind_UI.shape[1]), minor=True)
    ax.set_yticks(np.arange(-0.5, kind_UI.shape[0]), minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="items", ylabel="users")


def legend(ax: Axes, **colour_of: str) -> None:
    handles = [Patch(color=colour, label=label.replace("_", " ")) for label, colour in colour_of.items()]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)


def cold_start() -> Figure:
    figure, ax = plt.subplots(figsize=(6.2, 2.9), layout="constrained")
    took_UI = interactions(10, 14)
    kind_UI = took_UI.astype(int)
    kind_UI[8:, :] = np.where(took_UI[8:, :], 2, 0)
    kind_UI[:, 11:] = np.where(took_UI[:, 11:], 3, 0)
    kind_UI[8:, 11:] = np.where(took_UI[8:, 11:], 4, 0)
    kind_UI[8, 12] = 4
    matrix(ax, kind_UI, [PALE, GREY, BLUE, ORANGE, GREEN])
    legend(ax, training=GREY, of_cold_users=BLUE, of_cold_items=ORANGE, of_both=GREEN)
    return figure


def leakage() -> Figure:
    figure, ax = plt.subplots(figsize=(6.2, 2.9), layout="constrained")
    took_UI, draw = interactions(10, 14), np.random.Generator(np.random.Philox(5))
    kind_UI = np.where(took_UI, np.where(draw.random(took_UI.shape) < 0.2, 2, 1), 0)
    for user in (8, 9):
        mine_I = np.flatnonzero(took_UI[user])
        kind_UI[user, mine_I] = 4
        kind_UI[user, draw.permutation(mine_I)[:2]] = 3
    matrix(ax, kind_UI, [PALE, GREY, "#bbbbbb", GREEN, BLUE])
    legend(ax, training=GREY, held_out="#bbbbbb", support=GREEN, targets=BLUE)
    return figure


def support() -> Figure:
    figure, axes = plt.subplots(3, 1, figsize=(6.2, 2.2), layout="constrained", sharex=True)
    for ax, k in zip(axes, (0, 1, 5), strict=True):
        x = np.arange(12)
        ax.scatter(x, np.zeros(12), s=130, color=[GREEN if n < k else BLUE for n in x])
        ax.text(-1.1, 0, f"k = {k}", ha="right", va="center")
        ax.set(ylim=(-1, 1), xlim=(-2.5, 11.6))
        ax.axis("off")
    axes[-1].annotate("", (11.6, -0.8), (-0.5, -0.8), arrowprops={"arrowstyle": "->", "color": GREY}, annotation_clip=False)
    axes[-1].text(11.6, -0.95, "time", ha="right", va="top", color=GREY)
    handles = [Patch(color=GREEN, label="support"), Patch(color=BLUE, label="targets")]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False)
    return figure


def box(ax: Axes, x: float, y: float, wide: float, text: str, colour: str) -> None:
    ax.add_patch(FancyBboxPatch((x, y - 0.3), wide, 0.6, boxstyle="round,pad=0.05", facecolor=colour, edgecolor="none"))
    ax.text(x + wide / 2, y, text, ha="center", va="center", color="black" if colour == PALE else "white")


def arrow(ax: Axes, *points: tuple[float, float]) -> None:
    for start, end in itertools.pairwise(points[:-1]):
        ax.plot(*zip(start, end, strict=True), color=GREY, linewidth=1)
    ax.annotate("", points[-1], points[-2], arrowprops={"arrowstyle": "->", "color": GREY})


def adaptation() -> Figure:
    figure, ax = plt.subplots(figsize=(6.2, 2.3), layout="constrained")
    box(ax, 2, 1, 2.6, "W   (θ, frozen)", GREY)
    box(ax, 2, -0.6, 1.1, "A", ORANGE)
    box(ax, 3.5, -0.6, 1.1, "B", ORANGE)
    ax.text(0.3, 0.2, "x", ha="center", va="center", fontsize=13)
    ax.text(5.6, 0.2, "+", ha="center", va="center", fontsize=15)
    ax.text(7.3, 0.2, "xW + s (xA) B", ha="center", va="center")
    arrow(ax, (0.5, 0.2), (1.1, 0.2), (1.1, 1), (1.9, 1))
    arrow(ax, (1.1, 0.2), (1.1, -0.6), (1.9, -0.6))
    arrow(ax, (3.15, -0.6), (3.45, -0.6))
    arrow(ax, (4.7, 1), (5.6, 1), (5.6, 0.45))
    arrow(ax, (4.7, -0.6), (5.6, -0.6), (5.6, -0.05))
    arrow(ax, (5.8, 0.2), (6.3, 0.2))
    ax.text(3.3, -1.25, "Δθ = s A B, trained", ha="center", va="center", color=ORANGE)
    ax.set(xlim=(0, 8.5), ylim=(-1.5, 1.5))
    ax.axis("off")
    return figure


def ranking() -> Figure:
    figure, ax = plt.subplots(figsize=(6.2, 1.9), layout="constrained")
    kinds = ["other", "target", "seen", "other", "other", "target", "other", "other"]
    colour = {"other": PALE, "target": BLUE, "seen": "white"}
    rank, text = 0, []
    for x, kind in enumerate(kinds):
        ax.add_patch(
            plt.Rectangle((x, 0), 0.9, 0.9, facecolor=colour[kind], edgecolor=GREY, linestyle=":" if kind == "seen" else "-")
        )
        rank += kind != "seen"
        ax.text(
            x + 0.45,
            0.45,
            "masked" if kind == "seen" else str(rank),
            ha="center",
            va="center",
            fontsize=8 if kind == "seen" else 11,
            color="white" if kind == "target" else "black",
        )
        text += [rank] if kind == "target" else []
    gain = sum(1 / np.log2(1 + place) for place in text if place <= 3) / (1 + 1 / np.log2(3))
    ax.text(
        0, -0.35, f"targets at ranks {text[0]} and {text[1]}:  recall@3 = 1/2,  ndcg@3 = {gain:.3f},  mrr = 1/{text[0]}", va="top"
    )
    ax.text(0, 1.1, "best score", color=GREY)
    ax.text(7.9, 1.1, "worst", color=GREY, ha="right")
    ax.set(xlim=(-0.1, 8), ylim=(-0.9, 1.5))
    ax.axis("off")
    return figure


def honest_row() -> Figure:
    """Rows of experiments/contrastive/table.json: the ratio of φ's closed form to θ's."""
    rows = []
    for data, method, base, name in [
        (
            "IISAN Scientific with transitions, the next item among all",
            "φ + TF-IDF + transitions",
            "θ + TF-IDF + transitions",
            "with transitions",
        ),
        ("IISAN Scientific by texts alone, the next item among all", "φ + TF-IDF", "θ + TF-IDF", "by texts alone"),
    ]:
        for part in ("all", "warm", "cold"):
            wanted = (data, method, part, f"ndcg@10 / {base}")
            row = next(
                r for r in json.loads(CONTRASTIVE.read_text()) if (r["data"], r["method"], r["part"], r["metric"]) == wanted
            )
            rows.append((f"{name}: {part}", row["mean"], *row["ci95"]))
    figure, ax = plt.subplots(figsize=(6.2, 2.6), layout="constrained")
    for y, (_, mean, low, high) in enumerate(rows):
        colour = GREEN if low > 1 else ORANGE if high < 1 else GREY
        ax.plot([low, high], [-y, -y], color=colour, linewidth=2)
        ax.plot(mean, -y, "o", color=colour)
    ax.axvline(1, color="black", linewidth=0.8, linestyle=":")
    ax.set_yticks([-y for y in range(len(rows))], [name for name, *_ in rows])
    ax.set(xlabel="ndcg@10 of φ / of θ, 95 % interval", ylim=(-len(rows) + 0.4, 0.5))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return figure


def main() -> None:
    for draw in (cold_start, adaptation, support, leakage, ranking, honest_row):
        with matplotlib.rc_context(STYLE):
            figure = draw()
            figure.savefig(HERE / f"{draw.__name__}.svg", metadata={"Date": None}, facecolor="white")
            plt.close(figure)


if __name__ == "__main__":
    main()
