"""What the page of a report shows, as plain records. The figures are those of the terminal's tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cold_jax.runs.compare import ComparisonTable, Difference, Method, RunRecord
from cold_jax.runs.page import charts, curves, sweep, users
from cold_jax.runs.page.charts import Chart
from cold_jax.runs.page.users import Lists
from cold_jax.runs.render import mean_text, seeds_text
from cold_jax.runs.terminal import escape_control
from cold_jax.runs.verdict import LEVEL, legend

MOST_HISTOGRAMS = 4


class Cell(NamedTuple):
    """A method's metric in one part."""

    mean: str
    value: float | None  # None where the method has none
    strongest: bool  # of the baselines
    best: bool  # significantly better than each other method
    versus: str  # of a run: its difference to the strongest baseline, with interval and p
    outcome: str  # of that difference: better, below, or none; "" where there is no difference


class Row(NamedTuple):
    name: str
    baseline: bool
    seeds: str
    cells: list[Cell]


class Figures(NamedTuple):
    """The table of one metric, methods × parts, and what tells the methods of several runs apart."""

    metric: str
    parts: list[str]
    rows: list[Row]
    pairs: list[tuple[str, list[str]]]  # "#1 − #2" → a difference for each part


class Cost(NamedTuple):
    name: str
    trained: str
    frozen: str
    seconds: str
    training: str
    memory: str


class Origin(NamedTuple):
    """Where a run's figures come from."""

    method: str
    path: str
    command: str
    about: list[tuple[str, str]]


class Section(NamedTuple):
    """Methods that were evaluated on the same users by the same protocol."""

    data: str
    split: str
    protocol: str
    legend: str
    figures: list[Figures]
    costs: list[Cost]
    charts: list[Chart]
    lists: Lists | None
    origins: list[Origin]


class Page(NamedTuple):
    title: str
    sections: list[Section]
    aside: list[str]  # what was left out: unfinished and damaged runs, failed jobs


def page(
    title: str,
    runs: Sequence[RunRecord],
    tables: Sequence[ComparisonTable],
    aside: Sequence[str],
    title_of: Callable[[RunRecord], Mapping[str, str]] | None,
) -> Page:
    """The page of these tables, which `compare_runs` made of these runs.

    Args:
        title_of: a run → the title of each item id, to be shown beside it; None: ids alone.
    """
    by_path = {str(run.path): run for run in runs}
    sections = [_section(table, by_path, title_of) for table in tables]
    return Page(title, sections, [escape_control(line) for line in aside])


def first_cold(parts: Mapping[str, Sequence[str]] | Sequence[str]) -> str:
    """The part that a method is sorted and drawn by."""
    return next((part for part in parts if part not in ("warm", "all")), next(iter(parts)))


def _section(
    table: ComparisonTable,
    by_path: Mapping[str, RunRecord],
    title_of: Callable[[RunRecord], Mapping[str, str]] | None,
) -> Section:
    groups = {group["name"]: [by_path[path] for path in group["runs"]] for group in table["groups"]}
    run = next(iter(groups.values()))[0]
    columns = {part: metrics for part, metrics in table["strongest"].items() if metrics}
    metrics = list(dict.fromkeys(metric for names in columns.values() for metric in names))
    figures = [_figures(table, metric, [part for part in columns if metric in columns[part]]) for metric in metrics]
    drawn, lists = [*curves.learning_curves(groups)], None
    if metrics:
        metric, part = metrics[0], first_cold(figures[0].parts)
        ranked = [row.name for row in figures[0].rows if not row.baseline]
        means = {method["name"]: spread["mean"] for method in table["baselines"] if (spread := method["test"][part][metric])}
        first = table["strongest"][part][metric]
        strongest = None if first is None else (first, means[first])
        drawn += charts.quality(_quality(table, groups, part, metric), part, metric, strongest)
        drawn += sweep.charts([run for runs in groups.values() for run in runs])
        drawn += users.histograms(groups, ranked[:MOST_HISTOGRAMS], first, part, metric)
        first_run = next(((name, groups[name][0]) for name in ranked if groups[name][0].path.is_dir()), None)
        if first_run is not None:  # scores by another program come from a file
            name, best = first_run
            lists = users.recommended(best, name, part, metric, {} if title_of is None else title_of(best))
    return Section(
        data=table["title"],
        split=_split(run, groups),
        protocol=_protocol(run),
        legend=legend(list(columns)),
        figures=figures,
        costs=[_cost(name, runs) for name, runs in groups.items()],
        charts=drawn,
        lists=lists,
        origins=[_origin(name, run) for name, runs in groups.items() for run in runs],
    )


def _split(run: RunRecord, groups: Mapping[str, Sequence[RunRecord]]) -> str:
    seeds = dict.fromkeys(str(run.split) for runs in groups.values() for run in runs if run.split is not None)
    kind = str(run.config["split._target_"]).rpartition(".")[2] if "split._target_" in run.config else "split"
    return f"{kind}, seed {', '.join(seeds)}" if seeds else kind


def _protocol(run: RunRecord) -> str:
    """What is ranked, in the words of results.json, once where parts agree."""
    texts: dict[str, list[str]] = {}
    for part, protocol in run.results["protocol"].items():
        rules = [f"{protocol['task']}"] if "task" in protocol else []
        rules += [f"candidates: {protocol['candidates']}"] if "candidates" in protocol else []
        rules += [f"masked: {protocol['mask']}"] if "mask" in protocol else []
        texts.setdefault(", ".join(rules), []).append(f"{part} ({protocol['users']:,} users)")
    return "; ".join(f"{', '.join(parts)}: {rules}" for rules, parts in texts.items())


def _figures(table: ComparisonTable, metric: str, parts: list[str]) -> Figures:
    methods = [(group, False) for group in table["groups"]] + [(baseline, True) for baseline in table["baselines"]]
    versus, pairs, names = {}, {}, {group["name"] for group in table["groups"]}
    for found in table["differences"]:
        if found["metric"] == metric and found["b"] in names:
            pairs.setdefault(f"{found['a']} − {found['b']}", {})[found["part"]] = difference_text(found)
        elif found["metric"] == metric:
            versus[found["a"], found["part"]] = found

    def cell(method: Method, part: str) -> Cell:
        spread, found = method["test"][part][metric], versus.get((method["name"], part))
        return Cell(
            mean_text(spread),
            None if spread is None else spread["mean"],
            table["strongest"][part][metric] == method["name"],
            table["best"][part][metric] == method["name"],
            "" if found is None else difference_text(found),
            "" if found is None else outcome(found),
        )

    rows = [
        Row(method["name"], baseline, seeds_text(method), [cell(method, part) for part in parts]) for method, baseline in methods
    ]
    at = parts.index(first_cold(parts))
    rows.sort(key=lambda row: -(value if (value := row.cells[at].value) is not None else float("-inf")))
    return Figures(metric, parts, rows, [(name, [cells.get(part, "") for part in parts]) for name, cells in pairs.items()])


def difference_text(difference: Difference) -> str:
    found = difference["found"]
    low, high = found["ci95"]
    return f"{found['difference']:+.4f} [{low:+.4f}, {high:+.4f}], p {found.get('p_holm', found['p']):.4f}"


def outcome(difference: Difference) -> str:
    found = difference["found"]
    if found.get("p_holm", found["p"]) >= LEVEL:
        return "none"
    return "better" if found["difference"] > 0 else "below"


def _quality(table: ComparisonTable, groups: Mapping[str, Sequence[RunRecord]], part: str, metric: str) -> list[charts.Point]:
    points = []
    for group in table["groups"]:
        spread, run = group["test"][part][metric], groups[group["name"]][0]
        if spread is not None:
            seconds, memory = run.results["seconds"].get("total"), run.results.get("peak_memory")
            trained = run.results.get("parameters", {}).get("trained")
            points.append(charts.Point(group["name"], spread["mean"], trained, seconds, memory))
    return points


def _cost(name: str, runs: Sequence[RunRecord]) -> Cost:
    """Of the first run of a method."""
    results = runs[0].results
    sizes, seconds, memory = results.get("parameters", {}), results["seconds"], results.get("peak_memory")
    trained, frozen = (f"{sizes[key]:,}" if key in sizes else "–" for key in ("trained", "frozen"))
    total, training = (f"{seconds[key]:,.1f}" if key in seconds else "–" for key in ("total", "train"))
    return Cost(name, trained, frozen, total, training, "–" if memory is None else f"{memory / 2**20:,.0f}")


def _origin(name: str, run: RunRecord) -> Origin:
    import shlex

    results = run.results
    words = [shlex.quote(word) for word in results.get("overrides", [])]
    about = [("experiment", results["experiment"]), ("seed", str(results["seed"]))]
    about += [("step kept", str(results["best_step"]))] if "best_step" in results else []
    about += [(f"version of {key}", str(value)) for key, value in results["versions"].items()]
    about += [(f"device: {key}", str(value)) for key, value in results["devices"].items()]
    about += [(f"sha256 of {key}", str(value)) for key, value in results.get("digests", {}).items()]
    return Origin(name, str(run.path), " ".join(["python -m cold_jax.train", *words]) if words else "", about)
