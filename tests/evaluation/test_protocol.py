"""A method against its baselines by SciPy's tests and Holm's steps, and the protocol of hand-made and random splits."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from rankings import CONFIG, ITEM_COLD, USER_COLD, distinct_scores, make_dataset, oracle, table_scorer
from scipy import stats

from cold_jax.evaluation.evaluate import Evaluation
from cold_jax.evaluation.protocol import compare_to_baselines, describe_protocol
from cold_jax.splits.entities import Warm
from cold_jax.splits.next_item import NextItem
from cold_jax.splits.sampled import SampledCandidates

ONE = np.array([0.913, 0.742, 0.806, 0.431, 0.652, 0.958, 0.527, 0.719, 0.384, 0.871])
BASELINES = {
    "far": np.array([0.124, 0.257, 0.113, 0.148, 0.336, 0.281, 0.195, 0.372, 0.109, 0.243]),
    "near": np.array([0.681, 0.853, 0.642, 0.317, 0.566, 0.829, 0.405, 0.634, 0.479, 0.618]),
    "better": np.array([0.937, 0.824, 0.915, 0.638, 0.604, 0.981, 0.762, 0.843, 0.561, 0.732]),
}


def evaluation(**tasks: np.ndarray) -> Evaluation:
    """One metric, mrr, of users 0, 1, …"""
    return Evaluation(
        {name: np.arange(len(value_U)) for name, value_U in tasks.items()},
        {name: {"mrr": value_U} for name, value_U in tasks.items()},
        {name: {} for name in tasks},
    )


def test_a_method_against_three_baselines_by_scipy_and_holm_s_steps():
    """Ten users: p by all 1,024 sign flips; the smallest p counts three times, the next twice, none less than one before."""
    found = compare_to_baselines(
        evaluation(cold=ONE), {name: evaluation(cold=b) for name, b in BASELINES.items()}, 40_000, np.random.default_rng(0)
    )
    assert [*found] == [*BASELINES]
    p = {}
    for name, other_U in BASELINES.items():
        got, difference_U = found[name]["cold"]["mrr"], ONE - other_U
        p[name] = stats.permutation_test((difference_U,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
        interval = stats.bootstrap((difference_U,), np.mean, n_resamples=40_000, method="percentile", rng=1).confidence_interval
        assert got["difference"] == pytest.approx(np.mean(ONE) - np.mean(other_U))
        assert got["ratio"] == pytest.approx(np.mean(ONE) / np.mean(other_U))
        assert got["p"] == pytest.approx(p[name], abs=5 * 0.5 / 40_000**0.5)
        np.testing.assert_allclose(got["ci95"], interval, atol=0.004)
    assert p["far"] < p["near"] < 0.05  # so that correction is seen in both
    assert p["far"] < p["better"]
    assert found["better"]["cold"]["mrr"]["difference"] < 0 < found["far"]["cold"]["mrr"]["difference"]
    first, second, third = sorted(p, key=p.__getitem__)
    holm = {first: 3 * p[first], second: max(3 * p[first], 2 * p[second])}
    holm[third] = max(holm[second], p[third])
    for name in p:
        assert found[name]["cold"]["mrr"]["p_holm"] == pytest.approx(min(holm[name], 1), abs=15 * 0.5 / 40_000**0.5), name
    assert found[second]["cold"]["mrr"]["p_holm"] > 1.5 * found[second]["cold"]["mrr"]["p"]


def test_each_task_is_a_family_of_its_own():
    """Nothing differs in the second task: its p of 1 does not touch the first."""
    other = evaluation(cold=BASELINES["near"], warm=ONE)
    found = compare_to_baselines(evaluation(cold=ONE, warm=ONE), {"near": other}, 1000, np.random.default_rng(0))["near"]
    assert found["warm"]["mrr"]["p_holm"] == 1
    assert found["cold"]["mrr"]["p_holm"] == found["cold"]["mrr"]["p"] < 0.1


def test_who_took_every_candidate_is_in_no_comparison_by_auc():
    def method(recall_U: list[float], auc_U: list[float]) -> Evaluation:
        values = {"recall@2": np.array(recall_U), "auc": np.array(auc_U)}
        return Evaluation({"all": np.arange(3)}, {"all": values}, {"all": {}}, {}, {"all": {"auc": np.array([1])}})

    ours, theirs = method([1, 1, 0], [0.9, 0.6]), method([0, 1, 0], [0.5, 0.4])
    found = compare_to_baselines(ours, {"b": theirs}, 100, np.random.default_rng(0))["b"]["all"]
    assert found["recall@2"]["difference"] == pytest.approx(1 / 3)
    assert found["auc"]["difference"] == pytest.approx((0.4 + 0.2) / 2)


def test_a_baseline_of_other_users_is_refused():
    other = Evaluation({"all": np.array([0, 2])}, {"all": {"mrr": np.ones(2)}}, {"all": {}})
    with pytest.raises(ValueError, match="compare: b was evaluated on other users of 'all' by mrr"):
        compare_to_baselines(evaluation(all=np.ones(2)), {"b": other}, 10, np.random.default_rng(0))


def test_the_protocol_of_cold_items():
    split = ITEM_COLD(make_dataset())
    score_UI = distinct_scores()
    ours, weak = CONFIG(table_scorer(score_UI), split.test), CONFIG(table_scorer(-score_UI), split.test)
    strong = CONFIG(table_scorer(score_UI + 200 * sum(oracle(task) for task in split.test.values())), split.test)
    entries = describe_protocol(split, ours, {"weak": weak, "strong": strong}, "mrr")
    assert {task: (entry["candidates"], entry["items"], entry["users"]) for task, entry in entries.items()} == {
        "warm": ("warm items", 18, len(split.test["warm"].user_U)),
        "cold": ("all cold items", 12, len(split.test["cold"].user_U)),
        "overall": ("all items", 30, len(split.test["overall"].user_U)),
    }
    cold = entries["cold"]
    assert (cold["task"], cold["mask"]) == ("rank", "training items")
    assert cold["ties"] == "at random, by a seeded permutation of the items"
    assert (cold["left_out"], cold["users_in_task"]) == ({}, cold["users"])
    difference_U = ours.per_user["cold"]["mrr"] - strong.per_user["cold"]["mrr"]  # the stronger of the two
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert cold["minimum_detectable_difference"] == pytest.approx(z * stats.sem(difference_U))
    assert describe_protocol(split, ours, {}, "mrr")["cold"]["minimum_detectable_difference"] is None
    for one in (ours, weak):
        one.per_user["cold"]["mrr"] = one.per_user["cold"]["mrr"][:1]
    assert describe_protocol(split, ours, {"weak": weak}, "mrr")["cold"]["minimum_detectable_difference"] is None  # of one user


def test_the_mask_of_cold_users():
    split = USER_COLD(make_dataset())
    entries = describe_protocol(split, CONFIG(table_scorer(distinct_scores()), split.test), {}, "mrr")
    assert {task: entry["mask"] for task, entry in entries.items()} == {
        "warm": "training items",
        "support_0": "support",
        "support_3": "support",
    }


def test_the_context_and_the_candidates_of_a_sampled_protocol():
    split = SampledCandidates(seed=1, users=6, validation_users=2, positives=2, candidates=5, support=[0])(make_dataset())
    ours = CONFIG(table_scorer(distinct_scores()), split.test)
    entry = describe_protocol(split, ours, {}, "mrr")["support_0"]
    assert entry["candidates"] == "sampled: 5 for each user, the hidden ones among random ones"
    assert entry["context"] == "nothing"
    timed = describe_protocol(replace(split, first_seen_U=np.zeros(9)), ours, {}, "mrr")["support_0"]
    assert timed["context"] == "each user's first time"


def test_sequences_and_rows_have_masks_and_ties_of_their_own():
    scorer = table_scorer(distinct_scores())
    split = NextItem(exclude_seen=True, cold_window=None)(make_dataset())
    entries = describe_protocol(split, CONFIG(scorer, split.test), {}, "mrr")
    assert (entries["all"]["mask"], entries["unmasked"]["mask"]) == ("earlier items", "nothing")
    split = Warm(seed=1, holdout_fraction=0.5, threshold=3, ranked=False)(make_dataset())
    entry = describe_protocol(split, CONFIG(scorer, split.test), {}, "mrr")["all"]
    assert (entry["task"], entry["candidates"], entry["ties"]) == ("pointwise", "the task's rows", "count half")


def test_who_is_left_out_is_counted_and_logged(caplog: pytest.LogCaptureFixture):
    split = ITEM_COLD(make_dataset())
    ours = CONFIG(table_scorer(distinct_scores()), split.test)
    ours.left_out["cold"]["auc"] = split.test["cold"].user_U[:2]
    caplog.clear()  # what the split logs of values
    with caplog.at_level(logging.WARNING):
        entry = describe_protocol(split, ours, {}, "mrr")["cold"]
    assert entry["left_out"] == {"auc": 2}
    count = len(split.test["cold"].user_U)
    assert [record.getMessage() for record in caplog.records] == [
        f"task 'cold': 2 of {count} users took every candidate; auc leaves them out"
    ]
