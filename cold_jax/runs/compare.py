"""Finished runs side by side: means over seeds, baselines, and paired differences over users."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, cast

import numpy as np

from cold_jax.errors import ConfigError, RunError
from cold_jax.evaluation.statistics import Comparison, compare_paired, holm, pool_over_runs, randomisation
from cold_jax.runs.folder import Run, flat_config
from cold_jax.runs.results import Parts, Results

if TYPE_CHECKING:
    import polars as pl  # 0.2 s, which a training's own table does without

SHOWN = ("recall@20", "ndcg@20")


DRAWS = 10_000
MOST_PAIRED = 12  # groups of which each two are compared; of more each is compared to the strongest baseline alone


NO_CHOICE = r"(seed|split\.seed|resume|logger|hydra|data\.root)(\..*)?"  # keys that two runs of one group may differ in


class RunRecord(NamedTuple):
    path: Path
    data: str
    split: int | None  # its seed; None where it has none
    config: dict[str, Any]  # flat, as adapter.rank -> 8; less NO_CHOICE
    results: Results
    users: pl.DataFrame  # part, method (null is the run itself), user_id, metric, value


class RunScan(NamedTuple):
    finished: list[RunRecord]
    unfinished: list[Path]
    pretrainings: dict[Path, str]  # finished ones, which have an encoder and no test figures: how it is evaluated
    damaged: dict[Path, str]  # finished, but not to be read: why


class Spread(TypedDict):
    mean: float
    sd: float | None  # of a sample; None of a single value


class Method(TypedDict):
    name: str
    seeds: list[int]  # of training, of each run
    splits: list[int | None]  # split.seed of each run
    runs: list[str]
    test: dict[str, dict[str, Spread | None]]  # part -> metric -> over the runs that have it


class Difference(TypedDict):
    a: str
    b: str
    part: str
    metric: str
    found: Comparison


class ComparisonTable(TypedDict):
    """Methods that answered the same questions on the same users."""

    title: str
    groups: list[Method]
    baselines: list[Method]
    strongest: dict[str, dict[str, str | None]]  # part -> metric -> baseline, for everything that is shown
    differences: list[Difference]
    best: dict[str, dict[str, str | None]]  # part -> metric -> the method that is significantly better than each other one


def scan_runs(folders: Sequence[Path]) -> RunScan:
    """Every run under the folders, once each. FileNotFoundError where a folder does not exist."""
    found = RunScan([], [], {}, {})
    for path in sorted({path for folder in folders for path in _runs(folder)}):
        run = Run(path)
        if not (run.finished or run.pretrained):
            found.unfinished.append(path)
            continue
        try:
            if run.pretrained and not run.finished:
                run.read_pretraining()
                found.pretrainings[path] = run.evaluation_of_encoder
                continue
            found.finished.append(_read(run))
        except (OSError, ValueError) as error:
            found.damaged[path] = f"{type(error).__name__}: {error}"
    return found


def left_out(found: RunScan) -> list[str]:
    """A line for each run that is in no table."""
    return [
        *(f"pre-training: {path}; evaluate its encoder with {command}" for path, command in found.pretrainings.items()),
        *(f"unfinished: {path}" for path in found.unfinished),
        *(f"damaged: {path}: {problem}" for path, problem in found.damaged.items()),
    ]


def paths_left_out(found: RunScan) -> dict[str, list[str] | dict[str, str]]:
    """The same for a machine: of each kind the folders, of damaged ones with what is wrong."""
    return {
        "unfinished": [str(path) for path in found.unfinished],
        "pretrainings": [str(path) for path in found.pretrainings],
        "damaged": {str(path): problem for path, problem in found.damaged.items()},
    }


def _runs(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    for path, below, files in os.walk(folder.resolve()):
        if "results.json" in files or "config.yaml" in files:
            below.clear()  # W&B keeps a config.yaml of its own further down
            yield Path(path)


def _read(run: Run) -> RunRecord:
    import polars as pl

    results = run.read_results()
    config = flat_config(run.read_config())
    users = pl.DataFrame(run.read_per_user()._asdict())
    method = pl.when(pl.col("method").is_in(list(results["baselines"]))).then("method")
    choices = {key: value for key, value in config.items() if not re.fullmatch(NO_CHOICE, key)}
    name, seed = config.get("data.name"), config.get("split.seed")
    if not isinstance(name, str) or not isinstance(seed, int | None):
        raise RunError(
            f"{run.path}/config.yaml: data.name {str(name)[:80]!r}, split.seed {str(seed)[:80]!r}: not a name and a seed"
        )
    return RunRecord(run.path, name, seed, choices, results, users.with_columns(method=method))


def compare_runs(runs: Sequence[RunRecord], chosen: Sequence[str]) -> list[ComparisonTable]:
    """A section for each question, a group in it for each config; the splits of several seeds are one question.

    `chosen` are metrics; none: SHOWN, or all of a part without. Differences are a's metric less b's, users of all runs pooled
    (`metrics.pooled`): between groups, and of each group to the strongest baseline; p by Holm over those of a column.
    Raises ConfigError for a metric that no run has.
    """
    known = {metric for run in runs for values in run.results["test"].values() for metric in values}
    if missing := set(chosen) - known:
        raise ConfigError(f"metric {', '.join(sorted(missing))}: no run has it; there are {', '.join(sorted(known))}")
    asked: dict[str, list[RunRecord]] = {}
    for run in runs:
        asked.setdefault(_question(run), []).append(run)
    sections: dict[tuple[str, int], list[RunRecord]] = {}
    for members in asked.values():
        kind = _question(members[0], of_one_split=False)
        # what has the same split seed and other users is another question
        n = next(n for n in count() if members[0].split not in {run.split for run in sections.get((kind, n), [])})
        sections.setdefault((kind, n), []).extend(members)
    return [_section(members, chosen) for members in sections.values()]


def _question(run: RunRecord, of_one_split: bool = True) -> str:
    """Data, split and protocol, and of one split its seed and users: what two runs share whose users can be paired."""
    import polars as pl

    counts = {} if of_one_split else {"users": None, "items": None}
    asked = {
        part: {**protocol, "minimum_detectable_difference": None, **counts} for part, protocol in run.results["protocol"].items()
    }
    users = run.users.filter(pl.col("method").is_null()).select("part", "user_id").unique().sort("part", "user_id")
    split = {key: value for key, value in run.config.items() if key.startswith("split.")}
    of_split = [run.split, run.results.get("digests", {}).get("split"), users.rows()] if of_one_split else None
    return json.dumps([run.data, split, asked, of_split], sort_keys=True)


def one_of_each_question(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The first run of those that share data, split, users and protocol."""
    return list({_question(run): run for run in reversed(runs)}.values())[::-1]


def _section(runs: Sequence[RunRecord], chosen: Sequence[str]) -> ComparisonTable:
    by_config: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_config.setdefault(json.dumps([run.config, _data_digest(run)], sort_keys=True), []).append(run)
    names = (f"#{number} {name}" for number, name in enumerate(_names([of[0] for of in by_config.values()]), 1))
    groups = _apart(dict(zip(names, by_config.values(), strict=True)))
    runs = [run for of in groups.values() for run in of]
    baselines = {name: [r for r in runs if name in r.results["baselines"]] for run in runs for name in run.results["baselines"]}
    columns = columns_of([run.results["test"] for run in runs], chosen)
    rows = [method_of(name, of, [r.results["baselines"][name] for r in of], columns) for name, of in baselines.items()]
    strongest = strongest_baselines(rows, columns)
    methods = [method_of(name, of, [r.results["test"] for r in of], columns) for name, of in groups.items()]
    users = users_by_method(groups)
    return {
        "title": runs[0].data,
        "groups": methods,
        "baselines": rows,
        "strongest": strongest,
        "differences": _differences(groups, strongest, users),
        "best": _best([*methods, *rows], columns, users),
    }


def _data_digest(run: RunRecord) -> str | None:
    """Other texts of the same items make another method."""
    return run.results.get("digests", {}).get("data")


def _apart(groups: Mapping[str, Sequence[RunRecord]]) -> dict[str, Sequence[RunRecord]]:
    """The groups, a baseline's name followed by those of its groups where it is another method in others: of other texts, another encoder or
    other settings, which gave other figures on a split."""
    apart = dict(groups)
    for baseline in {name: None for of in groups.values() for run in of for name in run.results["baselines"]}:
        having = [(group, run) for group, of in groups.items() for run in of if baseline in run.results["baselines"]]
        figures = {(run.split, json.dumps(run.results["baselines"][baseline], sort_keys=True)) for _, run in having}
        if len(figures) == len({split for split, _ in figures}):
            continue
        variants: dict[str, dict[str, None]] = {}  # what it was made from → groups, each once
        for group, run in having:
            chosen = {key: value for key, value in run.config.items() if key.startswith(("encoder.", f"baseline.{baseline}."))}
            variants.setdefault(json.dumps([_data_digest(run), chosen], sort_keys=True), {})[group] = None
        for members in variants.values() if len(variants) > 1 else ():
            label = f"{baseline} ({', '.join(group.split()[0] for group in members)})"
            apart |= {group: [_renamed(run, baseline, label) for run in apart[group]] for group in members}
    return apart


def _renamed(run: RunRecord, baseline: str, label: str) -> RunRecord:
    import polars as pl

    def rename(by_name: Mapping[str, Any]) -> dict[str, Any]:
        return {label if name == baseline else name: value for name, value in by_name.items()}

    results = {**run.results, "baselines": rename(run.results["baselines"]), "versus": rename(run.results["versus"])}
    users = run.users.with_columns(pl.col("method").replace({baseline: label}))
    return run._replace(results=cast("Results", results), users=users)


def _names(runs: Sequence[RunRecord]) -> list[str]:
    """What sets each apart, in the words that were typed; by the fields of their configs where those are not known or don't."""
    typed = [[word.lstrip("+") for word in run.results.get("overrides", []) if not _no_choice(word)] for run in runs]
    shared = set.intersection(*map(set, typed))
    apart = [" ".join(word for word in words if word not in shared) for words in typed]
    if all("overrides" in run.results for run in runs) and len(set(apart)) == len(apart):
        return [name or run.results["experiment"] for name, run in zip(apart, runs, strict=True)]
    return _names_by_fields(runs)


def _no_choice(word: str) -> bool:
    return re.fullmatch(NO_CHOICE, word.lstrip("+~").partition("=")[0]) is not None


def _names_by_fields(runs: Sequence[RunRecord]) -> list[str]:
    """`adapter=Lora adapter.rank=8`. A key of a class is compared among the runs that have that class."""

    def differs(run: RunRecord, key: str) -> bool:
        kind = f"{key.rpartition('.')[0]}._target_"
        peers = runs if key == kind else [peer for peer in runs if peer.config.get(kind) == run.config.get(kind)]
        return any(peer.config.get(key) != run.config[key] for peer in peers)

    def describe(key: str, value: object) -> str:
        return (
            f"{key.removesuffix('._target_')}={str(value).rpartition('.')[2]}" if key.endswith("._target_") else f"{key}={value}"
        )

    apart = [" ".join(describe(key, value) for key, value in run.config.items() if differs(run, key)) for run in runs]
    return [name or run.results["experiment"] for name, run in zip(apart, runs, strict=True)]


def columns_of(tables: Sequence[Parts], chosen: Sequence[str]) -> dict[str, list[str]]:
    """The metrics to show of each part, all and warm first and support_5 before support_10."""
    there: dict[str, set[str]] = {}
    for parts in tables:
        for part, values in parts.items():
            there.setdefault(part, set()).update(values)

    def place(part: str) -> tuple[int, list[str]]:
        pieces = re.split(r"(\d+)", part)
        return {"all": 0, "warm": 1}.get(part, 2), [piece.zfill(9) if piece.isdigit() else piece for piece in pieces]

    shown = {part: [m for m in chosen or SHOWN if m in there[part]] for part in sorted(there, key=place)}
    return {part: names or ([] if chosen else sorted(there[part])) for part, names in shown.items()}


def method_of(name: str, runs: Sequence[RunRecord], tests: Sequence[Parts], columns: Mapping[str, Sequence[str]]) -> Method:
    def spread(part: str, metric: str) -> Spread | None:
        values = [parts[part][metric] for parts in tests if part in parts and metric in parts[part]]
        if not values:
            return None
        return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else None}

    test = {part: {metric: spread(part, metric) for metric in names} for part, names in columns.items()}
    seeds, splits = [run.results["seed"] for run in runs], [run.split for run in runs]
    return {"name": name, "seeds": seeds, "splits": splits, "runs": [str(run.path) for run in runs], "test": test}


def strongest_baselines(baselines: Sequence[Method], columns: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str | None]]:
    def best(part: str, metric: str) -> str | None:
        means = {row["name"]: found["mean"] for row in baselines if (found := row["test"][part][metric])}
        return max(means, key=lambda name: means[name], default=None)

    return {part: {metric: best(part, metric) for metric in names} for part, names in columns.items()}


def users_by_method(groups: Mapping[str, Sequence[RunRecord]]) -> dict[tuple[object, ...], pl.DataFrame]:
    """(part, metric, method) → a value for each user of each split, averaged over the runs that have it."""
    import polars as pl

    rows = pl.concat(
        run.users.with_columns(pl.col("method").fill_null(name), split=pl.lit(str(run.split)))
        for name, runs in groups.items()
        for run in runs
    )
    key = ["part", "metric", "method"]
    return rows.group_by(*key, "split", "user_id").agg(pl.col("value").mean()).partition_by(*key, as_dict=True)


def paired_values(a: pl.DataFrame, b: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """A value for each user, of a and of b, over the splits that both have."""
    both = a.join(b, ["split", "user_id"], suffix="_b").sort("split", "user_id")
    user, split = both["user_id"].to_numpy(), both["split"].to_numpy()
    return pool_over_runs(both["value"].to_numpy(), user, split), pool_over_runs(both["value_b"].to_numpy(), user, split)


def _differences(
    groups: Mapping[str, Sequence[RunRecord]],
    strongest: Mapping[str, Mapping[str, str | None]],
    users: Mapping[tuple[object, ...], pl.DataFrame],
) -> list[Difference]:
    """Between groups, unless there are many, and of each to the strongest baseline: of a single run that is what its own table says."""
    pairs = list(combinations(groups, 2)) if len(groups) <= MOST_PAIRED else []
    differences: list[Difference] = []
    for part, names in strongest.items():
        for metric, best in names.items():
            column: list[Difference] = []
            for a, b in [*pairs, *((name, best) for name in groups if best)]:
                both = [users[part, metric, method] for method in (a, b) if (part, metric, method) in users]
                if len(both) == 2 and not both[0].join(both[1], ["split", "user_id"]).is_empty():  # coverage is of no user
                    found = compare_paired(*paired_values(*both), DRAWS, np.random.default_rng(0))
                    column.append({"a": a, "b": b, "part": part, "metric": metric, "found": found})
            for difference, p in zip(column, holm([d["found"]["p"] for d in column]), strict=True):
                difference["found"]["p_holm"] = p
                difference["found"] = _of_single_run(groups[difference["a"]], difference) or difference["found"]
            differences += column
    return differences


def _of_single_run(runs: Sequence[RunRecord], difference: Difference) -> Comparison | None:
    """What its results.json says of the same comparison; None where that has none, or where there are several runs."""
    by_part = runs[0].results["versus"].get(difference["b"], {}) if len(runs) == 1 else {}
    return by_part.get(difference["part"], {}).get(difference["metric"])


def _best(
    methods: Sequence[Method], columns: Mapping[str, Sequence[str]], users: Mapping[tuple[object, ...], pl.DataFrame]
) -> dict[str, dict[str, str | None]]:
    def best(part: str, metric: str) -> str | None:
        """The one of the largest mean, if the randomisation test tells it from each other one at 5 %, Holm over these."""
        means = {row["name"]: found["mean"] for row in methods if (found := row["test"][part][metric])}
        first = max(means, key=lambda name: means[name])
        if any((part, metric, name) not in users for name in means) or len(means) < 2:
            return None
        p = []
        for name in means.keys() - {first}:
            a_U, b_U = paired_values(users[part, metric, first], users[part, metric, name])
            p.append(randomisation(a_U - b_U, DRAWS, np.random.default_rng(0)) if len(a_U) else 1.0)
        return first if max(holm(p)) < 0.05 else None

    return {part: {metric: best(part, metric) for metric in names} for part, names in columns.items()}
