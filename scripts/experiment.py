"""python scripts/experiment.py NAME [KEY=VALUE …]: remakes experiments/NAME/table.json and the table in its README.md.

experiment.yaml lists tables. A table's `runs` are commands of cold_jax.train, each made once for every split seed and every training seed; its
`rows` name a method of a run (`RUN.model`, or `RUN.BASELINE`) and its reference figures, published or measured before. A row without
a method is a quotation. The part `run` has what a run cost: its trained parameters, the seconds of its training, its peak memory in MB (an
accelerator's where there is one); of a run on φ that was pre-trained, those of the pre-training.
`$split` in a run is the split seed, which else goes to split.seed; any other `$KEY` takes the KEY=VALUE that was given, and a table whose $KEY was not given stays as it is committed; all other
KEY=VALUE go to every run. `pretrained` lists commands of cold_jax.pretrain by name, made first (once for each $seed and $split in them); `$NAME` in a run is the folder of its encoder. `exported` lists
runs by name (of the first seeds): `$NAME` in another run is the folder of the φ of the run.
Finished runs in experiments/NAME/runs are kept: delete that folder to begin from nothing.

Exit code 1: a figure lies outside the interval that is committed, which then stays. To commit other figures, delete table.json.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from omegaconf import OmegaConf

from cold_jax.evaluation.statistics import bootstrap, holm, pool_over_runs, randomisation
from cold_jax.runs.folder import Run

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
BEGIN, END = "<!-- table: made by the command above -->", "<!-- end of the table -->"
DRAWS = 10_000
COSTS = ("trained", "seconds", "MB")  # of the part `run`
Row = dict[str, Any]  # table.json's, of these keys
Draw = tuple[int | None, int]  # split seed, training seed
KEYS = [
    "method",
    "kind",
    "data",
    "part",
    "metric",
    "mean",
    "sd",
    "ci95",
    "seeds",
    "reference",
    "within",
    "significant",
    "source",
    "protocol",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="a folder of experiments/")
    parser.add_argument("given", metavar="KEY=VALUE", nargs="*", help="for $KEY in experiment.yaml, or an override of every run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; for a GPU with memory and processors for several")
    args = parser.parse_args()
    folder = EXPERIMENTS / args.name
    if not (folder / "experiment.yaml").is_file():
        known = ", ".join(sorted(path.parent.name for path in EXPERIMENTS.glob("*/experiment.yaml")))
        parser.error(f"there is no experiment {args.name!r}; there are {known}")
    given = dict(text.split("=", 1) for text in args.given)
    tables = read(folder)
    path = folder / "table.json"
    committed: list[Row] = json.loads(path.read_text()) if path.exists() else []

    found: list[Row] = []
    keys, runs, submitted = {key for table in tables for key in wanted(table)}, Runs(args.jobs), {}
    for table in tables:
        if missing := wanted(table) - given.keys():
            print(f"{table['title']}: as committed; {', '.join(f'{key}=…' for key in sorted(missing))} was not given (README.md)")
        else:
            submitted[table["title"]] = submit(table, folder, given, keys, runs)
    for table in tables:
        title = table["title"]
        committed_rows = [row for row in committed if row["data"] == title]
        found += rows(table, measured(submitted[title])) if title in submitted else committed_rows
    outside = [line for row in found if (line := beyond(row, committed))]
    there = [table for table in tables if any(row["data"] == table["title"] for row in found)]
    print(text := "\n\n".join(markdown(table, found) for table in there))
    if outside:
        sys.exit("\n".join(["", *outside, f"{path} stays as it is; delete it to commit other figures"]))
    lines = (json.dumps({key: row[key] for key in KEYS}, ensure_ascii=False) for row in found)
    for table in tables:
        if table["plot"]:
            draw(table, found, folder / table["plot"])
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    put(text, folder / "README.md")


def put(text: str, readme: Path) -> None:
    """Replaces what is between the two marks of a README.md."""
    before, _, after = readme.read_text().partition(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after.partition(END)[2]}")


def read(folder: Path) -> list[Any]:
    """The tables of experiment.yaml, with optional keys filled in."""
    tables: Any = OmegaConf.to_container(OmegaConf.load(folder / "experiment.yaml"), resolve=False)
    return [
        {
            "split_seeds": [None],
            "seeds": [1],
            "ratio": None,
            "plot": None,
            "against": None,
            "pretrained": {},
            "exported": {},
            "deterministic": [],
            **table,
        }
        for table in tables["tables"]
    ]


def wanted(table: Mapping[str, Any]) -> set[str]:
    """The keys that its runs need."""
    commands = [*table["runs"].values(), *table["pretrained"].values()]
    keys = {key for overrides in commands for override in overrides for key in Template(override).get_identifiers()}
    return keys - {*table["pretrained"], *table["exported"], "split", "seed"}


def seed_of(table: Mapping[str, Any], name: str, seed: int) -> int:
    """The training seed that a run is made with: the first for one that doesn't depend on it."""
    return table["seeds"][0] if name in table["deterministic"] else seed


def commands(
    table: Mapping[str, Any], given: Mapping[str, str], keys: set[str], encoders: Mapping[Draw, Mapping[str, str]]
) -> Iterator[tuple[str, int | None, int, list[str]]]:
    """(run, split seed, training seed, arguments of cold_jax.train) of all the table's runs; `encoders` are those of a draw."""
    everywhere = [f"{key}={value}" for key, value in given.items() if key not in keys]
    for (name, overrides), split, seed in product(table["runs"].items(), table["split_seeds"], table["seeds"]):
        arguments = [
            Template(override).substitute(given, **encoders[split, seed], split=split) for override in overrides
        ] + everywhere
        has_split = split is None or any("$split" in override for override in overrides)
        seeds = [f"seed={seed_of(table, name, seed)}", *([] if has_split else [f"split.seed={split}"])]
        yield name, split, seed, [*arguments, *seeds]


class Made(NamedTuple):
    """A run of a table, and when it is made."""

    name: str
    split: int | None
    seed: int
    run: Run
    done: Future[object]
    pretraining: Run | None = None  # of its encoder


class Runs:
    """Folders made in order, at most `jobs` at once and each once."""

    def __init__(self, jobs: int):
        self.pool, self.futures = ThreadPoolExecutor(jobs), {}

    def make(
        self, folder: Path, make: Callable[..., object], *args: object, after: Iterable[Future[object]] = ()
    ) -> Future[object]:
        """`make(folder, *args)`, begun when those before it are done. They must have been given earlier, so that none waits for ever."""
        earlier = list(after)
        if folder not in self.futures:
            self.futures[folder] = self.pool.submit(lambda: ([other.result() for other in earlier], make(folder, *args)))
        return self.futures[folder]


def submit(table: Mapping[str, Any], folder: Path, given: Mapping[str, str], keys: set[str], runs: Runs) -> list[Made]:
    """Each run of a table, under way."""
    encoders: dict[Draw, dict[str, str]] = {draw: {} for draw in product(table["split_seeds"], table["seeds"])}
    before: dict[str, Future[object]] = {}
    pretrained_runs: Mapping[str, list[str]] = table["pretrained"]
    for draw, (name, overrides) in product(encoders, pretrained_runs.items()):
        split, seed = draw
        arguments = [Template(override).substitute(given, seed=seed, split=split) for override in overrides]
        path = folder / "runs" / f"{name}-{_digest(arguments)}"
        encoders[draw][name] = str(path / "encoder")
        before[encoders[draw][name]] = runs.make(path, pretrained, arguments)

    pre_trained = set(before)

    def submitted(name: str, split: int | None, seed: int, arguments: list[str]) -> Made:
        path = folder / "runs" / f"{name}-{split}-{seed_of(table, name, seed)}-{_digest(arguments)}"
        needed = [encoder for encoder in before if any(encoder in argument for argument in arguments)]
        done = runs.make(path, trained, arguments, after=[before[encoder] for encoder in needed])
        pretrainings = [Run(Path(encoder).parent) for encoder in needed if encoder in pre_trained]
        return Made(name, split, seed, Run(path), done, next(iter(pretrainings), None))

    for name, of in table["exported"].items():
        only = {**table, "runs": {of: table["runs"][of]}, "split_seeds": table["split_seeds"][:1], "seeds": table["seeds"][:1]}
        made = submitted(*next(commands(only, given, keys, encoders)))
        encoder = made.run.path / "encoder"
        before[str(encoder)] = runs.make(encoder, exported, made.run, after=[made.done])
        for of_draw in encoders.values():
            of_draw[name] = str(encoder)
    return [submitted(*command) for command in commands(table, given, keys, encoders)]


def measured(submitted: Sequence[Made]) -> pl.DataFrame:
    """A value in each row, with its run, split, seed and draw (both), method, part, metric, user (null: of no user), and protocol."""
    frames = []
    for name, split, seed, run, done, pretraining in submitted:
        done.result()
        results = run.read_results()
        of_users = pl.DataFrame(run.read_per_user()._asdict()).rename({"user_id": "user"})
        whole = [
            (part, method, None, metric, value)
            for method, parts in {"model": results["test"], **results["baselines"]}.items()
            for part, values in parts.items()
            for metric, value in values.items()
        ]
        key = ["part", "method", "metric"]
        of_none = pl.DataFrame(whole, schema=of_users.schema, orient="row").join(of_users.select(key).unique(), key, "anti")
        cost = costs(results) if pretraining is None else costs(pretraining.read_pretraining(), ["model", *results["baselines"]])
        of_none = pl.concat([of_none, pl.DataFrame(cost, schema=of_users.schema, orient="row")])
        descriptions = [
            f"{p['candidates']}; masked: {p['mask']}; ties {p['ties']}; context: {p['context']}"
            for p in results["protocol"].values()
        ]
        protocols = pl.DataFrame({"part": [*results["protocol"], "run"], "protocol": [*descriptions, "see README.md"]})
        labels = {"run": pl.lit(name), "split": pl.lit(split, pl.Int64), "seed": pl.lit(seed), "draw": pl.lit(f"{split} {seed}")}
        frames.append(pl.concat([of_users, of_none]).join(protocols, "part").with_columns(**labels))
    return pl.concat(frames)


def costs(document: Mapping[str, Any], methods: Sequence[str] = ("model",)) -> list[tuple[str, str, None, str, float]]:
    """Rows (part, method, user, metric, value) of the part `run`; none of a run that doesn't tell. What was pre-trained is all methods'."""
    if "parameters" not in document:
        return []
    memory = (document.get("peak_device_memory") or document["peak_memory"] or 0) / 2**20
    values = document["parameters"]["trained"], document["seconds"]["train"], memory
    return [("run", method, None, name, float(value)) for method in methods for name, value in zip(COSTS, values, strict=True)]


def pretrained(folder: Path, arguments: Sequence[str]) -> None:
    """A pre-training, made where it isn't there."""
    if not (folder / "encoder").exists():
        make("pretrain", folder, arguments)


def trained(folder: Path, arguments: Sequence[str]) -> None:
    """A finished run, made where it isn't there."""
    if not Run(folder).finished:
        make("train", folder, arguments)


def exported(encoder: Path, run: Run) -> None:
    """The encoder φ of a run, exported where it isn't there."""
    if not encoder.exists():
        subprocess.run([sys.executable, "-m", "cold_jax.export", f"run={run.path}", f"to={encoder}"], check=True)


def make(command: str, folder: Path, arguments: Sequence[str]) -> None:
    """A run in a folder, begun or gone on with."""
    where = f"resume={folder}" if (folder / "config.yaml").exists() else f"hydra.run.dir={folder}"
    print(f"# python -m cold_jax.{command} {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", f"cold_jax.{command}", "logger=none", *arguments, where], check=True)


def _digest(arguments: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(arguments).encode()).hexdigest()[:8]


def rows(table: Mapping[str, Any], values: pl.DataFrame) -> list[Row]:
    """table.json's rows of one table: quoted figures, measured ones, and ratios of these to the method `ratio`."""
    made: list[Row] = []
    measured_rows = [entry for entry in table["rows"] if "method" in entry]
    for part, metric in product(table["parts"], table["metrics"]):
        if (part == "run") != (metric in COSTS):
            continue
        here = values.filter(part=part, metric=metric)
        # a baseline has no costs of its own
        own = [entry for entry in measured_rows if part != "run" or not filtered(here, entry["method"]).is_empty()]
        of = {entry["name"]: of_method(here, entry["method"]) for entry in own}
        best = strongest(of)
        bar = next((entry["name"] for entry in own if entry["method"] == table["ratio"]), None)
        for entry in table["rows"]:
            reference = entry.get("reference", {}).get(part, {})
            about = {"method": entry["name"], "kind": entry["kind"], "data": table["title"], "part": part}
            more = {"source": entry.get("source"), "within": entry.get("within")}
            if entry in own:
                ours, protocol = of[entry["name"]], of[entry["name"]]["protocol"][0]
                more |= {"protocol": protocol, "significant": entry["name"] == best}
                made.append({**about, "metric": metric, **figure(ours), "reference": reference.get(metric), **more})
                if bar not in (None, entry["name"]):
                    name, more = f"{metric} / {bar}", more | {"significant": False}
                    found = figure(ratio(ours, of[bar]))
                    made.append({**about, "metric": name, **found, "reference": reference.get(name), **more})
            elif metric in reference:
                quoted = dict.fromkeys(("sd", "ci95", "seeds", "protocol")) | {"mean": reference[metric], "significant": False}
                made.append({**about, "metric": metric, **quoted, "reference": reference[metric], **more})
    return made


def filtered(values: pl.DataFrame, method: str) -> pl.DataFrame:
    run, _, name = method.partition(".")
    return values.filter(run=run, method=name)


def of_method(values: pl.DataFrame, method: str) -> pl.DataFrame:
    """The values of RUN.METHOD. Raises ValueError where there are none."""
    found = filtered(values, method)
    if found.is_empty():
        known = ", ".join(f"{run}.{name}" for run, name in values.select("run", "method").unique().sort("run", "method").rows())
        raise ValueError(f"experiment.yaml: {method} has no values here; there are {known or 'none'}")
    return found


def strongest(of: Mapping[str, pl.DataFrame]) -> str | None:
    """The method of the largest mean, if it differs from every other one in a randomisation test over users with Holm's correction."""
    best = max(of, key=lambda name: figure_mean(of[name]))
    p = []
    for name in of.keys() - {best}:
        both = of[best].join(of[name], ["draw", "user"], suffix="_other")
        if both.is_empty():  # a metric of no user
            return None
        difference_U = pooled(both.with_columns(value=pl.col("value") - pl.col("value_other")))
        p.append(randomisation(difference_U, DRAWS, np.random.default_rng(0)))
    return best if max(holm(p), default=0) < 0.05 else None


def ratio(ours: pl.DataFrame, bar: pl.DataFrame) -> pl.DataFrame:
    """Values whose mean in each draw is the ratio r of the means: (a_u − r b_u) / b + r, which carry it to first order."""
    both = ours.join(bar, ["draw", "user"], suffix="_bar", nulls_equal=True)
    mean, mean_bar = (pl.col(name).mean().over("draw") for name in ("value", "value_bar"))
    r = mean / mean_bar
    return both.with_columns(value=(pl.col("value") - r * pl.col("value_bar")) / mean_bar + r)


def figure_mean(values: pl.DataFrame) -> float:
    return float(values.group_by("draw").agg(pl.col("value").mean())["value"].mean())  # type: ignore[arg-type]


def figure(values: pl.DataFrame) -> dict[str, Any]:
    """Mean and sd over the draws' means, and the mean's interval over users."""
    mean_R = values.group_by("draw").agg(pl.col("value").mean())["value"].sort().to_numpy()
    interval = None if values["user"].null_count() else bootstrap(pooled(values), DRAWS, np.random.default_rng(0))
    seeds = {"split": sorted(values["split"].drop_nulls().unique()), "training": sorted(values["seed"].unique())}
    sd = float(np.std(mean_R, ddof=1)) if len(mean_R) > 1 else None
    return {"mean": float(np.mean(mean_R)), "sd": sd, "ci95": interval, "seeds": seeds}


def pooled(values: pl.DataFrame) -> np.ndarray:
    return pool_over_runs(*(values.sort("draw", "user")[name].to_numpy() for name in ("value", "user", "draw")))


def beyond(row: Row, committed: Sequence[Row]) -> str | None:
    """What is wrong where a figure lies outside the interval that is committed."""
    for old in committed:
        if all(old[key] == row[key] for key in ("method", "data", "part", "metric")) and old["ci95"]:
            low, high = old["ci95"]
            if not low <= row["mean"] <= high:
                what = ", ".join(row[key] for key in ("method", "data", "part", "metric"))
                return f"{what}: {row['mean']:.4f} lies outside the committed [{low:.4f}, {high:.4f}]"
    return None


def met(row: Row) -> bool | None:
    """Whether a figure is its reference's, `within` so much, or without that reaches it; None where there is nothing to meet."""
    if row["reference"] is None or row["seeds"] is None:
        return None
    return row["mean"] >= row["reference"] if row["within"] is None else abs(row["mean"] - row["reference"]) <= row["within"]


def shown(row: Row) -> str:
    """A cell: mean ± sd over the draws, bold where no other is as good, the reference behind it with ✓ or ✗."""
    text = number(row, "mean") + (f" ± {number(row, 'sd')}" if row["sd"] is not None else "")
    against = {None: "", True: f" (✓ {row['reference']})", False: f" (✗ {row['reference']})"}[met(row)]
    return (f"**{text}**" if row["significant"] else text) + against


def number(row: Row, key: str) -> str:
    return f"{row[key]:,.0f}" if row["metric"] in COSTS else f"{row[key]:.4f}"


def markdown(table: Mapping[str, Any], found: Sequence[Row]) -> str:
    """A line for each method, the best of the first column last; a column for each metric of each part."""
    own = [row for row in found if row["data"] == table["title"]]
    columns = list(dict.fromkeys((row["part"], row["metric"]) for row in own))
    lines: dict[str, dict[tuple[str, str], Row]] = {}
    for row in own:
        lines.setdefault(row["method"], {})[row["part"], row["metric"]] = row
    heads = [metric if len(table["parts"]) == 1 else f"{part}: {metric}" for part, metric in columns]
    text = [f"**{table['title']}**", "", "| " + " | ".join(["", *heads, ""]) + " |", "|---" * (len(columns) + 2) + "|"]
    for name, cells in sorted(lines.items(), key=lambda line: next(iter(line[1].values()))["mean"]):
        some = next(iter(cells.values()))
        by = ", ".join(filter(None, [some["kind"].replace("_", " "), some["source"]]))
        text.append("| " + " | ".join([name, *(shown(cells[c]) if c in cells else "" for c in columns), by]) + " |")
    return "\n".join(text)


def draw(table: Mapping[str, Any], found: Sequence[Row], path: Path) -> None:
    """A line for each measured method with the intervals of its points, over the parts in their order; or `against` costs, a panel for each."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = table["title"]
    import matplotlib.pyplot as plt

    own = [row for row in found if row["data"] == table["title"]]
    against: list[str | None] = [table["against"]] if not isinstance(table["against"], list) else table["against"]
    figure, panels = plt.subplots(
        1, len(against), figsize=(6 if len(against) == 1 else 4 * len(against), 4), layout="constrained", sharey=True
    )
    lines: dict[str, list[Row]] = {}
    for row in own:
        if row["ci95"] and row["metric"] == table["metrics"][0] and (against == [None] or row["part"] == table["parts"][0]):
            lines.setdefault(row["method"], []).append(row)
    for axes, cost in zip(np.atleast_1d(panels), against, strict=True):
        cost_of = {row["method"]: row["mean"] for row in own if row["metric"] == cost}
        for nth, (method, points) in enumerate(lines.items()):
            style = {"color": f"C{nth % 10}", "label": method}
            if cost is not None and method not in cost_of:
                axes.axhline(points[0]["mean"], linestyle="--", linewidth=1, **style)
                continue
            at = [table["parts"].index(row["part"]) + 0.05 * nth if cost is None else cost_of[method] for row in points]
            mean, (low, high) = np.array([row["mean"] for row in points]), np.array([row["ci95"] for row in points]).T
            marker = "os^D"[nth // 10]
            axes.errorbar(at, mean, [mean - low, high - mean], marker=marker, markersize=3 + nth // 10, linewidth=1, **style)
        if cost is None:
            axes.set_xticks(range(len(table["parts"])), table["parts"], rotation=30)
        elif cost == "trained":
            if min(cost_of.values()) > 0:
                axes.set_xscale("log")
            else:
                axes.set_xscale("symlog", linthresh=1000)
                axes.set_xlim(left=-200)
            axes.set_xlabel("trained parameters")
        else:
            axes.set_xlabel({"seconds": "seconds of training", "MB": "peak memory, MB"}[cost])
    first = np.atleast_1d(panels)[0]
    first.set(ylabel=table["metrics"][0])
    figure.legend(
        *first.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2 if len(against) == 1 else 4,
        fontsize="small",
        frameon=False,
    )
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
