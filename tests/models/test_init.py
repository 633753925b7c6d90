"""At its start a two-tower is the closed form that it is named after."""

import dataclasses

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from scipy import sparse
from sklearn.kernel_ridge import KernelRidge

from cold_jax import CONF, config, experiment
from cold_jax.adapters.full import Frozen
from cold_jax.baselines.features import feature_matrix
from cold_jax.baselines.fold_in import FoldIn
from cold_jax.baselines.rating_gp import mode
from cold_jax.baselines.ridge import RidgeSvd
from cold_jax.batching.batch import table_rows
from cold_jax.encoders.precomputed import VectorTable
from cold_jax.models.base import partition_model
from cold_jax.models.init import ContentInit, FoldInInit, RatingPriorInit, SvdInit
from cold_jax.models.scoring import ModelScorer
from cold_jax.models.two_tower import TwoTower

FOLD_IN = {
    "supports": [0, 1, 5],
    "factors": 4,
    "power": 0.3,
    "profile_penalty": 30.0,
    "item_penalty": 15.0,
    "factor_penalty": 5.0,
    "temperature": 2.0,
    "floor": 0.2,
    "dense_items": 1000,
    "targets": 99,
}


def scorer(prepared: experiment.Prepared, start: SvdInit | FoldInInit | RatingPriorInit, width: int, own: bool):
    model = TwoTower(
        width=width, item_target_residual=own, item_source_residual=True, item_bias=own, user_bias=own, attributes=True
    )
    towers = model(VectorTable(main_vectors(prepared)), prepared.train, start(prepared.train, width), 0)
    pieces = partition_model(towers, Frozen().trainable_filter, Frozen().head_filter)
    return ModelScorer(pieces, table_rows, prepared.tokens.length_T, len(prepared.train.users), 2)(pieces.trainable)


def main_vectors(prepared: experiment.Prepared) -> np.ndarray:
    return np.concatenate([next(iter(v.values())) for v in (prepared.train.user_vectors, prepared.train.item_vectors)])


def test_fold_in_scores_as_the_baseline(prepared: experiment.Prepared) -> None:
    train = prepared.train
    warm_I = np.flatnonzero(train.warm_I)
    user_U = np.arange(5)
    history_UI = sparse.csr_array(train.interaction_UI[user_U])
    ours = scorer(prepared, FoldInInit(ridge=10.0, rank=8, **FOLD_IN), 8, own=True)(user_U, history_UI, warm_I)
    theirs = FoldIn(rank=8, **FOLD_IN)(train, {})(user_U, history_UI, warm_I)
    np.testing.assert_allclose(np.asarray(ours), theirs, atol=2e-4)  # float32 against float64


def test_svd_ranks_cold_items_as_the_reference_ridge(prepared: experiment.Prepared) -> None:
    train = prepared.train
    cold_I = np.flatnonzero(prepared.split.cold_I)
    user_U = np.arange(8)
    history_UI = sparse.csr_array(train.interaction_UI[user_U])
    ours = np.asarray(scorer(prepared, SvdInit(ridge=10.0, logit_scale=10.0), 4, own=False)(user_U, history_UI, cold_I))
    text = next(iter(train.item_vectors))
    one = {"texts": [text], "indicators": 0.5, "constant": 0.3, "ranks": [4], "penalties": [10.0]}
    theirs = RidgeSvd(**one, metric="recall@5", folds=None, seed=1)(train, prepared.split.validation)(user_U, history_UI, cold_I)
    count_U = np.diff(history_UI.indptr)
    assert count_U.min() > 0
    np.testing.assert_allclose(ours * np.sqrt(count_U)[:, None], 10 * theirs, atol=1e-4)  # float32; a tower divides by √k


@pytest.mark.parametrize(
    "start", [FoldInInit(ridge=10.0, rank=8, **FOLD_IN), SvdInit(ridge=10.0, logit_scale=10.0)], ids=["fold_in", "svd"]
)
def test_a_catalogue_smaller_than_the_width_is_filled_up_with_zeros(
    prepared: experiment.Prepared, start: FoldInInit | SvdInit
) -> None:
    """30 items have no 64 factors."""
    whole, wide = start(prepared.train, 30), start(prepared.train, 64)
    assert whole is not None
    assert wide is not None
    assert wide.source_IV.shape == wide.target_IV.shape == (30, 64)
    assert wide.profile_DV.shape[1] == wide.source_FV.shape[1] == 64
    np.testing.assert_allclose(wide.source_IV @ wide.target_IV.T, whole.source_IV @ whole.target_IV.T, atol=1e-5)
    assert np.abs(whole.source_IV @ whole.target_IV.T).max() > 0.1


def test_what_is_an_items_own_is_not_in_its_features(prepared: experiment.Prepared) -> None:
    """A cold item's bias is m + k_*w (K_ww + own I)⁻¹ f_w, a warm one's its own f_i beside m."""
    train = dataclasses.replace(prepared.train, like_N=np.arange(len(prepared.train.user_N)) % 3 > 0)
    feature_IF = feature_matrix(train, "items", [next(iter(train.item_vectors))], indicators=0.5, constant=0.3)
    kernel_II, own_II = feature_IF @ feature_IF.T / 2, 0.7 * np.eye(len(train.items))
    rows = train.user_N, train.item_N, train.like_N.astype(float)
    found = mode(*rows, kernel_II + own_II, 0.5, np.zeros((len(train.items), 0)), len(train.users))
    start, warm_I = RatingPriorInit(penalty=2.0, own=0.7, users=0.5)(train, 1), train.warm_I
    ridge = KernelRidge(alpha=0.7, kernel="precomputed").fit(kernel_II[np.ix_(warm_I, warm_I)], found.item_I[warm_I])
    assert start is not None
    np.testing.assert_allclose(feature_IF @ start.bias_F, found.mean + ridge.predict(kernel_II[:, warm_I]), atol=1e-3)
    np.testing.assert_allclose(start.bias_I, found.mean + found.item_I, atol=1e-4)


def test_what_is_liked_is_the_mode_over_texts(prepared: experiment.Prepared) -> None:
    """The towers' bias is f of the process whose kernel is the features': every user gets the same scores, or their own level on top."""
    train = dataclasses.replace(prepared.train, like_N=np.arange(len(prepared.train.user_N)) % 3 > 0)
    liked = prepared._replace(train=train)
    feature_IF = feature_matrix(train, "items", [next(iter(train.item_vectors))], indicators=0.5, constant=0.3)
    rows = train.user_N, train.item_N, train.like_N.astype(float)
    found = mode(*rows, feature_IF @ feature_IF.T / 2, 0.5, np.zeros((len(train.items), 0)), len(train.users))
    asked = np.arange(3), sparse.csr_array((3, len(train.items))), np.arange(len(train.items))
    ours_UI = np.asarray(scorer(liked, RatingPriorInit(penalty=2.0, own=0.0, users=0.5), 1, own=False)(*asked))
    np.testing.assert_allclose(ours_UI, np.tile(found.mean + found.item_I, (3, 1)), atol=1e-3)
    theirs_UI = ours_UI + (train.warm_U * found.user_U)[:3, None]
    ours_UI = np.asarray(scorer(liked, RatingPriorInit(penalty=2.0, own=0.0, users=0.5), 1, own=True)(*asked))
    np.testing.assert_allclose(ours_UI, theirs_UI, atol=1e-3)


def values(group: str, name: str) -> dict:
    with initialize_config_dir(CONF, version_base="1.3"):
        node = compose(f"{group}/{name}")[group]
    return dict(node[name] if group == "baseline" else node)


def test_the_baseline_and_the_init_of_one_name_have_the_same_values() -> None:
    """All that FoldIn has; what the towers have besides is the ridge onto their features."""
    baseline, init = values("baseline", "fold_in"), values("init", "fold_in")
    assert init.pop("ridge") > 0
    assert baseline.pop("_target_").endswith("FoldIn")
    assert init.pop("_target_").endswith("FoldInInit")
    assert init == baseline
    fixed = values("baseline", "ridge_svd_fixed")
    assert list(fixed["penalties"]) == [values("init", "ridge_svd_fixed")["ridge"]]
    assert len(fixed["ranks"]) == 1
    assert (list(fixed["texts"]), fixed["indicators"], fixed["constant"]) == (["line"], 0.5, 0.3)  # the towers' features


def test_the_experiment_of_new_items_starts_at_its_baseline() -> None:
    """The width of its towers is the baseline's rank."""
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["+experiment=frozen_item_cold", "baseline=[ridge_svd_fixed]"])
    assert [cfg.model.width] == list(cfg.baseline.ridge_svd_fixed.ranks)
    assert cfg.init.ridge == cfg.baseline.ridge_svd_fixed.penalties[0]


def test_a_start_has_an_estimate_of_its_memory(prepared: experiment.Prepared) -> None:
    for name in ("none", "ridge_svd_fixed", "fold_in", "rating_prior"):
        made = config.make(OmegaConf.create(values("init", name)), "init")
        assert made.needs(prepared.train) >= 0


def test_content_starts_at_the_similarity_of_texts_and_reads_no_interaction(prepared: experiment.Prepared) -> None:
    """Scores rank as inner products of whitened features, computed here by an eigendecomposition; their mean square is the scale's."""
    start = ContentInit(logit_scale=3.0)(prepared.train, 4)
    assert start is not None
    feature_IF = feature_matrix(prepared.train, "items", ["line"], indicators=0.5, constant=0.3)
    centred_IF = (feature_IF - feature_IF.mean(0)).astype(np.float64)
    value_F, vector_FF = np.linalg.eigh(centred_IF.T @ centred_IF)
    whitened_IV = centred_IF @ vector_FF[:, -4:] / np.sqrt(value_F[-4:])
    wanted_II = 3.0 * whitened_IV @ whitened_IV.T * len(feature_IF) / 4
    np.testing.assert_allclose(start.source_IV @ start.target_IV.T, wanted_II, atol=2e-3)
    np.testing.assert_allclose(feature_IF @ start.source_FV, start.source_IV, atol=1e-4)
    assert np.trace(start.source_IV @ start.target_IV.T) / len(feature_IF) == pytest.approx(3.0, rel=1e-3)
    none = dataclasses.replace(prepared.train, interaction_UI=prepared.train.interaction_UI * 0, warm_I=~prepared.train.warm_I)
    again = ContentInit(logit_scale=3.0)(none, 4)
    assert all(np.array_equal(a, b) for a, b in zip(start, again or (), strict=True))
