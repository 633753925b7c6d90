"""Rating processes against scikit-learn, plain algebra, and what must hold of them."""

import numpy as np
import pytest
from fitted import named
from scipy.special import expit
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression

from cold_jax.baselines.rating_gp import by_likes, logistic, mode
from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.matrices import binary
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import evaluate
from cold_jax.splits.assemble import Split, assemble, train_view
from cold_jax.splits.labels import Cold
from cold_jax.splits.tasks import TrainView

RNG = np.random.default_rng(0)


def dataset(users: int = 60, items: int = 40, rows: int = 1200) -> Dataset:
    """Rows in the order of time. An item is liked the more the higher its vector's first coordinate; half of the users like it the less instead."""
    rng = np.random.default_rng(1)
    pair_N = rng.permutation(users * items)[:rows]
    user_N, item_N = divmod(pair_N, items)
    logit_N = 3 * VECTORS[item_N, 0] + 2 * VECTORS[item_N, 1] * (-1) ** user_N + rng.normal(0, 0.5, users)[user_N]
    value_N = 1.0 + 3 * (rng.random(rows) < expit(logit_N))
    entities = (
        Entities(tuple(map(str, range(n))), texts, {}) for n, texts in ((users, {}), (items, {"title": ("a b",) * items}))
    )
    return Dataset("liked", user_N, item_N, value_N.astype(np.float32), np.arange(rows) * 1.0, *entities)


VECTORS = RNG.normal(size=(40, 4))
VECTORS = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float32)
PART_N = np.array(["train"] * 800 + ["warm_val"] * 150 + ["warm_test"] * 250)
SIMPLE = {"kernel": {"text(title)": 4.0, "identity": 0.1}, "user_kernel": {"text(title)": 1.0}, "rank": 8, "taste": 2.0}


def asked(window: int | None = 5) -> tuple[TrainView, Split]:
    data = dataset()
    split = assemble(data, PART_N, Cold.none, threshold=4, ranked=False, window=window)
    return train_view(data, split, {"title": VECTORS}, {}), split


def auc(baseline, window: int | None = 5) -> float:
    train, split = asked(window)
    return evaluate(baseline(train, split.validation), split.test, ["recall@5"], 5).mean()["all"]["auc"]


def test_means_by_hand():
    data = Dataset(
        "hand", np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 2]), np.array([5, 1, 5, 5, 1], np.float32), np.zeros(5),
        Entities(("u", "v"), {}, {}), Entities(("a", "b", "c"), {}, {}),
    )  # fmt: skip
    split = assemble(data, np.array(["train"] * 3 + ["warm_test"] * 2), Cold.none, threshold=4, ranked=False)
    train = train_view(data, split, {}, {})
    ask = lambda name: named(name, shrink=1.0)(train, {})(np.arange(2), train.interaction_UI, np.arange(3))  # noqa: E731
    item_I = 2 / 3 + np.array([2 * (1 / 3) / 3, -(2 / 3) / 2, 0])
    np.testing.assert_allclose(ask("item_means"), np.tile(item_I, (2, 1)) - 0.5)
    user_U = np.array([(1 - item_I[0] - item_I[1]) / 3, (1 - item_I[0]) / 2])
    np.testing.assert_allclose(ask("two_way_means"), item_I + user_U[:, None] - 0.5)


def test_the_mode_is_that_of_a_gaussian_process_classifier():
    """scikit-learn's Laplace approximation, which has no mean; ours reaches it where likes and others are as many and symmetric."""
    item_N, like_N = np.tile(np.arange(12), 2), np.tile([0.0, 1.0], 12)
    like_N[12:] = like_N[:12]
    position_ND = np.arange(12.0)[:, None] / 4
    kernel = RBF(1.0)
    theirs = GaussianProcessClassifier(kernel, optimizer=None, max_iter_predict=100).fit(position_ND[item_N], like_N)
    found = mode(np.zeros(24, int), item_N, like_N, kernel(position_ND), 0.0, np.zeros((12, 0)), 1)
    np.testing.assert_allclose(expit(found.mean + found.item_I), expit(theirs.base_estimator_.f_cached[:12]), atol=2e-3)


def test_the_mode_solves_its_equations():
    """At the mode f = K Σ (y − p) over an item's rows (K makes much of what is left of them), a_u = v Σ (y − p) over a user's, w_u = Σ (y − p) x over theirs."""
    train, _ = asked()
    like_N = (train.value_N >= 4).astype(float)
    kernel_II, feature_IF = 3 * VECTORS.astype(float) @ VECTORS.T.astype(float), 1.5 * VECTORS[:, :3].astype(float)
    at = mode(train.user_N, train.item_N, like_N, kernel_II, 0.7, feature_IF, len(train.users))
    own_N = (feature_IF[train.item_N] * at.taste_UF[train.user_N]).sum(1)
    residual_N = like_N - expit(at.mean + at.item_I[train.item_N] + at.user_U[train.user_N] + own_N)
    np.testing.assert_allclose(at.item_I, kernel_II @ np.bincount(train.item_N, residual_N, len(train.items)), atol=0.05)
    np.testing.assert_allclose(at.user_U, 0.7 * np.bincount(train.user_N, residual_N, len(train.users)), atol=5e-3)
    for f in range(3):
        expected_U = np.bincount(train.user_N, residual_N * feature_IF[train.item_N, f], len(train.users))
        np.testing.assert_allclose(at.taste_UF[:, f], expected_U, atol=5e-3)
    assert abs(residual_N.sum()) < 0.1


def test_what_a_user_likes_more_than_others_is_found():
    """Half of the users want the opposite: means can't tell, the processes can, and one learns weights of its parts."""
    plain, joined = (auc(named("rating_gp", cuts=cuts, **SIMPLE)) for cuts in ([], [0.5, 0.75]))
    levels = auc(named("rating_gp", cuts=[], **{**SIMPLE, "taste": 0.0}))
    assert plain > levels + 0.03 > auc(named("two_way_means")) + 0.01
    assert joined > levels + 0.03


def test_new_items_are_told_apart_by_their_text():
    data = dataset()
    part_N = np.where(data.item_N >= 30, np.where(np.arange(1200) % 2, "cold_val", "cold_test"), "train")
    split = assemble(data, part_N, Cold.items, threshold=4, ranked=False)
    train = train_view(data, split, {"title": VECTORS}, {})
    scorer = named("rating_gp", cuts=[], **SIMPLE)(train, split.validation)
    found = evaluate(scorer, split.test, ["recall@5"], 5).mean()
    assert [*found] == ["all", "cold"]
    assert found["cold"]["auc"] > 0.7
    assert evaluate(named("item_means")(train, {}), split.test, ["recall@5"], 5).mean()["cold"]["auc"] == 0.5


def test_weights_want_rows_that_tell_what_was_liked():
    with pytest.raises(ValueError, match=r"give split\.history, or cuts=\[\]"):
        auc(named("rating_gp", **SIMPLE), window=None)
    train, split = asked()
    scorer = named("rating_gp", **SIMPLE)(train, split.validation)
    with pytest.raises(ValueError, match="can't rank candidates"):
        scorer(np.arange(2), train.interaction_UI[:2], np.arange(3))
    with pytest.raises(ConfigError, match=r"baseline\.rating_gp\.cuts: \[0\.5, 0\.4\] are not ascending"):
        named("rating_gp", cuts=[0.5, 0.4])


def test_logistic_regression_is_scikit_learns():
    feature_NF = RNG.normal(size=(300, 3))
    label_N = (RNG.random(300) < expit(feature_NF @ [1.0, -2.0, 0.0] + 0.5)).astype(float)
    theirs = LogisticRegression(C=1 / 5.0, tol=1e-8).fit(feature_NF, label_N)
    weight_F, bias = logistic(feature_NF, label_N, 5.0)
    np.testing.assert_allclose([*weight_F, bias], [*theirs.coef_[0], *theirs.intercept_], atol=1e-4)


def test_what_a_row_tells_is_a_ridge_on_its_likes():
    feature_IF, liked = RNG.normal(size=(5, 3)), [1, 4]
    liked_history_NI = binary(np.array([0, 0]), np.array(liked), (2, 5))
    kernel_II = feature_IF @ feature_IF.T
    expected = kernel_II[2, liked] @ np.linalg.solve(kernel_II[np.ix_(liked, liked)] + 4 * np.eye(2), np.ones(2))
    np.testing.assert_allclose(by_likes(feature_IF, np.array([2, 3]), liked_history_NI), [expected, 0])
