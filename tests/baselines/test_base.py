"""Closed forms against scikit-learn, numpy and hand-worked cases; each baseline for what it may see; the reference's rows."""

import inspect
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from scipy import sparse
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsRegressor

from cold_jax import CONF, config, experiment
from cold_jax.baselines.features import earliest_history, feature_matrix, item_gram, unit_history
from cold_jax.baselines.fold_in import fold_in_start
from cold_jax.baselines.item_item import ease_weights, item_knn_weights
from cold_jax.data.dataset import Entities
from cold_jax.data.matrices import binary
from cold_jax.data.synthetic import Synthetic
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import validate
from cold_jax.splits.assemble import train_view
from cold_jax.splits.entities import BothCold, ItemCold, UserCold
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.tasks import EvalTask, TrainView, ranking_task
from cold_jax.splits.ties import with_tie_break

CONFIGS = sorted(Path(CONF, "baseline").glob("*.yaml"))
METRIC = "recall@20"


def named(name: str, **values: object):
    """The baseline of a file in conf/baseline, with other values."""
    return config.make(OmegaConf.create({**values_of(name), **values}), f"baseline.{name}")


def values_of(name: str) -> dict[str, Any]:
    """What a file in conf/baseline holds, over what the one holds that it differs from."""
    own: dict[str, Any] = {**OmegaConf.load(Path(CONF, "baseline", f"{name}.yaml"))}  # type: ignore[dict-item]
    bases = [values_of(base.partition("@")[0]) for base in own.pop("defaults", []) if base != "_self_"]
    return {key: value for values in (*bases, own) for key, value in values.items()}


def unit(generator: np.random.Generator, *shape: int) -> np.ndarray:
    vector = generator.normal(size=shape)
    return (vector / np.linalg.norm(vector, axis=-1, keepdims=True)).astype(np.float32)


def train_of(taken_UI: np.ndarray, seed: int = 0) -> TrainView:
    """Rows and columns of zeros are cold; users took items in the order of their indices; texts and indicators are random."""
    generator = np.random.default_rng(seed)
    U, I = taken_UI.shape
    user_N, item_N = (x_N.astype(np.int32) for x_N in np.nonzero(taken_UI))
    users = Entities(tuple(map(str, range(U))), {}, {})
    items = Entities(tuple(map(str, range(I))), {}, {"genre": generator.integers(0, 2, (I, 3)).astype(np.float32)})
    known_UI = binary(user_N, item_N, (U, I))
    texts = {"line": unit(generator, I, 6), "title": unit(generator, I, 6)}, {"profile": unit(generator, U, 5)}
    warm = taken_UI.any(1), taken_UI.any(0)
    one_N = np.ones(len(user_N), np.float32)
    return TrainView(known_UI, *warm, user_N, item_N, one_N, item_N.astype(float), one_N > 0, None, users, items, *texts)


@pytest.fixture(scope="module")
def train() -> TrainView:
    """30 users, of whom 5 are cold, and 20 items, of which 4 are."""
    taken_UI = np.random.default_rng(1).random((30, 20)) < 0.4
    taken_UI[25:], taken_UI[:, 16:] = False, False
    return train_of(taken_UI)


def asking(train: TrainView, seed: int = 2) -> dict[str, EvalTask]:
    """A part that shows each warm user his training items and asks for random others."""
    other_UI = (np.random.default_rng(seed).random(train.interaction_UI.shape) < 0.2).astype(np.float32)
    other_UI[~train.warm_U] = 0
    task = ranking_task("cold", train.interaction_UI, sparse.csr_array(other_UI), np.arange(len(train.items)))
    return with_tie_break({"cold": task}, train.items.ids)


def scores(baseline, train: TrainView, validation: dict[str, EvalTask] | None = None) -> np.ndarray:
    """Of all users, who show their training items, and of all items."""
    scorer = baseline(train, validation or asking(train))
    return np.asarray(scorer(np.arange(len(train.users)), train.interaction_UI, np.arange(len(train.items))))


# The baselines


def test_random_is_a_function_of_user_and_item(train: TrainView):
    scorer = named("random")(train, {})
    whole_UI = scorer(np.arange(30), train.interaction_UI, np.arange(20))
    user_U, item_I = np.array([7, 3, 7]), np.array([1, 4, 11])
    np.testing.assert_array_equal(scorer(user_U, train.interaction_UI[user_U], item_I), whole_UI[np.ix_(user_U, item_I)])
    assert len(np.unique(whole_UI)) == whole_UI.size
    assert (scores(named("random", seed=2), train) != whole_UI).all()


def test_popularity_counts_training_users():
    score_UI = scores(named("popularity"), train_of(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])))
    np.testing.assert_array_equal(score_UI, [[1, 2, 0]] * 3)


def test_content_mean_orders_by_cosine_with_the_mean(train: TrainView):
    score_UI, vector_ID = scores(named("content_mean"), train), train.item_vectors["line"].astype(float)
    mean_UD = np.stack([vector_ID[train.item_N[train.user_N == u]].mean(0) for u in range(25)])
    np.testing.assert_array_equal(np.argsort(score_UI[:25]), np.argsort(cosine_similarity(mean_UD, vector_ID)))


def test_content_knn_is_a_regression_of_scikit_learn(train: TrainView):
    vector_ID, warm_I = np.abs(train.item_vectors["line"]), train.warm_I  # so that no cosine is below 0
    train = replace(train, item_vectors={"line": vector_ID / np.linalg.norm(vector_ID, axis=1, keepdims=True)})
    score_UI = scores(named("content_knn", neighbours=14), train)
    knn = KNeighborsRegressor(14, weights=lambda distance: 1 - distance, metric="cosine", algorithm="brute")
    knn.fit(vector_ID[warm_I], train.interaction_UI.toarray()[:25, warm_I].T)
    np.testing.assert_allclose(score_UI[:25, ~warm_I], knn.predict(vector_ID[~warm_I]).T, rtol=1e-4)  # float32 cosines


def test_profile_knn_is_a_regression_of_scikit_learn(train: TrainView):
    vector_UD, warm_U = np.abs(train.user_vectors["profile"]), train.warm_U
    train = replace(train, user_vectors={"profile": vector_UD / np.linalg.norm(vector_UD, axis=1, keepdims=True)})
    knn = KNeighborsRegressor(4, weights=lambda distance: 1 - distance, metric="cosine", algorithm="brute")
    knn.fit(vector_UD[warm_U], train.interaction_UI.toarray()[warm_U])
    score_UI = scores(named("profile_knn", neighbours=4), train)
    np.testing.assert_allclose(score_UI[~warm_U], knn.predict(vector_UD[~warm_U]), rtol=1e-4)


def test_ridge_text_is_a_ridge_for_each_user(train: TrainView):
    score_UI = scores(named("ridge_text", penalties=[2.0]), train)
    feature_IF = feature_matrix(train, "items", ["line"], 0.0, 0.3)
    ridge = Ridge(2.0, fit_intercept=False).fit(feature_IF[train.warm_I], train.interaction_UI.toarray()[:, train.warm_I].T)
    np.testing.assert_allclose(score_UI[:25], ridge.predict(feature_IF).T[:25], atol=1e-10)


def test_ridge_profile_is_a_ridge_for_each_item(train: TrainView):
    score_UI = scores(named("ridge_profile", penalties=[2.0]), train)
    feature_UF = np.concatenate([train.user_vectors["profile"], np.ones((30, 1))], 1).astype(float)
    ridge = Ridge(2.0, fit_intercept=False).fit(feature_UF[:25], train.interaction_UI.toarray()[:25])
    np.testing.assert_allclose(score_UI, ridge.predict(feature_UF), atol=1e-6)  # unit rows in float32


def test_ridge_svd_maps_cold_items_and_keeps_warm_ones(train: TrainView):
    score_UI = scores(named("ridge_svd", ranks=[4], penalties=[2.0]), train)
    taken_UI, feature_IF = train.interaction_UI.toarray().astype(float), feature_matrix(train, "items", ["line"], 0.5, 0.3)
    left_UV, size_V, _ = np.linalg.svd(taken_UI / np.sqrt(taken_UI.sum(0) + 1), full_matrices=False)
    user_UV = left_UV[:, :4] * size_V[:4]
    target_IV = Ridge(1.0, fit_intercept=False).fit(user_UV, taken_UI).coef_
    mapped_IV = Ridge(2.0, fit_intercept=False).fit(feature_IF[:16], target_IV[:16]).predict(feature_IF)
    np.testing.assert_allclose(score_UI[:25, :16], user_UV[:25] @ target_IV[:16].T, atol=1e-8)
    np.testing.assert_allclose(score_UI[:25, 16:], user_UV[:25] @ mapped_IV[16:].T, atol=1e-8)


def test_ease_adds_popularity_and_item_knn_sums_what_is_shown(train: TrainView):
    taken_UI, count_I = train.interaction_UI.toarray(), train.interaction_UI.sum(0)
    plain_UI, prior_UI = (scores(named(name, penalties=[9.0]), train)[:25] for name in ("ease", "ease_popularity"))
    np.testing.assert_allclose(prior_UI - plain_UI, np.tile(0.3 * count_I / count_I.max(), (25, 1)), atol=1e-10)
    np.testing.assert_allclose(plain_UI, taken_UI[:25] @ ease_weights(item_gram(train), 9.0), atol=1e-10)
    knn_UI = scores(named("item_knn", shrinks=[5.0], neighbours=[3]), train)[:25]
    np.testing.assert_allclose(knn_UI, taken_UI[:25] @ item_knn_weights(item_gram(train), 5.0, 3), atol=1e-10)


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


def test_folds_choose_without_the_validation_parts(train: TrainView):
    grid = {"ranks": [2, 8], "penalties": [0.1, 3.0, 30.0]}
    score_UI = scores(named("ridge_svd_cv", **grid, metric="ndcg@5", folds=3, seed=4), train, {})
    means = {}
    for rank in grid["ranks"]:
        for penalty in grid["penalties"]:
            single = named("ridge_svd", ranks=[rank], penalties=[penalty])
            tasks = pseudo_cold_folds(train, "items", 3, 4, ())
            means[rank, penalty] = np.mean([validate(single(rest, {}), asked, "ndcg@5")[0] for rest, asked in tasks])
    rank, penalty = max(means, key=means.__getitem__)
    np.testing.assert_allclose(score_UI, scores(named("ridge_svd", ranks=[rank], penalties=[penalty]), train), atol=1e-9)


# Where a two-tower starts

FOLD_IN = {"factors": 3, "power": 0.3, "penalties": (3.0, 2.0, 0.5), "temperature": 2.0, "floor": 0.2}


def fold_in_features(train: TrainView, k: int) -> np.ndarray:
    """x of the warm users who show their k earliest items, which are those of the smallest indices."""
    history_UI = train.interaction_UI.toarray().astype(float)
    history_UI *= history_UI.cumsum(1) <= k
    history_UI /= np.sqrt(np.maximum(history_UI.sum(1, keepdims=True), 1))
    left = np.linalg.svd(train.interaction_UI.toarray() / np.sqrt(train.interaction_UI.sum(0) + 1), full_matrices=False)[2][:3].T
    factor_UV = history_UI @ (left / np.sqrt(train.interaction_UI.sum(0) + 1)[:, None])
    factor_UV /= np.sqrt((factor_UV[train.warm_U] ** 2).sum(1).mean())
    blocks = train.user_vectors["profile"] / np.sqrt(3.0), history_UI / np.sqrt(2.0), factor_UV / np.sqrt(0.5)
    return np.concatenate(blocks, 1)


def test_the_fold_in_start_is_kernel_ridge_to_first_order(train: TrainView):
    """For one k, at full rank: scikit-learn's dual solution with the linear kernel and unit noise."""
    start = fold_in_start(train, 20, (3,), **FOLD_IN)
    x_UF, taken_UI = fold_in_features(train, 3), train.interaction_UI.toarray().astype(float)[:25]
    count_U = taken_UI.sum(1)
    value_UI = taken_UI * (count_U / count_U.mean())[:, None] ** -0.3
    mean_I = value_UI.mean(0)
    personal_UI = KernelRidge(alpha=1.0).fit(x_UF[:25], value_UI - mean_I).predict(x_UF)
    smoothed_I = 0.2 * mean_I.max() + mean_I
    shown = unit_history(earliest_history(train, 3))
    user_UV = train.user_vectors["profile"] @ start.profile_DV + shown @ start.source_IV
    expected_UI = 2 * np.log(smoothed_I) + 2 * personal_UI / smoothed_I
    np.testing.assert_allclose(user_UV @ start.target_IV.T + start.bias_I, expected_UI, rtol=1e-5, atol=1e-6)  # float32 profiles


def test_the_fold_in_start_of_low_rank_is_the_best_of_that_rank(train: TrainView):
    """Eckart and Young: over all pseudo-cold users, stacked."""
    supports = (0, 2, 4)
    shown = sparse.vstack([unit_history(earliest_history(train, k)[:25]) for k in supports])

    def personal(rank: int) -> np.ndarray:
        start = fold_in_start(train, rank, supports, **FOLD_IN)
        profile_UV = train.user_vectors["profile"][:25] @ start.profile_DV
        return (np.tile(profile_UV, (3, 1)) + shown @ start.source_IV) @ start.target_IV.T

    left, size, right = np.linalg.svd(personal(20), full_matrices=False)
    np.testing.assert_allclose(personal(4), (left[:, :4] * size[:4]) @ right[:4], atol=1e-5)


# What a baseline may see


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
        given = values_of(path.stem)
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
        ("ridge_svd", {"ranks": []}, r"baseline\.ranks: \[\]"),
        ("ease", {"penalties": [100.0, -1.0]}, r"baseline\.penalties: \[100\.0, -1\.0\]"),
        ("item_knn", {"neighbours": [None, -5]}, r"baseline\.neighbours"),
        ("ridge_profile", {"metric": "recal@20"}, r"baseline\.metric: metric 'recal@20' is unknown"),
        ("fold_in", {"supports": [0]}, r"baseline\.supports: \[0\]"),
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
