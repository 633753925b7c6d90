"""What every baseline has in common: its file, what it may see, the choice of its settings; and the reference's rows."""

import inspect
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitted import CONFIGS, asking, named, scores, unit, values_of
from hydra import compose, initialize_config_dir

from cold_jax import CONF, config, experiment
from cold_jax.baselines.base import of_candidates
from cold_jax.data.synthetic import Synthetic
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import validate
from cold_jax.splits.assemble import train_view
from cold_jax.splits.entities import BothCold, ItemCold, UserCold
from cold_jax.splits.tasks import TrainView

METRIC = "recall@20"


@pytest.mark.parametrize(
    "name", ["content_mean", "content_knn", "ridge_text", "ridge_svd", "ease", "ease_popularity", "item_knn"]
)
def test_who_shows_nothing_gets_popularity_s_order(train: TrainView, name: str):
    np.testing.assert_array_equal(scores(named(name), train)[25:], np.tile(train.interaction_UI.sum(0), (5, 1)))


@pytest.mark.parametrize(
    ("name", "grids"),
    [
        ("ridge_text", {"penalties": [0.1, 30.0]}),
        ("ridge_svd", {"ranks": [2, 8], "penalties": [0.1, 30.0]}),
        ("ridge_profile", {"penalties": [0.1, 300.0]}),
        ("ease", {"penalties": [0.5, 500.0]}),
        ("item_knn", {"shrinks": [0.0, 50.0], "neighbours": [2, None]}),
    ],
)
def test_the_setting_with_the_best_validation_is_taken(train: TrainView, name: str, grids: dict[str, list]):
    validation = asking(train)
    keys = list(grids)
    singles = [
        dict(zip(keys, [[value] for value in values], strict=True))
        for values in np.array(np.meshgrid(*grids.values(), indexing="ij"), object).reshape(len(keys), -1).T
    ]
    scorers = [named(name, **single, metric="ndcg@5")(train, {}) for single in singles]
    best = int(np.argmax([validate(scorer, validation, "ndcg@5")[0] for scorer in scorers]))
    expected_UI = scorers[best](np.arange(30), train.interaction_UI, np.arange(20))
    np.testing.assert_allclose(scores(named(name, **grids, metric="ndcg@5"), train, validation), expected_UI, atol=1e-9)


# What a baseline may see


def test_what_is_taken_for_candidates_is_taken_once_for_an_array():
    calls: list[int] = []
    vector_I = np.arange(5) * 10
    take = of_candidates(lambda candidate_I: calls.append(len(candidate_I)) or vector_I[candidate_I])  # type: ignore[func-returns-value]
    all_I, two_I = np.arange(5), np.array([1, 3])
    for candidate_I in (all_I, all_I, two_I, two_I, all_I, all_I.copy()):
        np.testing.assert_array_equal(take(candidate_I), 10 * candidate_I)
    assert calls == [5, 2, 5, 5]


def test_a_baseline_is_given_train_and_validation_only():
    for path in CONFIGS:
        cls = type(named(path.stem))
        assert list(inspect.signature(cls.__call__).parameters) == ["self", "train", "validation"]


SPLITS = {
    "users": UserCold(
        seed=0, cold_fraction=0.3, validation_fraction=0.5, holdout_fraction=0.2, support=[0, 1, 3], use_first_seen=False
    ),
    "items": ItemCold(seed=0, cold_fraction=0.3, validation_fraction=0.5, holdout_fraction=0.2, threshold=None),
    "both": BothCold(seed=0, cold_fraction=0.3, validation_fraction=0.5, holdout_fraction=0.2, both_support=2),
}


@pytest.mark.parametrize("side", SPLITS)
def test_scores_are_finite_and_deaf_to_what_is_held_out(side: str):
    """Every baseline on every part; then with other items in the held-out test interactions, the shown ones as before."""
    dataset = Synthetic(name="small", users=60, items=40, interactions_per_user=8, seed=0, positive=None)()
    split = SPLITS[side](dataset)
    generator = np.random.default_rng(0)
    vectors = {"line": unit(generator, 40, 6), "title": unit(generator, 40, 6)}, {"profile": unit(generator, 60, 5)}
    hidden_N = np.char.endswith(split.part_N, "_test")
    item_N = dataset.item_N.copy()
    item_N[hidden_N] = generator.permutation(item_N[hidden_N])
    other = replace(dataset, item_N=item_N)
    trains = [train_view(data, split, *vectors) for data in (dataset, other)]
    trains = [replace(train, like_N=np.arange(len(train.user_N)) % 3 > 0, first_seen_U=np.arange(60.0)) for train in trains]
    formula = {"text(line)": 0.5, "words(title)": 1.0, "overlap3(genre) * ordinal_rbf(year)": 0.5}
    for path in (path for path in CONFIGS if not path.stem.startswith("history")):  # those are for sequences: test_sequences.py
        given = values_of(path)
        kernels = {key: formula for key in ("kernel", "user_kernel") if key in given} | ({"cuts": []} if "cuts" in given else {})
        small = kernels or (
            {"ranks": [4, 8], "folds": None}
            if "ridge_svd" in path.stem
            else {"rank": 8, "supports": [0, 3]}
            if path.stem == "fold_in"
            else {"rank": 8, "supports": [0, 1, 3], "powers": [0.3], "penalties": [20.0]}
            if "user_gp" in path.stem
            else {}
        )
        scorers = [named(path.stem, **small)(train, split.validation) for train in trains]
        for part in split.test.values():
            first_UI, second_UI = (np.asarray(scorer(part.user_U, part.history_UI, part.candidate_I)) for scorer in scorers)
            assert first_UI.shape == (len(part.user_U), len(part.candidate_I)), path.stem
            assert np.isfinite(first_UI).all(), path.stem
            np.testing.assert_array_equal(first_UI, second_UI, err_msg=path.stem)


def test_closed_forms_for_sequences_ask_for_sequences():
    dataset = Synthetic(name="small", users=60, items=40, interactions_per_user=8, seed=0, positive=None)()
    split = SPLITS["items"](dataset)
    generator = np.random.default_rng(0)
    vectors = {"line": unit(generator, 40, 6), "title": unit(generator, 40, 6)}, {"profile": unit(generator, 60, 5)}
    with pytest.raises(ValueError, match="use split=next_item"):
        named("history")(train_view(dataset, split, *vectors), split.validation)


# Configuration


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_file_is_a_baseline_under_its_own_name(path: Path):
    package, comment, *rest = path.read_text().splitlines()
    assert package == f"# @package baseline.{path.stem}"
    assert comment.startswith("# ")
    assert len(rest) <= 23
    named(path.stem)


@pytest.mark.parametrize(
    ("name", "values", "key"),
    [
        ("ridge_svd", {"ranks": []}, r"baseline\.ridge_svd\.ranks: \[\]"),
        ("ease", {"penalties": [100.0, -1.0]}, r"baseline\.ease\.penalties: \[100\.0, -1\.0\]"),
        ("item_knn", {"neighbours": [None, -5]}, r"baseline\.item_knn\.neighbours"),
        ("ridge_profile", {"metric": "recal@20"}, r"baseline\.ridge_profile\.metric: metric 'recal@20' is unknown"),
        ("fold_in", {"supports": [0]}, r"baseline\.fold_in\.supports: \[0\]"),
    ],
)
def test_a_wrong_value_is_named(name: str, values: dict, key: str):
    with pytest.raises(ConfigError, match=key):
        named(name, **values)


# The reference's rows

ITEM_ROWS = {  # cold: recall@20, ndcg@20
    "content_mean": (0.118, 0.081),
    "ridge_text": (0.282, 0.243),
    "ridge_svd": (0.341, 0.310),
    "ridge_svd_cv": (0.347, 0.315),
}
USER_ROWS = {  # support_k; rows with k > 0 to 0.02, since ties in time leave the support open
    "popularity": {0: (0.135, 0.477), 1: (0.131, 0.464), 5: (0.124, 0.425), 10: (0.119, 0.383)},
    "ridge_profile": {0: (0.138, 0.481)},
    "ease": {1: (0.133, 0.376), 5: (0.160, 0.392), 10: (0.174, 0.383)},
    "ease_popularity": {1: (0.136, 0.471), 5: (0.145, 0.439), 10: (0.164, 0.408)},
}


def reference(side: str) -> experiment.Prepared:
    folder = os.environ.get("COLD_JAX_REFERENCE")
    if folder is None:
        pytest.skip("set COLD_JAX_REFERENCE to the folder of the reference splits, ml-100k-cold-{item,user}-seed42.csv")
    with initialize_config_dir(CONF, version_base=None):
        chosen = ["split=from_file", f"split.path={folder}/ml-100k-cold-{side}-seed42.csv", "adapter=frozen", "logger=[]"]
        return experiment.prepare(config.settings(compose("train", chosen)))


@pytest.mark.slow
@pytest.mark.assets
def test_the_reference_s_rows_of_cold_items():
    q = reference("item")
    for name, row in ITEM_ROWS.items():
        scorer = named(name)(q.train, q.split.validation)
        found = [validate(scorer, {"cold": q.split.test["cold"]}, metric)[0] for metric in (METRIC, "ndcg@20")]
        np.testing.assert_allclose(found, row, atol=0.003, err_msg=name)
    draws = [named("random", seed=seed)(q.train, {}) for seed in range(5)]
    found = np.mean([[validate(s, {"cold": q.split.test["cold"]}, m)[0] for m in (METRIC, "ndcg@20")] for s in draws], 0)
    np.testing.assert_allclose(found, (0.057, 0.048), atol=0.004)  # the reference's row is one draw


@pytest.mark.slow
@pytest.mark.assets
def test_the_reference_s_rows_of_cold_users():
    q = reference("user")
    for name, rows in USER_ROWS.items():
        scorer = named(name)(q.train, q.split.validation)
        for k, row in rows.items():
            part = {"cold": q.split.test[f"support_{k}"]}
            found = [validate(scorer, part, metric)[0] for metric in (METRIC, "ndcg@20")]
            np.testing.assert_allclose(found, row, atol=0.02 if k else 0.003, err_msg=f"{name} {k}")
