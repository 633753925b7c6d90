"""The wiring of an experiment: what may depend on the test tasks, and what may not; what jobs of a sweep share."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from scipy import sparse

from cold_jax import config, experiment
from cold_jax.config import Settings
from cold_jax.data.dataset import Dataset
from cold_jax.encoders.precomputed import LazyVectors
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import Evaluation
from cold_jax.runs.folder import Run
from cold_jax.runs.loggers import combine
from cold_jax.splits.assemble import Split
from cold_jax.splits.tasks import EvalTask

SMOKE = (
    "+experiment=smoke",
    "logger=none",
    "split=item_cold",
    "data.users=60",
    "data.items=50",
    "data.interactions_per_user=8",
    "loop.max_steps=4",
    "loop.validate_every=1",
    "batching.size=16",
    "evaluation.resamples=10",
    "evaluation.metric=ndcg@20",
    "parallel.devices=1",
)
BASELINES = "baseline=[popularity,ridge_text,ridge_svd,content_knn,item_knn]"


@functools.cache
def settings(*overrides: str) -> Settings:
    return config.settings(config.compose([*SMOKE, *overrides]))


@dataclass(frozen=True)
class Poisoned:
    """A split whose test targets are other items than the users took."""

    split: Callable[[Dataset], Split]

    def __call__(self, dataset: Dataset) -> Split:
        made = self.split(dataset)
        return replace(made, test={name: poisoned(task) for name, task in made.test.items()})


def poisoned(task: EvalTask) -> EvalTask:
    free_UI = np.zeros(task.target_UI.shape, bool)
    free_UI[:, task.candidate_I] = True
    free_UI &= (task.history_UI.toarray() == 0) & (task.target_UI.toarray() == 0)
    first_U = free_UI.argmax(1)
    assert free_UI.any(1).all()
    rows = np.arange(len(first_U))
    target_UI = sparse.csr_array((np.ones(len(rows), np.float32), (rows, first_U)), shape=free_UI.shape)
    return replace(task, target_UI=target_UI)


def run_in(folder: Path, s: Settings) -> tuple[Run, dict[str, Evaluation]]:
    folder.mkdir()
    run = Run(folder)
    experiment.train_run(s, run, combine([]))
    return run, experiment.fit_baselines(s, experiment.prepare(s))


def lists(evaluations: Mapping[str, Evaluation]) -> dict[tuple[str, str], list]:
    """What each baseline ranks first, for each user of each test task."""
    return {
        (name, part): ranking.top_UK.tolist() for name, found in evaluations.items() for part, ranking in found.rankings.items()
    }


def test_nothing_but_figures_depends_on_the_test_targets(tmp_path: Path) -> None:
    """The best step, every baseline's settings and the learned parameters stay as they are when the test targets are poisoned."""
    s = settings(BASELINES)
    clean, fitted = run_in(tmp_path / "clean", s)
    dirty, fitted_dirty = run_in(tmp_path / "dirty", s._replace(split=Poisoned(s.split)))
    before, after = clean.read_results(), dirty.read_results()
    assert before["test"] != after["test"]  # the poison works
    assert before.get("best_step") == after.get("best_step")
    for name in ("delta.safetensors", "head.safetensors"):
        digests = {hashlib.sha256((run.path / name).read_bytes()).hexdigest() for run in (clean, dirty)}
        assert len(digests) == 1, name
    steps = [[line["metric"] for line in run.read_metrics() if "metric" in line] for run in (clean, dirty)]
    assert steps[0] == steps[1]
    assert lists(fitted) == lists(fitted_dirty)


@pytest.mark.parametrize(
    ("override", "differs"),
    [
        ("split.seed=7", "split"),
        ("split.cold_fraction=0.4", "split"),
        ("data.seed=3", "data"),
        ("encoder.seed=3", "encoder"),
    ],
)
def test_jobs_of_a_sweep_share_nothing_that_differs(override: str, differs: str) -> None:
    """In one process, one after the other: the second job has its own data, split and encoder; the same settings are shared."""
    first = experiment.prepare(settings())
    other = experiment.prepare(settings(override))
    assert first.digests[differs] != other.digests[differs]
    again = experiment.prepare(settings())
    assert again.digests == first.digests
    assert experiment.prepare(settings("seed=9")) is again


def test_baselines_of_a_sweep_follow_their_split() -> None:
    fitted = [
        experiment.fit_baselines(s, experiment.prepare(s)) for s in (settings(BASELINES, "split.seed=7"), settings(BASELINES))
    ]
    users = [found["popularity"].users["cold"].tolist() for found in fitted]
    assert users[0] != users[1]
    assert lists(fitted[0]) != lists(fitted[1])


def test_people_without_texts_are_scored_as_by_empty_ones() -> None:
    """Zero-shot, on data that says nothing of its users."""
    chosen = settings("model=text_vectors", "adapter=zero_shot")
    prepared = experiment.prepare(chosen)
    history_UI = sparse.csr_array(np.ones((1, 50), np.float32))
    scores = []
    for texts in ({}, {"profile": ("",) * 60}):
        dataset = replace(prepared.dataset, users=replace(prepared.dataset.users, texts=texts))
        score = experiment.setup(chosen, prepared._replace(dataset=dataset)).scorer({})
        scores.append(np.asarray(score(np.array([3]), history_UI, np.arange(50))))
    np.testing.assert_array_equal(*scores)
    assert np.ptp(scores[0]) > 0


def test_an_ensemble_s_weights_do_not_depend_on_the_test_targets() -> None:
    s = settings("split=next_item", "ensemble=history")
    task = experiment.prepare(s).split.test["all"]
    scores = []
    for chosen in (s, s._replace(split=Poisoned(s.split))):
        prepared = experiment.prepare(chosen)
        setup = experiment.setup(chosen, prepared)
        scorer = experiment.ensemble(chosen, prepared, setup.scorer(setup.partition.trainable))
        scores.append(np.asarray(scorer(task.user_U, task.history_UI, task.candidate_I)))
    np.testing.assert_array_equal(*scores)


def test_no_attribute_of_a_user_reaches_a_text_or_a_feature_where_they_are_left_out(tmp_path: Path) -> None:
    """On files of MovieLens-100k's format, by the one setting that every data set has."""
    (tmp_path / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        + "".join(f"{u}\t{i}\t5\t{u + i}\n" for u in range(12) for i in range(u % 3, 9))
    )
    (tmp_path / "ml-100k.user").write_text(
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        + "".join(f"{u}\t{20 + u}\tF\tastronaut\t{u:05}\n" for u in range(12))
    )
    (tmp_path / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        + "".join(f"{i}\tFilm {i}\t1990\tDrama\n" for i in range(9))
    )
    line = ["+experiment=smoke", "data=ml_100k", f"data.root={tmp_path}", "split=user_cold", "split.support=[0,1]", "logger=none"]
    known, left_out = (
        experiment.prepare(config.settings(config.compose([*line, f"user_attributes={value}"]))) for value in ("true", "false")
    )
    assert "astronaut" in known.dataset.users.texts["profile"][0]
    users = left_out.dataset.users
    assert (users.ids, users.texts, users.indicators) == (known.dataset.users.ids, {}, {})
    assert left_out.dataset.items.texts == known.dataset.items.texts
    assert len({row.tobytes() for row in left_out.train.user_vectors["profile"]}) == 1
    assert left_out.digests["data"] != known.digests["data"]


def test_an_unknown_id_is_named_with_its_place_and_the_nearest() -> None:
    index_of = {"item_17": 0, "other": 1}
    assert experiment.id_to_index(index_of, "other", "item") == 1
    with pytest.raises(ConfigError, match=r"^new\.csv:3: item: the data has no id 'item_71'; .*item_17"):
        experiment.id_to_index(index_of, "item_71", "item", "new.csv:3")


def test_texts_that_no_method_of_a_run_reads_are_never_encoded() -> None:
    """Of the synthetic data's title nobody asks for a vector; a baseline that reads it changes that."""
    s = settings("baseline=[content_knn]", "adapter=frozen", "split.seed=7")  # of no other test
    prepared = experiment.prepare(s)
    assert list(prepared.train.item_vectors) == ["line", "title"]
    experiment.fit_baselines(s, prepared)
    experiment.setup(s, prepared)
    made = cast("LazyVectors", prepared.train.item_vectors).made
    assert list(made) == ["line"]
    _ = prepared.train.item_vectors["title"]
    assert list(made) == ["line", "title"]
