"""Which runs have read a user, and every place in a run where people are: the list of docs/how_to/privacy.md."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import small

from cold_jax import config, experiment
from cold_jax.data.dataset import Dataset
from cold_jax.runs.folder import Run
from cold_jax.runs.loggers import combine
from cold_jax.runs.people import runs_with

CANARY, WORDS = "canary-7f3a9", "quokka enthusiast"
HOLDS_IDS = {"split.csv", "per_user.parquet", "rankings.parquet"}


def test_runs_that_learned_from_a_user_are_named(finished: Path) -> None:
    rows = Run(finished).read_split()
    label = dict(zip(rows.user_id, rows.part, strict=True))
    learned = next(user for user, part in zip(rows.user_id, rows.part, strict=True) if part == "train")
    tested = next(user for user, part in label.items() if part == "cold_test")
    [line] = [line for line in runs_with(learned, [finished.parent]) if line.startswith(f"{finished}:")]
    assert line.startswith(f"{finished}: learned from them (")
    [line] = [line for line in runs_with(tested, [finished.parent]) if line.startswith(f"{finished}:")]
    assert line.startswith(f"{finished}: evaluated on them (")
    assert list(runs_with("nobody", [finished.parent])) == []


def test_a_private_run_says_its_epsilon_and_one_that_cannot_tell_says_so(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "a", ignore=shutil.ignore_patterns("checkpoints"))
    run = Run(tmp_path / "a")
    user = next(user for user, part in zip(*run.read_split()[::2], strict=True) if part == "train")
    numbers = {"delta": 0.01, "noise_multiplier": 1.0, "sampling_rate": 0.1, "steps": 3, "clip": 1.0}
    results = run.read_results()
    (run.path / "results.json").unlink()
    run.write_results(results | {"privacy": {"epsilon": 2.0, **numbers}})  # type: ignore[arg-type]
    [line] = runs_with(user, [tmp_path])
    assert "learned from them with ε = 2" in line
    (run.path / "split.csv").unlink()
    [line] = runs_with(user, [tmp_path])
    assert "is not finished" in line


@pytest.fixture(scope="module")
def with_canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run, W&B offline, whose data have a user with an id and words that occur nowhere else; among training and test users."""
    folder = tmp_path_factory.mktemp("canary")
    made = type(small.DATA).__call__

    def marked(self: object) -> Dataset:
        dataset = made(self)  # type: ignore[arg-type]
        users = dataset.users
        ids = tuple(f"{CANARY}-{n}" for n in range(len(users)))
        texts = {name: tuple(f"{WORDS} {text}" for text in values) for name, values in users.texts.items()}
        return replace(dataset, users=replace(users, ids=ids, texts=texts))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(small.DATA), "__call__", marked)
        patch.setenv("COLD_JAX_CACHE", str(folder / "cache"))
        patch.setenv("WANDB_MODE", "offline")
        words = ["+experiment=smoke", "logger=[wandb]", "data.users=41", "data.seed=7", "loop.max_steps=2", "adapter=frozen"]
        words += ["parallel.devices=1", "batching.size=16", "batching.negatives=16"]
        cfg = config.compose([*words, "logger.wandb.finish_timeout=60"])
        s = config.settings(cfg)
        run = Run(folder / "run")
        run.path.mkdir()
        logger = combine([make() for make in s.loggers.values()])
        logger.start({"experiment": "smoke"}, run.path, "canary", "none", "train")
        logger.finish(experiment.train_run(s, run, logger))
    return folder


def test_people_are_where_the_page_says(with_canary: Path) -> None:
    """Ids in three files, texts in none; nothing of either in what W&B has."""
    run = with_canary / "run"
    files = [path for path in run.rglob("*") if path.is_file()]
    assert any("wandb" in path.parts for path in files)
    holds = {path.relative_to(run).as_posix() for path in files if CANARY.encode() in path.read_bytes()}
    packed = {name for name in HOLDS_IDS if name.endswith("parquet")}
    import polars as pl

    for name in packed:
        assert CANARY in str(pl.read_parquet(run / name)["user_id"][0])
    assert holds | packed == HOLDS_IDS
    assert not [path for path in files if WORDS.encode() in path.read_bytes()]
    assert not [path for path in files if path.suffix == ".parquet" and WORDS in str(pl.read_parquet(path).to_dicts())]
    assert "privacy" not in json.loads((run / "results.json").read_text())


def test_the_page_lists_them() -> None:
    text = (Path(__file__).parents[2] / "docs/how_to/privacy.md").read_text()
    line = text.split("## Personal data in a run's folder")[1].strip().splitlines()[0]
    assert {name for name in HOLDS_IDS if f"`{name}`" in line} == HOLDS_IDS
