"""Against ir-measures, scikit-learn, cases worked by hand, and what must hold of any ranking."""

import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cold_jax.evaluation import metrics

NAMES = ("recall@3", "recall@20", "precision@20", "hr@1", "hr@20", "ndcg@3", "ndcg@20", "mrr", "auc")


def random_users(users: int, items: int, seed: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
    """Distinct scores, each user's positive items, and the flat ranks and offsets that per_user takes."""
    generator = np.random.default_rng(seed)
    score_UI = np.stack([generator.permutation(items) for _ in range(users)]).astype(float)
    positives = [generator.choice(items, generator.integers(1, 30), replace=False) for _ in range(users)]
    rank_P = np.concatenate([items - score_UI[u, chosen].astype(int) for u, chosen in enumerate(positives)])
    return score_UI, positives, rank_P, np.cumsum([0, *map(len, positives)])


def test_hand_worked_case():
    # user 0: 4 candidates, positives at ranks 1 and 4; user 1: 5 candidates, the only positive at rank 3
    names = ("recall@2", "precision@2", "hr@2", "ndcg@3", "mrr", "auc")
    got = metrics.per_user(np.array([4, 1, 3]), np.array([0, 2, 3]), np.array([4, 5]), names)
    expected = {
        "recall@2": [1 / 2, 0],
        "precision@2": [1 / 2, 0],
        "hr@2": [1, 0],
        "ndcg@3": [1 / (1 + 1 / np.log2(3)), (1 / 2) / 1],
        "mrr": [1, 1 / 3],
        "auc": [2 / 4, 2 / 4],  # rank 1 beats two negatives of two, rank 4 none; rank 3 two of four
    }
    assert got.keys() == expected.keys()
    for name, value_U in expected.items():
        np.testing.assert_allclose(got[name], value_U, rtol=1e-15, err_msg=name)


def test_agrees_with_ir_measures():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ir_measures
        from ir_measures import RR, P, R, Success, nDCG

        score_UI, positives, rank_P, offset_U = random_users(150, 60, seed=0)
        qrels = [ir_measures.Qrel(str(u), str(i), 1) for u, chosen in enumerate(positives) for i in chosen]
        run = [ir_measures.ScoredDoc(str(u), str(i), s) for u, score_I in enumerate(score_UI) for i, s in enumerate(score_I)]
        names = {
            R @ 3: "recall@3", R @ 20: "recall@20", P @ 20: "precision@20", Success @ 1: "hr@1",
            Success @ 20: "hr@20", nDCG @ 3: "ndcg@3", nDCG @ 20: "ndcg@20", RR: "mrr",
        }  # fmt: skip
        theirs = list(ir_measures.iter_calc(list(names), qrels, run))
    ours = metrics.per_user(rank_P, offset_U, np.full(150, 60), NAMES)
    assert len(theirs) == 150 * len(names)
    for line in theirs:
        assert ours[names[line.measure]][int(line.query_id)] == pytest.approx(line.value, abs=1e-12), (
            line.measure,
            line.query_id,
        )


def test_auc_agrees_with_scikit_learn():
    score_UI, positives, rank_P, offset_U = random_users(50, 60, seed=1)
    ours_U = metrics.per_user(rank_P, offset_U, np.full(50, 60), ("auc",))["auc"]
    theirs_U = [
        roc_auc_score(np.isin(np.arange(60), chosen), score_I) for chosen, score_I in zip(positives, score_UI, strict=True)
    ]
    np.testing.assert_allclose(ours_U, theirs_U, atol=1e-12)


@st.composite
def one_ranking(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    candidates = draw(st.integers(2, 40))
    rank_P = draw(st.lists(st.integers(1, candidates), min_size=1, max_size=candidates - 1, unique=True))
    return np.array(rank_P), candidates


def of_one(rank_P: np.ndarray, candidates: int) -> dict[str, float]:
    values = metrics.per_user(rank_P, np.array([0, len(rank_P)]), np.array([candidates]), NAMES)
    return {name: float(value_U[0]) for name, value_U in values.items()}


@given(one_ranking())
def test_any_ranking(ranking: tuple[np.ndarray, int]):
    rank_P, candidates = ranking
    value = of_one(rank_P, candidates)
    assert all(0 <= v <= 1 + 1e-12 for v in value.values())
    assert value["hr@20"] == (value["recall@20"] > 0) == (value["ndcg@20"] > 0) == (value["precision@20"] > 0)
    assert value["recall@3"] <= value["recall@20"]
    best = of_one(np.arange(1, len(rank_P) + 1), candidates)
    assert best["ndcg@20"] == best["ndcg@3"] == best["auc"] == best["mrr"] == pytest.approx(1)
    assert all(value[name] <= best[name] + 1e-12 for name in NAMES)
    assert of_one(candidates + 1 - rank_P, candidates)["auc"] == pytest.approx(1 - value["auc"])  # the list turned round
    assert of_one(rank_P[::-1], candidates) == pytest.approx(value)  # positives have no order


@given(one_ranking(), st.data())
def test_a_positive_that_rises_lowers_nothing(ranking: tuple[np.ndarray, int], data: st.DataObject):
    rank_P, candidates = ranking
    free = sorted(set(range(1, candidates + 1)) - set(rank_P.tolist()))
    place = data.draw(st.integers(0, len(rank_P) - 1))
    better = [rank for rank in free if rank < rank_P[place]]
    if better:
        risen_P = rank_P.copy()
        risen_P[place] = data.draw(st.sampled_from(better))
        before, after = of_one(rank_P, candidates), of_one(risen_P, candidates)
        assert all(after[name] >= before[name] - 1e-12 for name in NAMES)
        assert after["auc"] > before["auc"]


def test_users_do_not_touch_each_other():
    _, _, rank_P, offset_U = random_users(20, 60, seed=2)
    together = metrics.per_user(rank_P, offset_U, np.full(20, 60), NAMES)
    for u in range(20):
        alone = of_one(rank_P[offset_U[u] : offset_U[u + 1]], 60)
        assert alone == {name: pytest.approx(together[name][u], rel=1e-12) for name in NAMES}


def test_auc_leaves_out_who_took_every_candidate():
    """User 0 has two positives of two candidates; user 1's only positive is last of three."""
    got = metrics.per_user(np.array([1, 2, 3]), np.array([0, 2, 3]), np.array([2, 3]), ("auc", "recall@1"))
    assert metrics.has_negatives(np.array([0, 2, 3]), np.array([2, 3])).tolist() == [False, True]
    assert got["auc"].tolist() == [0]
    assert got["recall@1"].tolist() == [0.5, 0]


def test_no_user_gives_no_values():
    got = metrics.per_user(np.zeros(0, int), np.zeros(1, int), np.zeros(0, int), NAMES)
    assert {name: value_U.shape for name, value_U in got.items()} == dict.fromkeys(NAMES, (0,))


@pytest.mark.parametrize(
    "name", ["recal@20", "recall", "recall@0", "recall@-1", "recall@2.5", "mrr@10", "NDCG@20", "", "recall@20 "]
)
def test_unknown_name_names_the_known_ones(name: str):
    with pytest.raises(ValueError, match=r"is unknown: known are recall@k, ndcg@k, hr@k, precision@k with k ≥ 1, mrr, auc"):
        metrics.per_user(np.array([1]), np.array([0, 1]), np.array([2]), (name,))


@pytest.mark.parametrize(
    ("rank_P", "offset_U", "candidates_U", "message"),
    [
        ([1.0, np.nan], [0, 1, 2], [2, 2], r"rank_P is not a finite number \(place 1, 1 of 2\)"),
        ([1.0, 1.0], [0, 1, 2], [2, np.inf], r"candidates_U is not a finite number \(place 1"),
        ([1, 1], [0, 1, 1, 2], [2, 2, 2], r"positives: none.*place 1, 1 of 3"),
        ([1, 0], [0, 1, 2], [2, 2], r"rank outside.*user 1"),
        ([3, 1, 1], [0, 2, 3], [2, 2], r"rank outside.*user 0"),
    ],
)
def test_wrong_ranks_say_where(rank_P: list[float], offset_U: list[int], candidates_U: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        metrics.per_user(np.array(rank_P), np.array(offset_U), np.array(candidates_U), ("auc",))


def test_coverage_counts_items_once():
    top_UK = np.array([[3, 5, 7], [5, 3, -1], [9, -1, -1]])
    assert metrics.coverage(top_UK, 2, 10) == 3 / 10
    assert metrics.coverage(top_UK, 3, 10) == 4 / 10
    with pytest.raises(ValueError, match="coverage@4: the rankings have 3 places"):
        metrics.coverage(top_UK, 4, 10)


rows = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 4)), min_size=2, max_size=60)


@given(rows)
def test_auc_of_rows_agrees_with_scikit_learn_with_ties(table: list[tuple[int, bool, int]]):
    score_N, label_N, user_N = (np.array(column) for column in zip(*table, strict=True))
    user_U, auc_U = metrics.user_auc(score_N / 7, label_N, user_N)
    both = [u for u in np.unique(user_N) if len(set(label_N[user_N == u])) == 2]
    assert user_U.tolist() == both
    theirs_U = [roc_auc_score(label_N[user_N == u], score_N[user_N == u]) for u in both]
    np.testing.assert_allclose(auc_U, theirs_U, atol=1e-12)
    if both:
        got = metrics.pointwise(score_N / 7, label_N, user_N)
        assert got["auc"] == pytest.approx(roc_auc_score(label_N, score_N), abs=1e-12)
        assert got["uauc"] == pytest.approx(np.mean(theirs_U), abs=1e-12)
        assert got["accuracy"] == np.mean([(s > 0) == y for s, y, _ in table])
        assert got["base_rate"] == np.mean([y for _, y, _ in table])


def test_what_items_are_worth_agrees_with_numpy_and_is_deaf_to_users_levels():
    """Each item is in as many rows of numpy's correlation as it has."""
    rng = np.random.default_rng(0)
    user_N, item_N, label_N = rng.integers(0, 9, 200), rng.integers(0, 30, 200) * 7, rng.integers(0, 2, 200)
    score_N, user_bias_U = rng.normal(size=200) + label_N, rng.normal(0, 9, 9)
    found = metrics.item_correlation(score_N, label_N, user_N, item_N)
    table = pl.DataFrame({"u": user_N, "i": item_N, "y": label_N, "s": score_N})
    table = table.with_columns(pl.col("y", "s") - pl.col("y", "s").mean().over("u"))
    table = table.with_columns(pl.col("y", "s").mean().over("i"))
    assert found == pytest.approx(np.corrcoef(table["y"], table["s"])[0, 1])
    assert metrics.item_correlation(score_N + user_bias_U[user_N], label_N, user_N, item_N) == pytest.approx(found)
    assert metrics.item_correlation(user_bias_U[user_N], label_N, user_N, item_N) is None
    for name in ("score_N", "label_N"):
        with pytest.raises(ValueError, match=f"{name} is not a finite number"):
            metrics.item_correlation(
                **{"score_N": score_N, "label_N": label_N, name: np.full(200, np.nan)}, user_N=user_N, item_N=item_N
            )


def test_rows_without_both_labels_are_errors():
    one = np.ones(3)
    with pytest.raises(ValueError, match="auc: the rows have not both labels"):
        metrics.pointwise(one, one, np.zeros(3, int))
    with pytest.raises(ValueError, match="uauc: no user has rows of both labels"):
        metrics.pointwise(one, np.array([0, 1, 1]), np.array([0, 1, 1]))


@pytest.mark.parametrize(
    ("score_N", "label_N", "message"),
    [
        ([0.0, np.nan], [0, 1], r"score_N is not a finite number \(place 1, 1 of 2\)"),
        ([0.0, -np.inf], [0, 1], "score_N is not a finite number"),
        ([0.0, 1.0], [np.nan, 1], r"label_N is not a finite number \(place 0"),
        ([0.0, 1.0], [0, 5], r"label other than 0 and 1 \(place 1"),
    ],
)
def test_wrong_rows_say_where(score_N: list[float], label_N: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        metrics.pointwise(np.array(score_N), np.array(label_N), np.zeros(2, int))


def test_gini_by_hand():
    """Of four items two are shown, three times and once; an empty place counts for nothing. Then all alike, and one alone."""
    top_UK = np.array([[0, 1], [0, -1], [0, -1]])
    # mean absolute difference over twice the mean: pairs of 3, 1, 0, 0 differ by 2 + 3 + 3 + 1 + 1 + 0 = 10, each counted twice
    assert metrics.gini(top_UK, 2, 4) == pytest.approx(2 * 10 / (2 * 4**2 * 1))
    assert metrics.gini(np.array([[0, 1], [2, 3]]), 2, 4) == pytest.approx(0)
    assert metrics.gini(np.array([[0], [0]]), 1, 5) == pytest.approx(1 - 1 / 5)


def test_novelty_by_hand():
    """Seven users; of the items one was taken by all, one by three, one by nobody: 0, 1 and 3 bits."""
    top_UK, count_I = np.array([[0, 1, 2], [2, 1, -1]]), np.array([7, 3, 0])
    np.testing.assert_allclose(metrics.novelty(top_UK, 3, count_I, 7), [4 / 3, 2])
    np.testing.assert_allclose(metrics.novelty(top_UK, 1, count_I, 7), [0, 3])


def test_stratified_recall_by_hand_and_as_recall():
    """Positives of 1, 4 and 4 takers weigh 1, 1/2 and 1/2."""
    rank_P, offset_U, count_P = np.array([1, 9, 2, 3]), np.array([0, 3, 4]), np.array([1, 4, 4, 4])
    np.testing.assert_allclose(metrics.stratified_recall(rank_P, offset_U, count_P, 2), [1.5 / 2, 0])
    _, _, rank_P, offset_U = random_users(20, 60, seed=1)
    recall_U = metrics.per_user(rank_P, offset_U, np.full(20, 60), ["recall@20"])["recall@20"]
    np.testing.assert_allclose(metrics.stratified_recall(rank_P, offset_U, np.full(len(rank_P), 7), 20), recall_U)
