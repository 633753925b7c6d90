"""Against ir-measures, scikit-learn, a case worked by hand, and the reference's popularity."""

import dataclasses
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.evaluation import tables
from cold_jax.evaluation.evaluate import EvaluationConfig, PointwiseScorer, Scorer, evaluate, select_setting, validate
from cold_jax.evaluation.protocol import compare_to_baselines, describe_protocol
from cold_jax.splits.assemble import train_view
from cold_jax.splits.entities import ItemCold, UserCold, Warm
from cold_jax.splits.files import FromFile
from cold_jax.splits.folds import pseudo_cold_folds
from cold_jax.splits.next_item import NextItem
from cold_jax.splits.sampled import SampledCandidates
from cold_jax.splits.tasks import EvalTask, TrainView, ranking_task

SETTINGS = EvaluationConfig(metrics=["recall@2", "ndcg@2", "mrr", "coverage@2"], metric="recall@2", top=3, chunk=4, resamples=100)


def make_dataset(users: int = 40, items: int = 30, interactions: int = 600) -> Dataset:
    generator = np.random.default_rng(0)
    columns = [generator.integers(0, high, interactions).astype(np.int32) for high in (users, items)]
    value_N, time_N = generator.integers(1, 6, interactions).astype(np.float32), generator.integers(0, 9, interactions) * 1.0
    sides = (Entities(tuple(f"{side}{n}" for n in range(count)), {}, {}) for side, count in (("u", users), ("i", items)))
    return Dataset("random", *columns, value_N, time_N, *sides)


def table_scorer(score_UI: np.ndarray) -> Scorer:
    return lambda user_U, history_UI, candidate_I: score_UI[user_U][:, candidate_I]


@pytest.fixture(scope="module")
def score_UI() -> np.ndarray:
    return np.random.default_rng(5).permutation(40 * 30).reshape(40, 30).astype(np.float32)  # no ties


def test_hand_worked_case():
    # items 0 … 5, all candidates; user 7 shows 0 and wants 2 and 5, user 9 shows nothing and wants 1
    matrices = (sparse.csr_array(np.array(rows, np.float32)) for rows in (
        [[0] * 6] * 7 + [[1, 0, 0, 0, 0, 0]] + [[0] * 6] * 2,
        [[0] * 6] * 7 + [[0, 0, 1, 0, 0, 1]] + [[0] * 6] + [[0, 1, 0, 0, 0, 0]],
    ))  # fmt: skip
    part = ranking_task("hand", *matrices, np.arange(6))
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
    # user 0 took items 0, 1, 2, 3 in this order, user 1 items 2, 3, 0: counts 2, 1, 2, 2; the last is asked for
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

        split = ItemCold(seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, threshold=None)(make_dataset())
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
def test_given_rows_against_scikit_learn(score_UI: np.ndarray, by_row: bool):
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
        SETTINGS(table_scorer(broken_UI), {"warm": split.test["warm"]})
    with pytest.raises(FloatingPointError, match=r"part 'rows': the score of row \d+ is NaN"):
        SETTINGS(table_scorer(broken_UI), {"rows": split.test["all"]})


def test_validation_is_the_mean_over_parts(score_UI: np.ndarray):
    split = UserCold(
        seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, support=[0, 3], use_first_seen=False
    )(make_dataset())
    mean, each = SETTINGS.validate(table_scorer(score_UI), split.validation)
    whole = SETTINGS(table_scorer(score_UI), split.validation).mean()
    assert each == {name: whole[name]["recall@2"] for name in ("support_0", "support_3")}
    assert mean == pytest.approx(sum(each.values()) / 2)


def oracle(part: EvalTask) -> np.ndarray:
    score_UI = np.zeros((40, 30), np.float32)
    score_UI[part.user_U] = part.target_UI.toarray()
    return score_UI


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


def test_versus_and_protocol(score_UI: np.ndarray):
    dataset = make_dataset()
    split = ItemCold(seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, threshold=None)(dataset)
    ours, weak = SETTINGS(table_scorer(score_UI), split.test), SETTINGS(table_scorer(-score_UI), split.test)
    strong = SETTINGS(table_scorer(score_UI + 200 * sum(oracle(part) for part in split.test.values())), split.test)
    found = compare_to_baselines(ours, {"weak": weak, "strong": strong}, 100, np.random.default_rng(0))
    assert [*found] == ["weak", "strong"]
    assert [*found["weak"]] == ["warm", "cold", "overall"]
    assert [*found["weak"]["cold"]] == ["recall@2", "ndcg@2", "mrr"]
    for part in split.test:
        expected = ours.mean()[part]["mrr"] - strong.mean()[part]["mrr"]
        assert found["strong"][part]["mrr"]["difference"] == pytest.approx(expected)

    told = describe_protocol(split, ours, {"weak": weak, "strong": strong}, "mrr")
    assert {part: (entry["candidates"], entry["items"], entry["users"]) for part, entry in told.items()} == {
        "warm": ("warm items", 18, len(split.test["warm"].user_U)),
        "cold": ("all cold items", 12, len(split.test["cold"].user_U)),
        "overall": ("all items", 30, len(split.test["overall"].user_U)),
    }
    cold = told["cold"]
    assert (cold["task"], cold["mask"], cold["ties"]) == ("rank", "training items", "by item index")
    difference_U = ours.per_user["cold"]["mrr"] - strong.per_user["cold"]["mrr"]
    assert cold["minimum_detectable_difference"] == pytest.approx(
        2.8016 * np.std(difference_U, ddof=1) / len(difference_U) ** 0.5, rel=1e-4
    )
    assert describe_protocol(split, ours, {}, "mrr")["cold"]["minimum_detectable_difference"] is None

    users = UserCold(
        seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, support=[0, 3], use_first_seen=False
    )(dataset)
    masks = {
        part: entry["mask"]
        for part, entry in describe_protocol(users, SETTINGS(table_scorer(score_UI), users.test), {}, "mrr").items()
    }
    assert masks == {"warm": "training items", "support_0": "support", "support_3": "support"}


def test_drawn_candidates_are_scored_alone_and_told(score_UI: np.ndarray):
    dataset = make_dataset()
    split = SampledCandidates(seed=1, users=6, validation_users=2, positives=2, candidates=5, support=[0])(dataset)
    part, asked = split.test["support_0"], []

    def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        asked.append((int(user_U[0]), candidate_I.tolist()))
        return score_UI[user_U][:, candidate_I]

    ours = SETTINGS(scorer, split.test)
    assert part.sampled_candidate_UI is not None
    own = [(int(user), part.sampled_candidate_UI[[row]].indices.tolist()) for row, user in enumerate(part.user_U)]
    assert [pair for pair in own if pair in asked] == own
    assert all(len(candidate_I) == 5 for _, candidate_I in asked)
    best_U = [
        min(sorted(-score_UI[user, own_I]).index(-score_UI[user, i]) for i in part.target_UI[[row]].indices)
        for row, (user, own_I) in enumerate(own)
    ]
    np.testing.assert_allclose(ours.per_user["support_0"]["mrr"], 1 / (1 + np.array(best_U)))
    told = describe_protocol(split, ours, {}, "mrr")["support_0"]
    assert told["candidates"] == "sampled: 5 for each user, the hidden ones among drawn ones"
    assert told["context"] == "nothing"
    assert describe_protocol(dataclasses.replace(split, first_seen_U=np.zeros(9)), ours, {}, "mrr")["support_0"]["context"] == (
        "when each user came"
    )


def test_a_metric_of_rows_chooses_where_rows_are_asked_for(score_UI: np.ndarray):
    dataset = make_dataset()
    ranked = ItemCold(seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, threshold=None)(
        dataset
    ).validation
    rows = ItemCold(seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, threshold=4)(dataset).validation
    whole = evaluate(table_scorer(score_UI), rows, [], 1).mean()["all"]
    for metric, expected in (("item_correlation", "item_correlation"), ("auc", "auc"), ("recall@2", "uauc")):
        assert validate(table_scorer(score_UI), rows, metric)[0] == whole[expected]
    with pytest.raises(
        ValueError, match=r"evaluation\.metric: item_correlation is of given rows, and the split asks for rankings"
    ):
        validate(table_scorer(score_UI), ranked, "item_correlation")


def test_a_runs_tables_are_enough_to_recompute_its_metrics(score_UI: np.ndarray):
    dataset = make_dataset()
    split = ItemCold(seed=1, cold_fraction=0.4, validation_fraction=0.5, holdout_fraction=0.2, threshold=None)(dataset)
    ours = SETTINGS(table_scorer(score_UI), split.test)
    ranked = tables.rankings_table(ours, dataset.users, dataset.items)
    wanted: dict[str, set[str]] = {}
    trained = {(dataset.user_N[n], dataset.item_N[n]) for n in split.train_N}
    for u, i, part in zip(dataset.user_N, dataset.item_N, split.part_N, strict=True):
        if part == "cold_test" and (u, i) not in trained:
            wanted.setdefault(f"u{u}", set()).add(f"i{i}")
    hits = dict.fromkeys(wanted, 0)
    for part, user, rank, item in zip(ranked.part, ranked.user_id, ranked.rank, ranked.item_id, strict=True):
        assert 1 <= rank <= 3
        if part == "cold":
            hits[user] += rank <= 2 and item in wanted[user]
    recall = {user: hits[user] / len(items) for user, items in wanted.items()}
    assert ours.mean()["cold"]["recall@2"] == pytest.approx(np.mean(list(recall.values())))

    table = tables.per_user_table({"ours": ours}, dataset.users)
    rows = list(zip(*table[:4], table.value, strict=True))
    assert {row[2]: row[4] for row in rows if row[0] == "cold" and row[3] == "recall@2"} == pytest.approx(recall)
    assert {row[1] for row in rows} == {"ours"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["recal@20"]}, r"evaluation.metrics: metric 'recal@20' is unknown"),
        ({"metric": "ndcg@5"}, r"evaluation.metric: ndcg@5 is none of evaluation.metrics, mrr; name it there too"),
        ({"metric": "coverage@2"}, r"evaluation.metrics: metric 'coverage@2' is unknown"),
        ({"metrics": ["coverage@20"]}, r"evaluation.metrics: coverage@20 needs places that evaluation.top 3 does not keep"),
        ({"top": 0}, r"evaluation.top: 0 must be 1 or more"),
    ],
)
def test_settings_are_checked_by_name(change: dict, message: str):
    values = {"metrics": ["mrr"], "metric": "mrr", "top": 3, "chunk": 4, "draws": 100}
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**values | change)


@pytest.mark.assets
def test_popularity_of_the_reference_split():
    """Recall and NDCG that the reference gives for popularity on its cold users, from the CSV in COLD_JAX_REFERENCE."""
    if "COLD_JAX_REFERENCE" not in os.environ:
        pytest.skip("COLD_JAX_REFERENCE does not name the reference's split of MovieLens-100k's users")
    from omegaconf import OmegaConf

    from cold_jax import CONF, build

    dataset = build.make(OmegaConf.load(Path(CONF) / "data" / "ml_100k.yaml"), "data")()
    split = FromFile(os.environ["COLD_JAX_REFERENCE"], [0, 1, 5, 10], 5, None, True, None, False)(dataset)
    popularity_I = np.bincount(dataset.item_N[split.train_N], minlength=len(dataset.items))
    got = evaluate(lambda user_U, *_: np.tile(popularity_I, (len(user_U), 1)), split.test, ["recall@20", "ndcg@20"], 20)
    means = {part: (values["recall@20"], values["ndcg@20"]) for part, values in got.mean().items()}
    assert means["support_0"] == pytest.approx((0.135, 0.477), abs=0.001)
    for part, expected in (("support_1", (0.131, 0.464)), ("support_5", (0.124, 0.425)), ("support_10", (0.119, 0.383))):
        assert means[part] == pytest.approx(expected, abs=0.02)  # a user's order at equal times is the source's own
