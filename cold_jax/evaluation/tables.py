"""The columns of per_user.parquet and rankings.parquet."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from cold_jax.data.dataset import Entities
from cold_jax.evaluation.evaluate import Evaluation


class Rankings(NamedTuple):
    """An entry for each place, counted from 1, of each user's ranking."""

    part: Sequence[str]
    user_id: Sequence[str]
    rank: np.ndarray
    item_id: Sequence[str]
    score: np.ndarray


class PerUser(NamedTuple):
    """An entry for each value: a method's metric of one user in one part."""

    part: Sequence[str]
    method: Sequence[str]
    user_id: Sequence[str]
    metric: Sequence[str]
    value: np.ndarray


def per_user_table(methods: Mapping[str, Evaluation], users: Entities) -> PerUser:
    """per_user.parquet's columns."""
    columns = [
        (
            [part] * len(value_U),
            [method] * len(value_U),
            [users.ids[u] for u in evaluation.users_of(part, name)],
            [name] * len(value_U),
            value_U,
        )
        for method, evaluation in methods.items()
        for part, values in evaluation.per_user.items()
        for name, value_U in values.items()
    ]
    part, method, user, metric, value = zip(*columns, strict=True)
    part, method, user, metric = (list(chain.from_iterable(column)) for column in (part, method, user, metric))
    return PerUser(part, method, user, metric, np.concatenate(value))


def rankings_table(evaluation: Evaluation, users: Entities, items: Entities) -> Rankings:
    """rankings.parquet's columns: the places that are filled."""
    if not evaluation.rankings:
        return Rankings([], [], np.empty(0, np.int64), [], np.empty(0))
    columns = []
    for part, ranking in evaluation.rankings.items():
        u, k = np.nonzero(ranking.top_UK >= 0)
        user_ids = [users.ids[user] for user in evaluation.users[part][u]]
        item_ids = [items.ids[item] for item in ranking.top_UK[u, k]]
        columns.append(([part] * len(u), user_ids, k + 1, item_ids, ranking.score_UK[u, k]))
    part, user, place, item, score = zip(*columns, strict=True)
    part, user, item = (list(chain.from_iterable(column)) for column in (part, user, item))
    return Rankings(part, user, np.concatenate(place), item, np.concatenate(score))
