"""The items' vectors before and after Δθ, in the plane of their largest variance."""

from typing import NamedTuple

import numpy as np

from cold_jax.serving.recommender import Recommender


class ItemMap(NamedTuple):
    """Points of the items under θ and under φ in one plane; explained: the share of the variance that it holds."""

    theta_I2: np.ndarray
    phi_I2: np.ndarray
    cold_I: np.ndarray  # bool
    explained: float


def item_map(recommender: Recommender) -> ItemMap:
    """PCA of the vectors of both encoders together, each less its mean, so that what moved relative to the other items is Δθ's."""
    prepared = recommender.prepared
    theta_ID = next(iter(prepared.train.item_vectors.values()))
    phi_ID = recommender.item_vectors
    theta_I2, phi_I2, explained = project(theta_ID, phi_ID)
    return ItemMap(theta_I2, phi_I2, ~prepared.train.warm_I, explained)


def project(before_ID: np.ndarray, after_ID: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(both, less their own means, on the first two principal axes of all of them; the share of variance that these hold). Signs are fixed.

    Δθ moves all items together, too: with one mean for both, that shift alone would be the first axis.
    """
    centred_ID = np.concatenate([of_ID - of_ID.mean(0) for of_ID in (before_ID.astype(np.float64), after_ID.astype(np.float64))])
    _, value_V, axis_VD = np.linalg.svd(centred_ID, full_matrices=False)
    axis_VD = axis_VD[:2] * np.sign(axis_VD[:2, np.abs(axis_VD[:2]).argmax(1)].diagonal())[:, None]
    both_I2 = centred_ID @ axis_VD.T
    total = float((value_V**2).sum())
    return both_I2[: len(before_ID)], both_I2[len(before_ID) :], float((value_V[:2] ** 2).sum()) / total if total else 1.0
