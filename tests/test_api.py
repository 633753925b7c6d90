"""cold_jax.train, load, compose and compare: what the commands do, from Python."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from hydra.errors import HydraException

import cold_jax
from cold_jax.encoders import precomputed
from cold_jax.encoders.text_encoder import Loaded
from cold_jax.errors import ConfigError
from cold_jax.runs.finished import FinishedRun

QUICK = ("baseline=[popularity,random]", "parallel.devices=1", "logger=none")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLD_JAX_CACHE", str(folder / "cache"))
        return cold_jax.train(*runs.smoke(folder / "run", *QUICK))


def figures(results: Any) -> dict[tuple[str, str], float]:
    return {(part, name): value for part, values in results["test"].items() for name, value in values.items()}


def test_nothing_heavy_is_imported_until_it_is_used() -> None:
    heavy = "jax numpy hydra omegaconf transformers polars wandb flax"
    code = f"import sys, cold_jax; print([name for name in '{heavy}'.split() if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_train_gives_the_figures_of_the_command(trained: FinishedRun, finished: Path) -> None:
    assert figures(trained.results) == pytest.approx(figures(json.loads((finished / "results.json").read_text())), abs=1e-6)


def test_results_are_those_of_the_file(trained: FinishedRun) -> None:
    document = json.loads((trained.path / "results.json").read_text())
    assert {key: trained.results[key] for key in ("seed", "test", "baselines")} == {
        key: document[key] for key in ("seed", "test", "baselines")
    }


def test_the_mean_over_users_is_the_table_s_figure(trained: FinishedRun) -> None:
    for (part, name), value in figures(trained.results).items():
        rows = trained.per_user.filter(part=part, metric=name, method="model")
        if len(rows):
            assert rows["value"].mean() == pytest.approx(value, abs=1e-6)
    assert {"popularity", "random", "model"} == set(trained.per_user["method"])


def test_rankings_count_from_one_and_hold_no_item_twice(trained: FinishedRun) -> None:
    for (_, _), group in trained.rankings.group_by("part", "user_id"):
        assert sorted(group["rank"]) == list(range(1, len(group) + 1))
        assert group["item_id"].n_unique() == len(group)
        assert group.sort("rank")["score"].is_sorted(descending=True)


def test_a_table_is_text_and_html(trained: FinishedRun) -> None:
    table = trained.table()
    value = f"{trained.results['test']['support_5']['recall@20']:.4f}".lstrip("0")
    html = table._repr_mimebundle_([], [])["text/html"]
    for shown in (str(table), html):
        assert all(word in shown for word in ("popularity", "random", "this run", value))
    assert html.lstrip().startswith("<pre")


def test_compare_sets_runs_side_by_side(trained: FinishedRun, finished: Path) -> None:
    shown = str(cold_jax.compare([trained, finished, str(finished)], ["ndcg@20"]))
    assert "ndcg@20" in shown
    assert "popularity" in shown
    with pytest.raises(ConfigError, match="metric ndgc@20: no run has it; there are"):
        cold_jax.compare([finished], ["ndgc@20"])
    with pytest.raises(ConfigError, match="no finished run"):
        cold_jax.compare([trained.path / "checkpoints"])


def test_compose_takes_the_words_of_the_command_line() -> None:
    cfg = cold_jax.compose("+experiment=smoke", "adapter=frozen", "loop.max_steps=3")
    assert (cfg.adapter._target_, cfg.loop.max_steps) == ("cold_jax.adapters.full.Frozen", 3)
    with pytest.raises(HydraException, match="optimizer.lr"):
        cold_jax.compose("optimizer.lr=1")


def test_the_second_request_reads_nothing_and_encodes_the_profile_alone(
    trained: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLD_JAX_CACHE", str(trained.path.parent / "cache"))
    recommender = cold_jax.load(trained.path)
    some = recommender.recommend(profile="a cook of 50 years", k=3)
    encode = precomputed.encode

    def encode_profile(loaded: Loaded, texts: Sequence[str], side: str) -> np.ndarray:
        assert (list(texts), side) == (["a cook of 50 years"], "users")
        return encode(loaded, texts, side)

    def repeated(*_: object, **__: object) -> None:
        pytest.fail("data were read, or texts encoded, again")

    for place in ("experiment.prepare", "encoders.precomputed.vectors", "encoders.precomputed.states"):
        monkeypatch.setattr(f"cold_jax.{place}", repeated)
    monkeypatch.setattr(precomputed, "encode", encode_profile)
    liked = some["item_id"].to_list()
    again = recommender.recommend(profile="a cook of 50 years", k=3)
    assert again.equals(some)
    without = recommender.recommend(profile="a cook of 50 years", k=3, exclude=liked)
    assert not set(without["item_id"]) & set(liked)
    score = recommender.score(liked, profile="a cook of 50 years")
    assert list(score.values()) == pytest.approx(some["score"].to_list())
    likes = recommender.recommend(profile="a cook of 50 years", liked=liked[:1], k=1000)
    assert liked[0] not in set(likes["item_id"])
    with pytest.raises(ConfigError, match="liked: the data has no id 'nobody'"):
        recommender.recommend(liked=["nobody"])


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a finished run"):
        FinishedRun(tmp_path)
    with pytest.raises(ConfigError, match="user: not KEY=VALUE"):
        cold_jax.load(tmp_path, "user")


def test_numpy_threads_do_not_wait_busily_and_ones_own_choice_stays() -> None:
    """OpenBLAS reads the variable when NumPy is imported, so it must be set before."""
    look = "import os, sys, cold_jax; print(os.environ['OPENBLAS_THREAD_TIMEOUT'], 'numpy' in sys.modules)"
    for own, expected in ({}, "4"), ({"OPENBLAS_THREAD_TIMEOUT": "9"}, "9"):
        kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
        done = subprocess.run([sys.executable, "-c", look], env=kept | own, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [expected, "False"]
