"""Tables of runs for the terminal."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.jupyter import JupyterMixin
from rich.table import Table
from rich.text import Text

from cold_jax.errors import ConfigError
from cold_jax.evaluation.statistics import Comparison
from cold_jax.runs.compare import (
    ComparisonTable,
    Difference,
    Method,
    Spread,
    columns_of,
    compare_runs,
    method_of,
    scan_runs,
    strongest_baselines,
)
from cold_jax.runs.results import Results
from cold_jax.runs.terminal import escape_control
from cold_jax.runs.verdict import legend, verdict


def run_table(results: Results) -> Table:
    """A finished run above its baselines: the strongest of each column with a *, and the run's difference to that one."""
    columns = columns_of([results["test"]], ())
    baselines = [method_of(name, [], [parts], columns) for name, parts in results["baselines"].items()]
    strongest = strongest_baselines(baselines, columns)
    differences: list[Difference] = [
        {"a": "this run", "b": best, "part": part, "metric": metric, "found": results["versus"][best][part][metric]}
        for part, names in strongest.items()
        for metric, best in names.items()
        if best is not None and metric in results["versus"].get(best, {}).get(part, {})
    ]
    drawn = comparison_table(
        {
            "title": f"{results['experiment']}, seed {results['seed']}",
            "groups": [method_of("this run", [], [results["test"]], columns)],
            "baselines": baselines,
            "strongest": strongest,
            "differences": differences,
            "best": {part: dict.fromkeys(names) for part, names in columns.items()},
        }
    )
    users = ", ".join(f"{part} {protocol['users']}" for part, protocol in results["protocol"].items())
    lines = [
        f"{legend(list(columns))}.",
        "* the strongest baseline; this run less it: 95 % interval by a paired bootstrap over users, and p of a randomisation",
        f"test, by Holm over all baselines. Users: {users}. {_chosen(results)}",
    ]
    if "encoder" in results:
        lines.append(
            f"Baselines that read texts read vectors of {results['encoder']}{' as it was before training' if _trained(results) else ''}."
        )
    if "privacy" in results:
        lines.append(privacy_line(results["privacy"]))
    if spent := sorted(results["seconds"].items(), key=lambda item: -item[1]):
        named = ", ".join(f"{name} {value:.1f}" for name, value in spent)
        lines.append(f"Seconds (compile, validate, tokenise and encode lie within others): {named}.")
    caption = Text(escape_control(" ".join(lines)) + "\n")
    caption.append(escape_control(verdict(results, strongest)), "bold")
    drawn.caption, drawn.caption_justify = caption, "left"
    return drawn


def privacy_line(private: Mapping[str, Any]) -> str:
    """What a run with privacy=dp promises, and what not."""
    how = (
        f"{private['steps']} steps, σ {private['noise_multiplier']:.3g}, q {private['sampling_rate']:.3g}, C {private['clip']:g}"
    )
    if private["epsilon"] is None:
        return f"Privacy: none: users' gradients were clipped without noise ({how})."
    return (
        f"Privacy: ε = {private['epsilon']:.3g}, δ = {private['delta']:.2g} for each training user, of all that was trained ({how}); "
        "not of baselines, test figures, rankings.parquet, per_user.parquet and split.csv."
    )


def comparison_table(section: ComparisonTable) -> Table:
    """For each metric the means ± sd over runs, the strongest baseline (*), bold what is significantly better than all else; then
    paired differences with 95 % interval and p, Holm's."""
    grid, groups = section["strongest"], [group["name"] for group in section["groups"]]
    drawn = Table(title=Text(escape_control(section["title"])), title_justify="left")
    for place, column in enumerate(["", *grid]):
        drawn.add_column(Text(escape_control(column)), justify="right" if place else "left")

    def row(name: str, cells: Mapping[str, str], style: str = "", bold: Sequence[str] = ()) -> None:
        styles = [style, *("bold" if part in bold else style for part in grid)]
        texts = [escape_control(name), *(cells.get(part, "") for part in grid)]
        # a Text, as rich would read markup in a str
        drawn.add_row(*(Text(text, style) for text, style in zip(texts, styles, strict=True)))

    for metric in dict.fromkeys(metric for names in grid.values() for metric in names):
        parts = [part for part in grid if metric in grid[part]]
        row(metric, {}, "bold")
        for method in [*section["groups"], *section["baselines"]]:
            marks = {part: "*" if grid[part][metric] == method["name"] else "" for part in parts}
            name = method["name"] + (seeds_text(method) if method["name"] in groups else "")
            cells = {part: mean_text(method["test"][part][metric]) + marks[part] for part in parts}
            row(name, cells, bold=[part for part in parts if section["best"][part][metric] == method["name"]])
        pairs: dict[str, dict[str, str]] = {}
        for d in section["differences"]:
            if d["metric"] == metric:
                other = _short(d["b"]) if d["b"] in groups else "*"
                pairs.setdefault(f"{_short(d['a'])} − {other}", {})[d["part"]] = _interval(d["found"])
        for name, cells in pairs.items():
            row(name, cells)
        drawn.add_section()
    return drawn


def _chosen(results: Results) -> str:
    step = results.get("best_step", "–")
    if not _trained(results):
        return "Nothing was trained."
    return f"Step {step}, the last, was kept." if "privacy" in results else f"Step {step} was the best on validation."


def _trained(results: Results) -> bool:
    """False where no parameter could learn."""
    return results.get("parameters", {}).get("trained") != 0


def seeds_text(method: Method) -> str:
    splits = list(dict.fromkeys(map(str, method["splits"])))
    of_splits = f"; split.seed {', '.join(splits)}" if len(splits) > 1 else ""
    return f" (seed {', '.join(map(str, dict.fromkeys(method['seeds'])))}{of_splits})" if method["seeds"] else ""


class Rendered(JupyterMixin):
    """Tables that a notebook shows as HTML and `print` as text."""

    def __init__(self, tables: Sequence[Table]):
        self.tables = tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.tables

    def __str__(self) -> str:
        console = Console(highlight=False, width=200, file=io.StringIO())
        console.print(self)
        return console.file.getvalue()  # type: ignore[attr-defined]

    __repr__ = __str__


def compare_folders(folders: Sequence[Path], metrics: Sequence[str]) -> Rendered:
    """The finished runs under some folders side by side. Raises ConfigError where there is none."""
    found = scan_runs(folders)
    if not found.finished:
        raise ConfigError(f"no finished run (a folder with results.json) under {', '.join(map(str, folders))}")
    return Rendered([comparison_table(section) for section in compare_runs(found.finished, metrics)])


def mean_text(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    return f"{spread['mean']:.4f}" + ("" if spread["sd"] is None else f" ± {spread['sd']:.4f}")


def _interval(found: Comparison) -> str:
    low, high = found["ci95"]
    return f"{found['difference']:+.4f}\n[{low:+.4f},\n{high:+.4f}]\np {found.get('p_holm', found['p']):.4f}"


def _short(name: str) -> str:
    return name.split()[0] if name.startswith("#") else name
