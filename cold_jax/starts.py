"""The closed forms that a two-tower starts at, as rows of items and as ridges of these on the items' features."""

import numpy as np

from cold_jax.baselines import closed_forms
from cold_jax.models import Factors, Start, TwoTower
from cold_jax.parts import Train


def start(model: TwoTower, train: Train) -> Start | None:
    """What `model.start` names, with its maps from features fitted on the warm items; None for a random start.

    svd: R ≈ P Qᵀ, where a user is the sum of his items' sources; with the map it is the reference's ridge to SVD factors. fold_in: the
    ridge from profile and support to everything that a user takes, beside log popularity.
    """
    if model.start is Factors.none:
        return None
    text, width = next(iter(train.item_vectors)), len(next(iter(train.user_vectors.values()))[0])
    if model.start is Factors.svd:
        source_IV, target_IV = closed_forms.svd_factors(train.interaction_UI, model.width)
        bias_I, profile_DV = np.zeros(len(train.items)), np.zeros((width, model.width))
    else:
        source_IV, target_IV, bias_I, profile_DV = closed_forms.fold_in_start(train, model.width, **FOLD_IN)
    feature_IF = closed_forms.features(train, "items", [text], indicators=0.5, constant=0.3)
    warm_I, V = train.warm_I, model.width
    rows_IV = np.concatenate([source_IV, target_IV, bias_I[:, None]], 1)
    map_FV = closed_forms.ridge(feature_IF[warm_I], rows_IV[warm_I], [model.ridge])[model.ridge]
    pieces = source_IV, target_IV, bias_I, map_FV[:, :V], map_FV[:, V : 2 * V], map_FV[:, 2 * V], profile_DV
    return Start(*(piece.astype(np.float32) for piece in pieces))


# chosen on cold validation users of one split
FOLD_IN = {"supports": (0, 1, 5, 10), "factors": 16, "power": 0.3, "penalties": (30.0, 30.0, 30.0), "temperature": 1.0, "floor": 0.01}
