"""What closed forms read: counts, features and vectors of users and items."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from cold_jax.data.matrices import binary, normalize_rows
from cold_jax.errors import ConfigError
from cold_jax.splits.tasks import TrainView


def item_counts(train: TrainView) -> np.ndarray:
    """c, of shape (I,)."""
    return np.asarray(train.interaction_UI.sum(0), np.float64)


def item_gram(train: TrainView) -> sparse.csr_array:
    """RᵀR: how many users two items share."""
    return sparse.csr_array(train.interaction_UI.T @ train.interaction_UI, dtype=np.float64)


def text_vectors(train: TrainView, of: str, text: str) -> np.ndarray:
    """θ's unit vectors of a text of all "items", or of all "users". Raises ConfigError where there is no such text."""
    known = train.item_vectors if of == "items" else train.user_vectors
    if text not in known:
        raise ConfigError(f"baseline.text: the {of} have no text {text!r}; they have {', '.join(known) or 'none'}")
    return known[text]


def feature_count(train: TrainView, of: str, texts: Sequence[str]) -> int:
    """The columns of `feature_matrix`."""
    entities = train.items if of == "items" else train.users
    widths = [text_vectors(train, of, text).shape[1] for text in texts] + [one.shape[1] for one in entities.indicators.values()]
    return sum(widths) + 1


def feature_matrix(train: TrainView, of: str, texts: Sequence[str], indicators: float, constant: float) -> np.ndarray:
    """[text vectors, weighted indicators] scaled to unit length, then a constant; rows are all "items", or all "users"."""
    entities = train.items if of == "items" else train.users
    blocks = [text_vectors(train, of, text) for text in texts] + [indicators * block for block in entities.indicators.values()]
    feature_NF = np.concatenate([np.zeros((len(entities), 0)), *blocks], 1)
    return np.concatenate([normalize_rows(feature_NF), np.full((len(entities), 1), constant)], 1)


def feature_names(train: TrainView, of: str, texts: Sequence[str]) -> list[str]:
    """What each column of `feature_matrix` is of: the name of a text, "column=value" of an indicator, or "constant"."""
    entities = train.items if of == "items" else train.users
    names = [text for text in texts for _ in range(text_vectors(train, of, text).shape[1])]
    for column, indicator in entities.indicators.items():
        values = entities.values.get(column) or [str(n) for n in range(indicator.shape[1])]
        names += [f"{column}={value}" for value in values]
    return [*names, "constant"]


def earliest_history(train: TrainView, k: int) -> sparse.csr_array:
    """The k earliest training interactions of each user: the support that a warm user would have if they were cold."""
    position_N = np.arange(len(train.user_N)) - np.searchsorted(train.user_N, train.user_N)
    return binary(train.user_N[position_N < k], train.item_N[position_N < k], (len(train.users), len(train.items)))


def profile_vectors(train: TrainView) -> np.ndarray:
    """Vectors of the users' main text, of no columns where users have none."""
    return next(iter(train.user_vectors.values()), np.zeros((len(train.users), 0)))


def unit_history(history_UI: sparse.csr_array) -> sparse.csr_array:
    """Binary rows divided by the root of their number of items."""
    return history_UI.multiply(np.maximum(history_UI.sum(1), 1)[:, None] ** -0.5).tocsr()
