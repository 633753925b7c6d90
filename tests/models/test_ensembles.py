"""A model alone, and beside closed forms."""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import scipy.stats
import test_rating_gp
from fitted import named
from scipy import sparse
from test_sequential import SHOWN_UI, asking, trained

from cold_jax import config, experiment
from cold_jax.baselines.kernels import UserGP
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import Scorer, evaluate, score_pointwise
from cold_jax.models.ensembles import HistoryEnsemble, RatingEnsemble, SingleModel, UserGPEnsemble, boost_cold_items
from cold_jax.splits.tasks import EvalTask, TrainView

USERS, ITEMS = np.arange(2), np.arange(5)


def blend(grid: list[float]) -> HistoryEnsemble:
    members, metric = ["titles", "vectors", "transitions", "popularity"], "ndcg@5"
    return HistoryEnsemble(
        members=members,
        line="line",
        title="title",
        decay=0.7,
        include_self=False,
        grid=grid,
        metric=metric,
        users=9,
        seed=0,
        cold_item_boost=[0.0],
        tolerance=0.0,
    )


def test_a_model_alone_is_itself() -> None:
    model = lambda *asked: asked  # noqa: E731
    assert SingleModel()(model, trained([(0, 0)]), {}) is model


def test_a_blend_begins_at_the_model_and_leaves_it_where_that_ranks_better() -> None:
    train, part = trained([(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)]), asking([4, 0])
    right_UI = part.target_UI.toarray()
    asked = USERS, SHOWN_UI, ITEMS
    for grid in ([0.0], [0.0, 0.1]):  # a perfect model needs none of it: the first of equals is 0
        score_UI = np.asarray(blend(grid)(lambda user_U, *_: right_UI[user_U], train, {"all": part})(*asked))
        np.testing.assert_allclose(score_UI * right_UI.std(), right_UI, atol=1e-6)
    wrong_UI = -right_UI
    score_UI = np.asarray(blend([0.0, 4.0])(lambda user_U, *_: wrong_UI[user_U], train, {"all": part})(*asked))
    assert np.abs(score_UI * right_UI.std() - wrong_UI).max() > 0.1


def select(part: EvalTask, rows: list[int]) -> EvalTask:
    return replace(part, user_U=part.user_U[rows], history_UI=part.history_UI[rows], target_UI=part.target_UI[rows])


def joined(model: Scorer) -> tuple[Scorer, TrainView, Mapping[str, EvalTask]]:
    """The model beside a process over the items' vectors, and what validation asks."""
    train, split = test_rating_gp.asked(window=None)
    process = named("rating_gp", cuts=[], **test_rating_gp.SIMPLE)
    return RatingEnsemble(**dataclasses.asdict(process))(model, train, split.validation), train, split.test


def test_a_rating_process_takes_from_a_model_what_it_knows() -> None:
    """Noise gets next to no weight, the labels themselves nearly all."""
    data, noise_UI = test_rating_gp.dataset(), np.random.default_rng(0).normal(size=(60, 40))
    label_UI = np.zeros((60, 40))
    label_UI[data.user_N, data.item_N] = data.value_N >= 4
    aucs = []
    for score_UI in (noise_UI, noise_UI + 3 * label_UI):
        blend, train, test = joined(lambda user_U, shown, item_I, score_UI=score_UI: score_UI[user_U][:, item_I])
        aucs.append(evaluate(blend, test, ["recall@5"], 5).mean()["all"]["auc"])
    process = named("rating_gp", cuts=[], **test_rating_gp.SIMPLE)(train, {})
    alone = evaluate(process, test, ["recall@5"], 5).mean()["all"]["auc"]
    assert abs(aucs[0] - alone) < 0.02
    assert aucs[1] > alone + 0.1


def test_a_rating_process_is_joined_for_given_rows_alone() -> None:
    train, _ = test_rating_gp.asked(window=None)
    blend = RatingEnsemble(**dataclasses.asdict(named("rating_gp", cuts=[], **test_rating_gp.SIMPLE)))
    with pytest.raises(ValueError, match="ensemble: rating_gp is for pointwise tasks"):
        blend(lambda *asked: np.zeros(1), train, {})


def test_new_items_are_lifted_as_far_as_the_others_allow() -> None:
    """u's target is an old item, v's a new one; the weight that puts the new ones first costs u's metric, so it needs tolerance."""
    part, new_I = asking([3, 0]), np.isin(np.arange(5), [0, 4])
    score_UI, text_UI = np.zeros((2, 5)), np.zeros((2, 5))
    score_UI[:, 3], score_UI[1, 0], text_UI[0, 4], text_UI[1, 0] = 1, -1, 1, 1
    model, text = (lambda user_U, *_, of_UI=of_UI: of_UI[user_U] for of_UI in (score_UI, text_UI))
    place = []
    for tolerance in (0.0, 0.6):
        scorer = boost_cold_items(model, text, new_I, part, select(part, [0]), [0.0, 0.1, 9.0], "ndcg@5", tolerance)
        lifted_UI = np.asarray(scorer(USERS, SHOWN_UI, ITEMS))
        np.testing.assert_allclose(lifted_UI[:, 1:4], (score_UI / score_UI[:1].std())[:, 1:4])
        place.append(int((lifted_UI[1] > lifted_UI[1, 0]).sum()))
    assert place == [4, 0]
    assert boost_cold_items(model, text, np.zeros(5, bool), part, part, [0.0, 9.0], "ndcg@5", 1.0) is model


def test_scores_are_stacked_at_one_scale() -> None:
    """The regression is penalised, so a model whose logits are a thousandth as large would get next to no weight."""
    data, label_UI = test_rating_gp.dataset(), np.zeros((60, 40))
    label_UI[data.user_N, data.item_N] = data.value_N >= 4
    found = []
    for size in (1.0, 1e-3):
        blend, _, test = joined(lambda user_U, shown, item_I, size=size: size * label_UI[user_U][:, item_I])
        found.append(score_pointwise(blend, test["all"]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3)


def test_a_process_over_users_is_added_at_the_weight_that_validation_chooses() -> None:
    """Beside a model that knows nothing it gets the largest weight, beside one that knows all none; scores of any scale are alike."""
    overrides = [
        "+experiment=frozen_user_cold",
        "data=synthetic",
        "data.users=80",
        "data.items=30",
        "encoder=tiny",
        "ensemble=user_gp",
    ]
    s = config.settings(config.compose([*overrides, "ensemble.folds=2", "logger=none"]))
    p, ensemble = experiment.prepare(s), cast("UserGPEnsemble", s.ensemble)
    process = UserGP(**{field.name: getattr(ensemble, field.name) for field in dataclasses.fields(UserGP)})(p.train, {})
    task = p.split.validation["support_5"]
    validation, at = {task.name: task}, (task.user_U, task.history_UI, task.candidate_I)

    def knows(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        row_of = {int(user): row for row, user in enumerate(task.user_U)}
        return 1e6 * task.target_UI.toarray()[[row_of[int(user)] for user in user_U]][:, candidate_I]

    def nothing(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(len(user_U), len(candidate_I)))

    z = lambda score_UI: scipy.stats.zscore(np.asarray(score_UI, np.float64), axis=1)  # noqa: E731
    for model, weight in ((knows, 0.0), (nothing, 2.0)):
        np.testing.assert_allclose(ensemble(model, p.train, validation)(*at), z(model(*at)) + weight * z(process(*at)), atol=1e-9)
    with pytest.raises(ConfigError, match="ensemble: user_gp is for lists"):
        ensemble(nothing, p.train, {})


def test_texts_that_are_all_alike_lift_new_items_alike() -> None:
    """A similarity without spread has no unit; nothing becomes NaN."""
    part, new_I = asking([3, 0]), np.isin(np.arange(5), [0, 4])
    flat = lambda user_U, *_: np.zeros((len(user_U), 5))  # noqa: E731
    scorer = boost_cold_items(flat, flat, new_I, part, part, [0.5], "ndcg@5", 1.0)
    np.testing.assert_array_equal(scorer(USERS, SHOWN_UI, ITEMS), np.tile(0.5 * new_I, (len(USERS), 1)))
