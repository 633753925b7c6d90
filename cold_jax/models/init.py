"""Where a two-tower begins: at random, or at a closed form, as rows of items and as ridges of these on the items' features."""

from dataclasses import dataclass

import numpy as np

from cold_jax.baselines import closed_forms
from cold_jax.baselines.features import feature_count, feature_matrix, profile_vectors
from cold_jax.baselines.fold_in import FoldIn
from cold_jax.baselines.gram import gram
from cold_jax.baselines.memory import DOUBLE
from cold_jax.baselines.rating_gp import likes, mode
from cold_jax.models.base import TowerInit
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView


@dataclass(frozen=True)
class RandomInit:
    """Small random maps beside log popularity."""

    def needs(self, train: TrainView) -> int:
        return 0

    def __call__(self, train: TrainView, width: int) -> TowerInit | None:
        return None


@dataclass(frozen=True)
class ContentInit:
    """Similarity of texts: both towers are the first principal components of the items' features, whitened. Reads no interaction.

    Scores are `logit_scale` times the cosine of an item with the sum of the history over k^½, where all components have equal variance.
    """

    logit_scale: float

    def __post_init__(self) -> None:
        require("init", self, at_least_0=["logit_scale"])

    def needs(self, train: TrainView) -> int:
        return _map_needs(train)

    def __call__(self, train: TrainView, width: int) -> TowerInit | None:
        feature_IF = _features(train)
        items, F = feature_IF.shape
        _, size_V, component_VF = np.linalg.svd(feature_IF - feature_IF.mean(0), full_matrices=False)
        rank = min(width, int((size_V > 1e-3 * size_V[0]).sum()))
        map_FV = component_VF[:rank].T / size_V[:rank] * np.sqrt(items / rank)  # rows of feature · map have length 1 on average
        map_FV = np.pad(map_FV, ((0, 0), (0, width - rank))) * np.sqrt(self.logit_scale)
        mean_V = feature_IF.mean(0) @ map_FV
        map_FV[-1] -= mean_V / feature_IF[0, -1]  # the last feature is a constant
        row_IV = feature_IF @ map_FV
        zero_I, zero_F = np.zeros(items), np.zeros(F)
        profile_DV, user_U = np.zeros((profile_vectors(train).shape[1], width)), np.zeros(len(train.users))
        pieces = row_IV, row_IV, zero_I, map_FV, map_FV, zero_F, profile_DV, user_U
        return TowerInit(*(piece.astype(np.float32) for piece in pieces))


@dataclass(frozen=True)
class SvdInit:
    """R ≈ P Qᵀ, where a user is the sum of their items' sources; with the map of λ `ridge` the reference's ridge to SVD factors.

    Scores are the estimated R times `logit_scale`, for a softmax; each coordinate is as large in users as in items, for Adam.
    """

    ridge: float
    logit_scale: float

    def __post_init__(self) -> None:
        require("init", self, at_least_0=["ridge"], above_0=["logit_scale"])

    def needs(self, train: TrainView) -> int:
        return _map_needs(train)

    def __call__(self, train: TrainView, width: int) -> TowerInit | None:
        source_IV, target_IV = closed_forms.svd_factors(train.interaction_UI, width)
        size_V = np.linalg.norm(train.interaction_UI @ source_IV, axis=0) / np.linalg.norm(target_IV, axis=0)
        balance_V = np.sqrt(self.logit_scale * size_V * len(target_IV) / len(train.users)) / size_V
        source_IV, target_IV = source_IV * balance_V, target_IV * (self.logit_scale / balance_V)
        profile_DV = np.zeros((profile_vectors(train).shape[1], width))
        return _with_maps(train, self.ridge, width, source_IV, target_IV, np.zeros(len(train.items)), profile_DV)


@dataclass(frozen=True)
class FoldInInit(FoldIn):
    """What baseline=fold_in scores: the ridge from profile and support to all that a user takes, beside log popularity.

    Its map is cut to the towers' width, which is the baseline's `rank` where they are the same method.
    """

    ridge: float  # λ of the maps from items' features to their rows

    def __post_init__(self) -> None:
        super().__post_init__()
        require("init", self, at_least_0=["ridge"])

    def needs(self, train: TrainView) -> int:
        return max(super().needs(train), _map_needs(train))

    def __call__(self, train: TrainView, width: int) -> TowerInit | None:  # type: ignore[override]
        rows = self.start(train, width)
        return _with_maps(train, self.ridge, width, rows.source_IV, rows.target_IV, rows.bias_I, rows.profile_DV)


@dataclass(frozen=True)
class RatingPriorInit:
    """Which items are liked, whoever rates them, from their features: logit p = m + F_i B + e_i + a_u, B ~ N(0, 1/λ), e_i ~ N(0, `own`), a_u ~ N(0, `users`).

    The bias is linear in the features, m + F_i B at the mode; e_i is a warm item's own (model.item_bias), a_u a warm user's level (model.user_bias).
    """

    penalty: float  # λ
    own: float
    users: float

    def __post_init__(self) -> None:
        require("init", self, at_least_0=["penalty", "own", "users"])

    def needs(self, train: TrainView) -> int:
        return 4 * DOUBLE * len(train.items) ** 2

    def __call__(self, train: TrainView, width: int) -> TowerInit | None:
        feature_IF = _features(train)
        items = len(train.items)
        kernel_II = gram(feature_IF) / self.penalty + self.own * np.eye(items)
        rows = train.user_N, train.item_N, likes(train)
        found = mode(*rows, kernel_II, self.users, np.zeros((items, 0)), len(train.users))
        bias_I = found.mean + found.item_I
        penalty = self.penalty * self.own + 1e-6  # of the ridge that B is, given F B + e of the warm items
        bias_F = closed_forms.ridge_maps(feature_IF[train.warm_I], found.item_I[train.warm_I, None])(penalty)[:, 0]
        bias_F[-1] += found.mean / feature_IF[0, -1]  # the last feature is a constant
        profile_DV = np.zeros((profile_vectors(train).shape[1], width))
        zero_IV, zero_FV = (np.zeros((count, width)) for count in feature_IF.shape)
        pieces = zero_IV, zero_IV, bias_I, zero_FV, zero_FV, bias_F, profile_DV, found.user_U
        return TowerInit(*(piece.astype(np.float32) for piece in pieces))


def _features(train: TrainView) -> np.ndarray:
    """The items' features in a tower, as models.features makes them."""
    return feature_matrix(train, "items", [next(iter(train.item_vectors))], indicators=0.5, constant=0.3)


def _map_needs(train: TrainView) -> int:
    """Bytes of `_with_maps`."""
    features = feature_count(train, "items", [next(iter(train.item_vectors))])
    return DOUBLE * features * (5 * len(train.items) + 3 * features)


def _with_maps(
    train: TrainView,
    penalty: float,
    width: int,
    source_IV: np.ndarray,
    target_IV: np.ndarray,
    bias_I: np.ndarray,
    profile_DV: np.ndarray,
) -> TowerInit:
    """The rows of warm items as ridges on their features, which serve cold items too. Few items have few factors: the rest is 0."""
    source_IV, target_IV, profile_DV = (
        np.pad(x_XV, ((0, 0), (0, width - x_XV.shape[1]))) for x_XV in (source_IV, target_IV, profile_DV)
    )
    feature_IF = _features(train)
    rows_IV = np.concatenate([source_IV, target_IV, bias_I[:, None]], 1)
    map_FV = closed_forms.ridge_maps(feature_IF[train.warm_I], rows_IV[train.warm_I])(penalty)
    V = source_IV.shape[1]
    pieces = (
        source_IV,
        target_IV,
        bias_I,
        map_FV[:, :V],
        map_FV[:, V : 2 * V],
        map_FV[:, 2 * V],
        profile_DV,
        np.zeros(len(train.users)),
    )
    return TowerInit(*(piece.astype(np.float32) for piece in pieces))
