"""Every committed table is whole, its README shows it, and its runs are commands that exist."""

import json
import math
from pathlib import Path
from string import Template

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cold_jax import CONF, build, command  # noqa: F401  (command registers the resolvers)

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[1] / "experiments").glob("*/experiment.yaml"))
KEYS = ["method", "kind", "data", "part", "metric", "mean", "sd", "ci95", "seeds", "reference", "source", "protocol"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
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


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_readme_shows_the_table_and_its_command(folder: Path) -> None:
    readme = (folder / "README.md").read_text()
    lines = [line.split("|") for line in readme.splitlines() if line.startswith("|")]
    for row in json.loads((folder / "table.json").read_text()):
        figure = f"{row['mean']:.4f}"
        assert any(cells[1].strip() == row["method"] and any(figure in cell for cell in cells) for cells in lines), row
    assert f"make experiment NAME={folder.name}" in readme


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_run_composes_and_every_row_is_of_one(folder: Path) -> None:
    for table in OmegaConf.to_container(OmegaConf.load(folder / "experiment.yaml"))["tables"]:  # type: ignore[index,call-overload]
        asked = {}
        for name, overrides in table["runs"].items():
            given = [
                Template(override).substitute(dict.fromkeys(Template(override).get_identifiers(), ".")) for override in overrides
            ]
            with initialize_config_dir(CONF, version_base="1.3"):
                asked[name] = build.settings(compose("train", given)).baselines
        for row in table["rows"]:
            run, _, method = row.get("method", "").partition(".")
            assert not run or method == "model" or method in asked[run], row
