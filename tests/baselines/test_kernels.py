"""The kernels' closed forms against scikit-learn's kernel ridge, and their kernels by hand."""

from dataclasses import replace

import numpy as np
import pytest
from fitted import asking, named, scores
from scipy import sparse
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel

from cold_jax.baselines.features import earliest_history, item_gram
from cold_jax.baselines.item_item import ease_weights
from cold_jax.baselines.kernels import coordinate_search
from cold_jax.errors import ConfigError
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.tasks import EvalTask, TrainView

GENRE_ONLY = {"kernel": {"text(line)": 0.5, "text(title)": 0.5, "rbf(line)": 0.9, "overlap3(genre)": 0.75, "constant": 0.1}}


def filtered(train: TrainView, shrink: float) -> np.ndarray:
    """W of the warm users and items, in the dual form A Aᵀ (A Aᵀ + ρI)⁻¹ R."""
    taken_UI = train.interaction_UI.toarray().astype(float)[:25, :16]
    scaled_UI = taken_UI / np.sqrt(taken_UI.sum(0) + 1)
    kernel_UU = scaled_UI @ scaled_UI.T
    return kernel_UU @ np.linalg.solve(kernel_UU + shrink * np.eye(25), taken_UI)


def item_kernel(train: TrainView) -> np.ndarray:
    line_ID, title_ID = (train.item_vectors[name].astype(float) for name in ("line", "title"))
    genre_IF = train.items.indicators["genre"].astype(float)
    texts_II = 0.5 * line_ID @ line_ID.T + 0.5 * title_ID @ title_ID.T + 0.9 * rbf_kernel(line_ID, gamma=2)
    return texts_II + 0.75 * genre_IF @ genre_IF.T / 3 + 0.1


def kernel_ridge(kernel_II: np.ndarray, target_IN: np.ndarray, penalty: float) -> np.ndarray:
    return KernelRidge(alpha=penalty, kernel="precomputed").fit(kernel_II[:16, :16], target_IN).predict(kernel_II[:, :16])


def test_the_item_kernel_is_kernel_ridge_on_filtered_users(train: TrainView):
    score_UI = scores(named("item_kernel", penalties=[2.0], **GENRE_ONLY), train)
    expected_IU = kernel_ridge(item_kernel(train), filtered(train, 3.0).T, 2.0)
    np.testing.assert_allclose(score_UI[:25], expected_IU.T, rtol=1e-4, atol=1e-6)  # unit vectors in float32


def test_shares_are_multiplied_by_expected_popularity(train: TrainView):
    score_UI = scores(named("item_popularity_scaled", penalties=[4.0], **GENRE_ONLY), train)
    fame_I = np.sqrt(train.interaction_UI.toarray()[:25, :16].sum(0) + 10)
    share_IU = kernel_ridge(item_kernel(train), (filtered(train, 3.0) / fame_I).T, 4.0)
    popular_I = fame_I.mean() + kernel_ridge(item_kernel(train), fame_I - fame_I.mean(), 2.0)
    np.testing.assert_allclose(score_UI[:25], (share_IU.T * np.maximum(popular_I, 0.3)), rtol=1e-4, atol=1e-6)


def test_without_shrinking_each_user_has_a_ridge(train: TrainView):
    score_UI = scores(named("item_kernel", penalties=[2.0], shrink=None, **GENRE_ONLY), train)
    expected_IU = kernel_ridge(item_kernel(train), train.interaction_UI.toarray().astype(float)[:25, :16].T, 2.0)
    np.testing.assert_allclose(score_UI[:25], expected_IU.T, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["item_kernel", "item_popularity_scaled"])
def test_weights_are_those_of_a_search_on_folds_of_warm_items(train: TrainView, name: str):
    """One number after another, of fits with given weights; the targets of the task that is scored are not read."""
    start, grid, penalties = {"text(line)": 0.5, "overlap3(genre)": 0.5}, [0.0, 0.25, 4.0], [2.0, 16.0]
    folds = list(pseudo_cold_folds(train, "items", 2, 1, ()))

    def reached(setting: dict[str, float]) -> float:
        fixed = named(name, kernel={block: setting[block] for block in start}, penalties=[setting["λ"]])
        hits = []
        for known, tasks in folds:
            task = tasks["cold"]
            score_UI = np.asarray(fixed(known, {})(task.user_U, task.history_UI, task.candidate_I))
            top_UK = task.candidate_I[np.argsort(-score_UI, 1)[:, :3]]
            wanted = [set(row.indices.tolist()) for row in task.target_UI]
            hits.append(
                np.mean([len(own & set(top)) / len(own) for own, top in zip(wanted, top_UK.tolist(), strict=True) if own])
            )
        return float(np.mean(hits))

    at = {**start, "λ": 2.0}
    for _ in range(2):
        for key, numbers in {**dict.fromkeys(start, grid), "λ": penalties}.items():
            at[key] = max([at[key], *numbers], key=lambda number, key=key: reached(at | {key: number}))
    assert at != {**start, "λ": 2.0}
    searched = named(name, kernel=start, penalties=penalties, grid=grid, folds=2, metric="recall@3")
    expected = named(name, kernel={block: at[block] for block in start}, penalties=[at["λ"]])
    np.testing.assert_allclose(scores(searched, train), scores(expected, train), rtol=1e-9)
    np.testing.assert_array_equal(scores(searched, train, asking(train, 3)), scores(searched, train))


def test_without_folds_the_split_s_cold_items_choose(train: TrainView):
    """A task whose targets are the best of one block by itself, and of the other."""
    kernel = {"text(title)": 1.0, "text(line)": 1.0}
    baseline = named("item_kernel", kernel=kernel, penalties=[4.0], grid=[0.0, 1.0], folds=None, metric="recall@3")
    task = dict(asking(train, 3))["cold"]

    def best_of(block: str, other: str) -> tuple[np.ndarray, EvalTask]:
        alone = named("item_kernel", kernel={block: 1.0, other: 0.0}, penalties=[4.0])
        score_UI = np.asarray(alone(train, {})(task.user_U, task.history_UI, task.candidate_I))
        target_UI = sparse.lil_array(task.target_UI.shape)
        for u, top_K in enumerate(task.candidate_I[np.argsort(-score_UI, 1)[:, :3]]):
            target_UI[u, top_K] = 1
        return scores(alone, train), replace(task, target_UI=sparse.csr_array(target_UI))

    for only, other in (kernel, reversed(kernel)):
        (expected_UI, of_only), (_, of_other) = best_of(only, other), best_of(other, only)
        score_UI = scores(baseline, train, {"cold": of_only, "warm": of_other})  # the warm items' task does not count
        np.testing.assert_allclose(score_UI, expected_UI, rtol=1e-9)
    with pytest.raises(ConfigError, match="baseline.folds: null chooses by the split's cold validation items"):
        baseline(train, {})


def test_a_coordinate_search_stays_where_nothing_is_better() -> None:
    tried = []

    def value(at: dict[str, float]) -> float:
        tried.append((at["a"], at["b"]))
        return -abs(at["a"] - at["b"]) - abs(at["b"] - 2)

    assert coordinate_search({"a": 0.5, "b": 1.0}, {"a": [0.0, 1.0, 2.0], "b": [1.0, 2.0]}, value) == {"a": 1.0, "b": 1.0}
    assert len(tried) == len(set(tried)) == 5  # a setting is valued once
    assert coordinate_search({"a": 0.5}, {"a": [1.0, 2.0]}, lambda at: 0.0) == {"a": 0.5}
    both = {(0, 0): 0, (1, 0): -1, (0, 1): 1, (1, 1): 2}  # a is better at 1 once b is: the second round finds it
    grid = {"a": [0.0, 1.0], "b": [0.0, 1.0]}
    assert coordinate_search({"a": 0.0, "b": 0.0}, grid, lambda at: both[at["a"], at["b"]]) == {"a": 1.0, "b": 1.0}


def test_neighbours_by_a_kernel_are_those_of_content_knn(train: TrainView):
    """Where the kernel is a text's cosine; θ's cosines below 0 count as 0 in both."""
    theirs_UI = scores(named("content_knn", neighbours=3), train)
    np.testing.assert_allclose(
        scores(named("kernel_knn", kernel={"text(line)": 1.0}, neighbours=[3]), train), theirs_UI, atol=1e-6
    )


def test_the_process_over_users_is_kernel_ridge(train: TrainView):
    """With a support of 3, without EASE: the histories of warm users are their three earliest items; everything that a user took is a target."""
    only = {"supports": [0, 3], "powers": [0.3], "penalties": [2.0], "ease": [0.0], "rank": 4}
    taken_UI = train.interaction_UI.toarray().astype(float)
    history_UI = taken_UI * (taken_UI.cumsum(1) <= 3)
    count_I = taken_UI.sum(0) + 1
    right_IV = np.linalg.svd(taken_UI / np.sqrt(count_I), full_matrices=False)[2][:4].T
    of_items = cosine_similarity(history_UI * count_I**-0.25)
    of_factors = cosine_similarity(history_UI / np.sqrt(count_I) @ right_IV)
    kernel_UU = cosine_similarity(train.user_vectors["profile"].astype(float)) + 2 * of_items + 3 * of_factors + 1
    count_U = taken_UI[:25].sum(1, keepdims=True)
    value_UI = taken_UI[:25] * (count_U / count_U.mean()) ** -0.3
    mean_I = value_UI.mean(0)
    ridge = KernelRidge(alpha=2.0, kernel="precomputed").fit(kernel_UU[:25, :25], value_UI - mean_I)
    scorer = named("user_gp", **only)(train, {})
    found_UI = scorer(np.arange(25), sparse.csr_array(history_UI[:25]), np.arange(20))
    np.testing.assert_allclose(found_UI, mean_I + ridge.predict(kernel_UU[:25, :25]), rtol=1e-4, atol=1e-5)  # float32 profiles

    none_UU = cosine_similarity(train.user_vectors["profile"].astype(float)) + 1
    ridge = KernelRidge(alpha=2.0, kernel="precomputed").fit(none_UU[:25, :25], value_UI - mean_I)
    found_UI = scorer(np.arange(25, 30), sparse.csr_array((5, 20)), np.arange(20))
    np.testing.assert_allclose(found_UI, mean_I + ridge.predict(none_UU[25:, :25]), rtol=1e-4, atol=1e-5)
    found_UI = scorer(
        np.array([3, 30]), sparse.csr_array((2, 20)), np.arange(20)
    )  # user 30 is not in the data, so has no profile
    alike_UU = np.stack([none_UU[3, :25], np.ones(25)])
    np.testing.assert_allclose(found_UI, mean_I + ridge.predict(alike_UU), rtol=1e-4, atol=1e-5)


def test_when_a_user_came_is_a_kernel_beside_the_others(train: TrainView):
    """Without a support: squared differences of first times, in units of days, inside an exponential; who never came is like nobody."""
    day_U = np.append(np.random.default_rng(0).uniform(0, 200, 29), np.inf)
    came = replace(train, first_seen_U=day_U * 86_400)
    only = {"supports": [0], "powers": [0.0], "penalties": [2.0], "rank": 4, "days": 30.0}
    value_UI = train.interaction_UI.toarray().astype(float)[:25]
    kernel_UU = cosine_similarity(train.user_vectors["profile"].astype(float)) + 1
    kernel_UU[:29, :29] += 0.5 * rbf_kernel(day_U[:29, None], gamma=1 / (2 * 30**2))
    ridge = KernelRidge(alpha=2.0, kernel="precomputed").fit(kernel_UU[:25, :25], value_UI - value_UI.mean(0))
    found_UI = named("user_gp", **only, arrival_weight=0.5)(came, {})(np.arange(25, 30), sparse.csr_array((5, 20)), np.arange(20))
    np.testing.assert_allclose(found_UI, value_UI.mean(0) + ridge.predict(kernel_UU[25:, :25]), rtol=1e-4, atol=1e-5)
    found_UI = named("user_gp", **only, arrival_weight=0.5)(came, {})(np.array([30]), sparse.csr_array((1, 20)), np.arange(20))
    np.testing.assert_allclose(found_UI, value_UI.mean(0) + ridge.predict(np.ones((1, 25))), rtol=1e-4, atol=1e-5)

    with pytest.raises(
        ValueError, match=r"baseline\.arrival_weight: the split has no first times of users; give split\.use_first_seen=true"
    ):
        named("user_gp", **only, arrival_weight=0.5)(train, {})


def test_ease_is_added_to_scores_of_at_most_one(train: TrainView):
    only = {"supports": [3], "powers": [0.3], "penalties": [2.0], "rank": 4}
    shown = earliest_history(train, 3)[:25]
    plain_UI, mixed_UI = (
        named("user_gp", **only, ease=[share])(train, {})(np.arange(25), shown, np.arange(20)) for share in (0.0, 0.3)
    )
    weight_II = ease_weights(item_gram(train).toarray(), 300.0)
    np.testing.assert_allclose(mixed_UI, plain_UI / plain_UI.max(1, keepdims=True) + 0.3 * (shown @ weight_II), rtol=1e-9)


def test_a_wrong_value_is_named():
    with pytest.raises(ConfigError, match=r"baseline\.item_kernel\.penalties: \[\]"):
        named("item_kernel", penalties=[])
    with pytest.raises(ConfigError, match=r"baseline\.item_kernel\.kernel: 'near' is no block; there are text\(TEXT\)"):
        named("item_kernel", kernel={"text(line) * near": 1.0})
    with pytest.raises(ConfigError, match=r"baseline\.kernel_knn\.neighbours: \[-1\]"):
        named("kernel_knn", neighbours=[-1])
    with pytest.raises(ConfigError, match=r"baseline\.user_gp\.powers: \[-1\.0\]"):
        named("user_gp", powers=[-1.0])
