"""Every committed table is whole, its README shows it, and its runs are commands that exist."""

import functools
import json
import math
import sys
from itertools import product
from pathlib import Path
from string import Template

import numpy as np
import polars as pl
import pytest
from omegaconf import OmegaConf

from cold_jax import config

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
import experiment

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[1] / "experiments").glob("*/experiment.yaml"))
MADE = [folder for folder in FOLDERS if (folder / "table.json").exists()]  # the rest has commands, and a README.md that says so
KEYS = ["method", "kind", "data", "part", "metric", "mean", "sd", "ci95", "seeds", "reference", "source", "protocol"]


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder not in MADE], ids=lambda folder: folder.name)
def test_what_has_no_table_says_so(folder: Path) -> None:
    assert "**No table yet**" in (folder / "README.md").read_text()


@pytest.mark.parametrize("folder", MADE, ids=lambda folder: folder.name)
def test_a_table_is_whole(folder: Path) -> None:
    rows = json.loads((folder / "table.json").read_text())
    assert len({(row["method"], row["data"], row["part"], row["metric"]) for row in rows}) == len(rows) > 0
    for row in rows:
        assert set(KEYS) <= row.keys(), row
        assert row["kind"] in ("baseline", "closed_form", "method"), row
        assert math.isfinite(row["mean"]), row
        if row["seeds"] is None:  # quoted
            assert row["source"], row
            assert row["mean"] == row["reference"], row
        else:
            assert row["protocol"], row
            draws = max(len(row["seeds"]["split"]), 1) * len(row["seeds"]["training"])
            assert (row["sd"] is None) == (draws == 1), row
        if row["ci95"] is not None:
            low, high = row["ci95"]
            assert low <= row["mean"] <= high, row


@pytest.mark.parametrize("folder", MADE, ids=lambda folder: folder.name)
def test_the_readme_shows_the_table_and_its_command(folder: Path) -> None:
    readme = (folder / "README.md").read_text()
    lines = [line.split("|") for line in readme.splitlines() if line.startswith("|")]
    for row in json.loads((folder / "table.json").read_text()):
        figure = experiment.number(row, "mean")
        assert any(cells[1].strip() == row["method"] and any(figure in cell for cell in cells) for cells in lines), row
    assert f"make experiment NAME={folder.name}" in readme


VALUES = {"split": "1", "seed": "1", "rows": "8", "dtype": "float32"}  # for $KEY that are no folders


@functools.cache
def baselines(command: str, *overrides: str) -> set[str]:
    """Of a run; many tables have the same."""
    return set(config.settings(config.compose(overrides, command)).baselines)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_run_composes_and_every_row_is_of_one(folder: Path) -> None:
    for table in OmegaConf.to_container(OmegaConf.load(folder / "experiment.yaml"))["tables"]:  # type: ignore[index,call-overload]
        asked = {}
        for command_of, commands in (("pretrain", table.get("pretrained", {})), ("train", table["runs"])):
            for name, overrides in commands.items():
                templates = map(Template, overrides)
                given = [each.substitute(dict.fromkeys(each.get_identifiers(), ".") | VALUES) for each in templates]
                asked[name] = baselines(command_of, *given)
        for row in table["rows"]:
            run, _, method = row.get("method", "").partition(".")
            assert not run or method == "model" or method in asked[run], row


def test_the_split_seed_stands_where_it_is_asked_for() -> None:
    """Else it is split.seed's."""
    table = {
        "runs": {"of": ["split.path=$root/b_$split.csv"], "own": ["a=$root"]},
        "split_seeds": [1, 2],
        "seeds": [5],
        "pretrained": {},
        "exported": {},
        "deterministic": [],
    }
    assert experiment.wanted(table) == {"root"}
    on_phi = {**table, "runs": {**table["runs"], "on": ["encoder.id=$phi"]}}
    assert experiment.wanted(on_phi | {"exported": {"phi": "own"}}) == {"root"}
    assert experiment.wanted(on_phi) == {"root", "phi"}
    made = [
        (name, split, arguments)
        for name, split, _, arguments in experiment.commands(table, {"root": "r", "k": "v"}, {"root"}, {(1, 5): {}, (2, 5): {}})
    ]
    assert made == [
        ("of", 1, ["split.path=r/b_1.csv", "k=v", "seed=5"]),
        ("of", 2, ["split.path=r/b_2.csv", "k=v", "seed=5"]),
        ("own", 1, ["a=r", "k=v", "seed=5", "split.seed=1"]),
        ("own", 2, ["a=r", "k=v", "seed=5", "split.seed=2"]),
    ]


def test_each_seed_has_its_own_encoder_and_is_read_after_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {
        "pretrained": {"pairs": ["seed=$seed"], "other": ["k=1"]},
        "runs": {"theta": ["a=1"], "phi": ["encoder.id=$pairs"], "transfer": ["encoder.id=$other"]},
        "split_seeds": [None],
        "seeds": [3, 4],
        "exported": {},
        "deterministic": ["theta", "transfer"],
    }
    made: list[tuple[str, str, list[str]]] = []

    def make(command: str, folder: Path, arguments: list[str]) -> None:
        needed = [Path(argument.removeprefix("encoder.id=")) for argument in arguments if argument.startswith("encoder.id=")]
        assert all(encoder.is_dir() for encoder in needed)
        (folder / "encoder").mkdir(parents=True)
        made.append((command, folder.name, [argument.replace(f"{tmp_path}/runs/", "") for argument in arguments]))

    monkeypatch.setattr(experiment, "make", make)
    found = experiment.submit(table, tmp_path, {}, set(), experiment.Runs(3))
    assert [(name, seed) for name, _, seed, _, done, _ in found if done.result()] == list(product(table["runs"], table["seeds"]))
    encoder_of = {tuple(arguments): name for command, name, arguments in made if command == "pretrain"}
    assert set(encoder_of) == {("seed=3",), ("seed=4",), ("k=1",)}
    assert sorted(arguments for command, _, arguments in made if command == "train") == sorted(
        [
            ["a=1", "seed=3"],
            [f"encoder.id={encoder_of['k=1',]}/encoder", "seed=3"],
            *([f"encoder.id={encoder_of[f'seed={seed}',]}/encoder", f"seed={seed}"] for seed in (3, 4)),
        ]
    )
    assert len({run.path for name, _, _, run, *_ in found if name == "theta"}) == 1


def test_a_pre_training_is_made_for_each_split_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {
        "pretrained": {"own": ["split.seed=$split"], "shared": ["k=1"]},
        "runs": {"own": ["encoder.id=$own"], "shared": ["encoder.id=$shared"], "theta": ["a=1"]},
        "split_seeds": [7, 8],
        "seeds": [1],
        "exported": {},
        "deterministic": [],
    }
    of_folder: dict[str, list[str]] = {}

    def make(command: str, folder: Path, arguments: list[str]) -> None:
        (folder / "encoder").mkdir(parents=True)
        of_folder[folder.name] = arguments

    monkeypatch.setattr(experiment, "make", make)
    found = experiment.submit(table, tmp_path, {}, set(), experiment.Runs(2))
    assert all(made.done.result() for made in found)
    read = {(made.name, made.split): made.pretraining and of_folder[made.pretraining.path.name] for made in found}
    assert read == {
        ("own", 7): ["split.seed=7"],
        ("own", 8): ["split.seed=8"],
        ("shared", 7): ["k=1"],
        ("shared", 8): ["k=1"],
        ("theta", 7): None,
        ("theta", 8): None,
    }
    assert len(of_folder) == 3 + 6


TABLE = {"title": "t", "parts": ["cold"], "metrics": ["recall@20"], "ratio": "base.ridge"}
ROWS = [
    {"name": "published", "kind": "baseline", "reference": {"cold": {"recall@20": 0.3}}, "source": "a paper"},
    {"name": "bar", "method": "base.ridge", "kind": "closed_form", "reference": {"cold": {"recall@20": 0.3}}, "within": 0.01},
    {"name": "ours", "method": "base.model", "kind": "method", "reference": {"cold": {"recall@20 / bar": 1.5}}},
]


def values(model_U: np.ndarray, bar_U: np.ndarray, draws: int) -> pl.DataFrame:
    """The same users in each draw; figures of draw d are d hundredths higher."""
    return pl.DataFrame(
        {
            "part": "cold", "method": method, "user": f"u{u}", "metric": "recall@20", "value": value + d / 100,
            "protocol": "all cold items", "run": "base", "split": d, "seed": 1, "draw": f"{d} 1",
        }
        for d in range(draws) for method, of in (("model", model_U), ("ridge", bar_U)) for u, value in enumerate(of)
    )  # fmt: skip


def test_rows_of_a_table() -> None:
    bar_U = np.random.default_rng(0).uniform(0.1, 0.5, 40)
    bar_U += 0.3 - bar_U.mean()
    quoted, bar, ours, over = experiment.rows({**TABLE, "rows": ROWS}, values(bar_U + 0.06, bar_U, 3))
    assert (quoted["mean"], quoted["ci95"], experiment.met(quoted)) == (0.3, None, None)
    assert [bar["mean"], bar["sd"]] == pytest.approx([0.31, 0.01])
    assert bar["ci95"][1] - bar["ci95"][0] == pytest.approx(2 * 1.96 * bar_U.std() / 40**0.5, rel=0.1)
    assert (experiment.met(bar), experiment.met({**bar, "within": 0.009})) == (True, False)
    assert [ours["mean"], ours["seeds"]] == [pytest.approx(0.37), {"split": [0, 1, 2], "training": [1]}]
    assert (bar["significant"], ours["significant"]) == (False, True)
    assert experiment.shown(ours) == "**0.3700 ± 0.0100**"
    assert over["mean"] == pytest.approx(np.mean([0.36 / 0.30, 0.37 / 0.31, 0.38 / 0.32]))
    assert experiment.shown(over).endswith("(✗ 1.5)")


def test_a_draw_is_not_bold() -> None:
    bar_U, noise_U = np.random.default_rng(0).uniform(0.1, 0.5, (2, 40))
    found = experiment.rows({**TABLE, "rows": ROWS}, values(bar_U + noise_U - noise_U.mean() + 0.001, bar_U, 1))
    assert not any(row["significant"] for row in found)


def test_a_figure_outside_the_committed_interval_is_told() -> None:
    row = {"method": "m", "data": "d", "part": "p", "metric": "recall@20", "mean": 0.3, "ci95": [0.28, 0.32]}
    assert experiment.beyond({**row, "mean": 0.31}, [row]) is None
    assert (
        experiment.beyond({**row, "mean": 0.33}, [row])
        == "m, d, p, recall@20: 0.3300 lies outside the committed [0.2800, 0.3200]"
    )
    assert experiment.beyond({**row, "mean": 0.33, "part": "q"}, [row]) is None


RUN = {"parameters": {"trained": 12_345, "frozen": 7}, "seconds": {"train": 2.4}, "peak_memory": 3 * 2**20}


def test_what_a_run_cost_is_a_part_of_its_own(tmp_path: Path) -> None:
    bar_U = np.random.default_rng(0).uniform(0.1, 0.5, 40)
    costs = pl.DataFrame(experiment.costs(RUN), ["part", "method", "user", "metric", "value"], orient="row")
    labels = {"protocol": "here", "run": "base", "split": 1, "seed": 1, "draw": "1 1"}
    both = pl.concat(
        [values(bar_U, bar_U, 1), costs.with_columns(**{key: pl.lit(v) for key, v in labels.items()})], how="diagonal_relaxed"
    )
    table = {
        **TABLE,
        "parts": ["cold", "run"],
        "metrics": ["recall@20", *experiment.COSTS],
        "against": "trained",
        "rows": ROWS[1:],
    }
    found = experiment.rows(table, both)
    cost = {row["metric"]: experiment.number(row, "mean") for row in found if row["part"] == "run"}
    assert cost == {"trained": "12,345", "seconds": "2", "MB": "3"}
    assert {row["method"] for row in found if row["part"] == "run"} == {"ours"}
    experiment.draw(table, found, tmp_path / "plot.svg")
    assert "trained parameters" in (tmp_path / "plot.svg").read_text()
    assert experiment.costs({"seconds": {"train": 1.0}}) == []
    of_device = experiment.costs({**RUN, "peak_device_memory": 5 * 2**20}, ["model", "fold_in"])
    assert [(method, value) for _, method, _, metric, value in of_device if metric == "MB"] == [("model", 5.0), ("fold_in", 5.0)]
    experiment.draw({**table, "against": ["trained", "seconds", "MB"]}, found, tmp_path / "panels.svg")
    panels = (tmp_path / "panels.svg").read_text()
    assert [panels.count(f"<!-- {label} -->") for label in ("trained parameters", "seconds of training", "peak memory, MB")] == [
        1,
        1,
        1,
    ]
