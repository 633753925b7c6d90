"""Against ir-measures, scikit-learn, a case worked by hand, and the reference's popularity."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankings import CONFIG, ITEM_COLD, USER_COLD, distinct_scores, make_dataset, oracle, table_scorer
from scipy import sparse
from sklearn.metrics import roc_auc_score

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.evaluation import tables
from cold_jax.evaluation.evaluate import EvaluationConfig, PointwiseScorer, Scorer, Validation, evaluate, select_setting, validate
from cold_jax.splits.assemble import assemble, train_view
from cold_jax.splits.entities import Warm
from cold_jax.splits.files import FromFile
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.labels import Cold
from cold_jax.splits.next_item import NextItem
from cold_jax.splits.sampled import SampledCandidates
from cold_jax.splits.tasks import TrainView, ranking_task
from cold_jax.splits.ties import with_tie_break


@pytest.fixture(scope="module")
def score_UI() -> np.ndarray:
    return distinct_scores()


def test_hand_worked_case():
    # items 0 … 5, all candidates; user 7 shows 0 and wants 2 and 5, user 9 shows nothing and wants 1
    matrices = (sparse.csr_array(np.array(rows, np.float32)) for rows in (
        [[0] * 6] * 7 + [[1, 0, 0, 0, 0, 0]] + [[0] * 6] * 2,
        [[0] * 6] * 7 + [[0, 0, 1, 0, 0, 1]] + [[0] * 6] + [[0, 1, 0, 0, 0, 0]],
    ))  # fmt: skip
    part = replace(ranking_task("hand", *matrices, np.arange(6)), tie_break_I=np.arange(6))
    score_UI = np.zeros((10, 6), np.float32)
    score_UI[7] = [9, 1, 3, 3, 5, 0]  # 0 is masked; 4, 2 (before 3, its equal), 3, 1, 5: ranks 2 and 5 of 5
    score_UI[9] = [1, 1, 1, 1, 1, 2]  # 5, 0, 1: rank 3 of 6
    got = evaluate(table_scorer(score_UI), {"hand": part}, ["recall@2", "ndcg@2", "mrr", "auc", "coverage@2"], 3)
    assert got.users["hand"].tolist() == [7, 9]
    expected = {"recall@2": [1 / 2, 0], "ndcg@2": [(1 / np.log2(3)) / (1 + 1 / np.log2(3)), 0], "mrr": [1 / 2, 1 / 3]}
    expected["auc"] = [2 / 6, 3 / 5]  # rank 2 beats two of three negatives, rank 5 none; rank 3 beats three of five
    for name, value_U in expected.items():
        np.testing.assert_allclose(got.per_user["hand"][name], value_U, rtol=1e-12, err_msg=name)
        assert got.mean()["hand"][name] == pytest.approx(np.mean(value_U))
    assert got.rankings["hand"].top_UK.tolist() == [[4, 2, 3], [5, 0, 1]]
    assert got.mean()["hand"]["coverage@2"] == 4 / 6  # 0, 2, 4, 5 of six


def test_an_interaction_of_a_history_counts_once_wherever_it_stands():
    # user 0 took items 0, 1, 2, 3 in this order, user 1 items 2, 3, 0: counts 2, 1, 2, 2; the last is the target
    user_N, item_N = np.array([0, 0, 0, 0, 1, 1, 1], np.int32), np.array([0, 1, 2, 3, 2, 3, 0], np.int32)
    sides = (Entities(tuple(f"{side}{n}" for n in range(count)), {}, {}) for side, count in (("u", 2), ("i", 4)))
    dataset = Dataset("hand", user_N, item_N, np.ones(7, np.float32), np.arange(7) * 1.0, *sides)
    part = NextItem(exclude_seen=False, cold_window=None)(dataset).test["all"]
    names = ["novelty@1", "stratified_recall@1"]
    got = evaluate(table_scorer(np.array([[0, 9, 0, 0], [9, 0, 0, 0]], np.float32)), {"hand": part}, names, 1)
    np.testing.assert_allclose(got.per_user["hand"]["novelty@1"], [-np.log2((1 + 1) / (2 + 1)), 0], atol=1e-6)
    np.testing.assert_allclose(got.per_user["hand"]["stratified_recall@1"], [0, 1])


def test_agrees_with_ir_measures(score_UI: np.ndarray):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ir_measures
        from ir_measures import RR, P, R, Success, nDCG

        split = ITEM_COLD(make_dataset())
        theirs_of = {R @ 5: "recall@5", nDCG @ 5: "ndcg@5", Success @ 5: "hr@5", P @ 5: "precision@5", RR: "mrr"}
        ours = evaluate(table_scorer(score_UI), split.test, [*theirs_of.values()], 5, chunk=16)
        for name, part in split.test.items():
            qrels, run = [], []
            for row, user in enumerate(part.user_U):
                qrels += [ir_measures.Qrel(str(user), str(i), 1) for i in part.target_UI[[row]].indices]
                left = np.setdiff1d(part.candidate_I, part.history_UI[[row]].indices)
                run += [ir_measures.ScoredDoc(str(user), str(i), float(score_UI[user, i])) for i in left]
            place, lines = {user: row for row, user in enumerate(part.user_U)}, 0
            for line in ir_measures.iter_calc(list(theirs_of), qrels, run):
                ours_U = ours.per_user[name][theirs_of[line.measure]]
                assert ours_U[place[int(line.query_id)]] == pytest.approx(line.value, abs=1e-12), (name, line)
                lines += 1
            assert lines == len(part.user_U) * len(theirs_of) > 0


@pytest.mark.parametrize("by_row", [False, True])
def test_pointwise_tasks_against_scikit_learn(score_UI: np.ndarray, by_row: bool):
    split = Warm(seed=1, holdout_fraction=0.5, threshold=3, ranked=True)(make_dataset())
    part, centred_UI = split.test["all"], score_UI - 600
    given = PointwiseScorer(lambda part: centred_UI[part.user_N, part.item_N], table_scorer(np.zeros_like(score_UI)))
    scorer = given if by_row else table_scorer(centred_UI)
    got = evaluate(scorer, {"rows": part}, ["recall@5"], 5, chunk=7)
    score_N, label_N = centred_UI[part.user_N, part.item_N], part.value_N
    both = [user for user in part.user_U if 0 < label_N[part.user_N == user].mean() < 1]
    aucs = [roc_auc_score(label_N[part.user_N == user], score_N[part.user_N == user]) for user in both]
    assert got.users["rows"].tolist() == both
    np.testing.assert_allclose(got.per_user["rows"]["uauc"], aucs)
    mean = got.mean()["rows"]
    assert mean["auc"] == pytest.approx(roc_auc_score(label_N, score_N))
    assert mean["uauc"] == pytest.approx(np.mean(aucs))
    assert mean["accuracy"] == pytest.approx(np.mean((score_N > 0) == (label_N == 1)))


def test_a_nan_names_part_and_place(score_UI: np.ndarray):
    split = Warm(seed=1, holdout_fraction=0.5, threshold=3, ranked=True)(make_dataset())
    user = int(split.test["all"].user_N[4])
    broken_UI = score_UI.copy()
    broken_UI[user] = np.nan
    with pytest.raises(FloatingPointError, match=rf"part 'warm': a score of user {user} "):
        CONFIG(table_scorer(broken_UI), {"warm": split.test["warm"]})
    with pytest.raises(FloatingPointError, match=r"part 'rows': the score of row \d+ is NaN"):
        CONFIG(table_scorer(broken_UI), {"rows": split.test["all"]})


def test_validation_is_the_mean_over_tasks(score_UI: np.ndarray):
    split = USER_COLD(make_dataset())
    mean, each, value_U = CONFIG.validate(table_scorer(score_UI), split.validation)
    whole = CONFIG(table_scorer(score_UI), split.validation).mean()
    assert each == {name: whole[name]["recall@2"] for name in ("support_0", "support_3")}
    assert mean == pytest.approx(sum(each.values()) / 2)
    assert value_U is not None
    assert value_U.mean() == pytest.approx(mean)


def test_a_gain_is_of_the_same_users_over_all_tasks():
    """Three users, of whom the last has no second task. A user's share of the mean of two means, times three, by hand."""
    history_UI, target_UI = sparse.csr_array((3, 4)), sparse.csr_array(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]))
    first = replace(ranking_task("first", history_UI, target_UI, np.arange(4)), tie_break_I=np.arange(4))
    tasks = {"first": first, "second": replace(first.of(np.array([0, 1])), name="second")}
    none_UI, some_UI = np.zeros((3, 4)) - np.arange(4), np.zeros((3, 4)) - np.arange(4)
    some_UI[1, 1] = 1  # the second user's target is first, in both tasks
    before, after = (validate(table_scorer(score_UI), tasks, "recall@1") for score_UI in (none_UI, some_UI))
    assert (before.metric, after.metric) == pytest.approx(((1 / 3 + 1 / 2) / 2, (2 / 3 + 1) / 2))
    share_U = 3 * np.array([0, 1 / 3 + 1 / 2, 0]) / 2
    centred_U = share_U - share_U.mean()
    gain = after.gain(before.value_U)
    assert gain is not None
    assert gain[0] == pytest.approx(after.metric - before.metric)
    # centring moves each user's value by the means of the tasks that they are in
    assert 0.5 * centred_U.std(ddof=1) / 3**0.5 < gain[1] < 1.5 * centred_U.std(ddof=1) / 3**0.5
    assert before.gain(before.value_U) == (0, 0)


def test_there_is_no_gain_without_users():
    assert Validation(0.5, {}).gain(np.ones(3)) is None
    assert Validation(0.5, {}, np.ones(3)).gain(None) is None
    assert Validation(0.5, {}, np.ones(1)).gain(np.zeros(1)) is None
    assert Validation(0.5, {}, np.array([1.0, 0, 1])).gain(np.zeros(3)) == pytest.approx((2 / 3, 1 / 3))


def test_a_metric_of_a_whole_task_has_no_users(score_UI: np.ndarray):
    task = Warm(seed=1, holdout_fraction=0.5, threshold=3, ranked=True)(make_dataset()).test["all"]
    values = {metric: validate(table_scorer(score_UI), {"all": task}, metric).value_U for metric in ("auc", "uauc")}
    assert values["auc"] is None
    assert values["uauc"] is not None


def test_the_best_setting_is_chosen_over_folds_and_the_first_of_equals():
    split = Warm(seed=1, holdout_fraction=0.2, threshold=None, ranked=True)(make_dataset())
    train = train_view(make_dataset(), split, {}, {})
    folds = list(pseudo_cold_folds(train, "items", 3, seed=0, supports=[]))
    know, fitted = dict(zip((id(fold) for fold, _ in folds), (oracle(p["cold"]) for _, p in folds), strict=True)), []

    def fit(sign: float, fold: TrainView) -> Scorer:
        fitted.append((sign, id(fold)))
        return table_scorer(sign * know[id(fold)])

    best, scores = select_setting([-1.0, 1.0, 2.0], fit, folds, "mrr")
    assert best == 1.0
    assert scores[0] < scores[1] == scores[2] == 1.0
    assert len(set(fitted)) == 9


def test_sampled_candidates_are_scored_alone(score_UI: np.ndarray):
    dataset = make_dataset()
    split = SampledCandidates(seed=1, users=6, validation_users=2, positives=2, candidates=5, support=[0])(dataset)
    part, asked = split.test["support_0"], []

    def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        asked.append((int(user_U[0]), candidate_I.tolist()))
        return score_UI[user_U][:, candidate_I]

    ours = CONFIG(scorer, split.test)
    assert part.sampled_candidate_UI is not None
    own = [(int(user), part.sampled_candidate_UI[[row]].indices.tolist()) for row, user in enumerate(part.user_U)]
    assert [pair for pair in own if pair in asked] == own
    assert all(len(candidate_I) == 5 for _, candidate_I in asked)
    best_U = [
        min(sorted(-score_UI[user, own_I]).index(-score_UI[user, i]) for i in part.target_UI[[row]].indices)
        for row, (user, own_I) in enumerate(own)
    ]
    np.testing.assert_allclose(ours.per_user["support_0"]["mrr"], 1 / (1 + np.array(best_U)))


def test_a_pointwise_metric_chooses_on_pointwise_tasks_only(score_UI: np.ndarray):
    dataset = make_dataset()
    ranked, rows = ITEM_COLD(dataset).validation, replace(ITEM_COLD, threshold=4)(dataset).validation
    whole = evaluate(table_scorer(score_UI), rows, [], 1).mean()["all"]
    for metric, expected in (("item_correlation", "item_correlation"), ("auc", "auc"), ("recall@2", "uauc")):
        assert validate(table_scorer(score_UI), rows, metric)[0] == whole[expected]
    with pytest.raises(ValueError, match=r"evaluation\.metric: item_correlation is for pointwise tasks, and the split ranks"):
        validate(table_scorer(score_UI), ranked, "item_correlation")


def test_who_took_every_candidate_is_left_out_of_auc_alone(score_UI: np.ndarray):
    """User 0 wants all six items but the one they have seen; user 1 wants one."""
    history_UI, target_UI = (sparse.csr_array(np.array(rows, np.float32)) for rows in (
        [[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], [[0, 1, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0]],
    ))  # fmt: skip
    task = with_tie_break({"all": ranking_task("all", history_UI, target_UI, np.arange(6))}, "abcdef")["all"]
    scorer = table_scorer(np.arange(12.0).reshape(2, 6))
    got = evaluate(scorer, {"all": task}, ["recall@2", "auc"], 3)
    assert got.per_user["all"]["recall@2"].tolist() == [2 / 5, 0]
    assert got.per_user["all"]["auc"].tolist() == [2 / 5]  # ranks 1 … 3 are others'
    assert (got.users_of("all", "recall@2").tolist(), got.users_of("all", "auc").tolist()) == ([0, 1], [1])
    assert validate(scorer, {"all": task}, "auc")[0] == 2 / 5
    nobody = evaluate(scorer, {"all": task.of(np.array([0]))}, ["recall@2", "auc"], 3)
    assert nobody.mean() == {"all": {"recall@2": 2 / 5}}
    with pytest.raises(ValueError, match=r"evaluation\.metric: auc is undefined in 'all', whose users took every candidate"):
        validate(scorer, {"all": task.of(np.array([0]))}, "auc")


@pytest.mark.parametrize("split", [USER_COLD, ITEM_COLD, Warm(seed=1, holdout_fraction=0.3, threshold=4, ranked=True)], ids=repr)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), values=st.integers(1, 4))
def test_the_order_of_the_items_file_changes_no_metric(split: Any, seed: int, values: int):
    """The same interactions, labels and scores, with the items in other rows: many scores are equal."""
    dataset, generator = make_dataset(), np.random.default_rng(seed)
    score_UI = generator.integers(0, values, (40, 30)).astype(np.float32)
    row_I = generator.permutation(30)  # item i is moved to row row_I[i]
    moved_ids = tuple(dataset.items.ids[i] for i in np.argsort(row_I))
    moved = replace(dataset, item_N=row_I[dataset.item_N].astype(np.int32), items=replace(dataset.items, ids=moved_ids))
    part_N, cold = split(dataset).part_N, Cold.users if split is USER_COLD else Cold.items if split is ITEM_COLD else Cold.none
    names = ["recall@2", "ndcg@5", "mrr", "auc", "coverage@2", "gini@2", "novelty@2", "stratified_recall@2"]
    got = [
        evaluate(table_scorer(table_UI), assemble(one, part_N, cold, [0, 3] if cold is Cold.users else []).test, names, 5)
        for one, table_UI in ((dataset, score_UI), (moved, score_UI[:, np.argsort(row_I)]))
    ]
    for task, values_of in got[0].mean().items():
        assert got[1].mean()[task] == pytest.approx(values_of, rel=1e-6), task  # sums in single precision
    lists = [tables.rankings_table(one, data.users, data.items) for one, data in zip(got, (dataset, moved), strict=True)]
    assert lists[0].item_id == lists[1].item_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["recal@20"]}, r"evaluation.metrics: metric 'recal@20' is unknown"),
        ({"metric": "ndcg@5"}, r"evaluation.metric: ndcg@5 is none of evaluation.metrics, mrr; name it there too"),
        ({"metric": "coverage@2"}, r"evaluation.metrics: metric 'coverage@2' is unknown"),
        ({"metrics": ["coverage@20"]}, r"evaluation.metrics: coverage@20 needs places that evaluation.top 3 does not keep"),
        ({"metrics": ["coverage@0"]}, r"evaluation.metrics: coverage@0 needs places"),
        ({"top": 0}, r"evaluation.top: 0 must be 1 or more"),
        ({"users": 0}, r"evaluation.users: 0 must be 1 or more"),
    ],
)
def test_settings_are_checked_by_name(change: dict, message: str):
    values = {"metrics": ["mrr"], "metric": "mrr", "top": 3, "chunk": 4, "resamples": 100, "users": None}
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**values | change)


@pytest.mark.assets
def test_popularity_of_the_reference_split():
    """Recall and NDCG that the reference gives for popularity on its cold users, from the CSV in COLD_JAX_REFERENCE."""
    if "COLD_JAX_REFERENCE" not in os.environ:
        pytest.skip("COLD_JAX_REFERENCE does not name the reference's split of MovieLens-100k's users")
    from omegaconf import OmegaConf

    from cold_jax import CONF, config

    dataset = config.make(OmegaConf.load(Path(CONF) / "data" / "ml_100k.yaml"), "data")()
    split = FromFile(os.environ["COLD_JAX_REFERENCE"], [0, 1, 5, 10], 5, None, True, None, False)(dataset)
    popularity_I = np.bincount(dataset.item_N[split.train_N], minlength=len(dataset.items))
    got = evaluate(lambda user_U, *_: np.tile(popularity_I, (len(user_U), 1)), split.test, ["recall@20", "ndcg@20"], 20)
    means = {part: (values["recall@20"], values["ndcg@20"]) for part, values in got.mean().items()}
    assert means["support_0"] == pytest.approx((0.135, 0.477), abs=0.001)
    for part, expected in (("support_1", (0.131, 0.464)), ("support_5", (0.124, 0.425)), ("support_10", (0.119, 0.383))):
        assert means[part] == pytest.approx(expected, abs=0.02)  # a user's order at equal times is the source's own
