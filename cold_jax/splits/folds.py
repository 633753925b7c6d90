"""Folds of pseudo-cold users or items, by which settings are chosen."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from cold_jax import seeds
from cold_jax.data.matrices import binary
from cold_jax.errors import DataError
from cold_jax.splits.tasks import EvalTask, TrainView, ranking_task, support_tasks
from cold_jax.splits.ties import with_tie_break


def pseudo_cold_folds(
    train: TrainView, axis: Literal["items", "users"], count: int, seed: int, supports: Sequence[int]
) -> Iterator[tuple[TrainView, dict[str, EvalTask]]]:
    """Folds of warm items, or users, whose interactions are hidden from training and become targets.

    A fold of items has the task `cold`, with its items as candidates; a fold of users has the tasks `support_k`, among all items.

    Raises:
      DataError: there are fewer than two folds, or more than entities.
    """
    warm_X, entity_N = (train.warm_I, train.item_N) if axis == "items" else (train.warm_U, train.user_N)
    shuffled = seeds.generator(seed, f"folds of {axis}").permutation(np.flatnonzero(warm_X))
    if not 2 <= count <= len(shuffled):
        raise DataError(f"{count} folds of {len(shuffled)} warm {axis}: there must be two or more, and no more than {axis}")
    shape = (len(train.warm_U), len(train.warm_I))
    for fold in np.array_split(shuffled, count):
        hidden_N = np.isin(entity_N, fold)
        user_N, item_N = train.user_N[~hidden_N], train.item_N[~hidden_N]
        rest = replace(
            train,
            interaction_UI=binary(user_N, item_N, shape),
            warm_U=np.isin(np.arange(shape[0]), user_N),
            warm_I=np.isin(np.arange(shape[1]), item_N),
            user_N=user_N,
            item_N=item_N,
            value_N=train.value_N[~hidden_N],
            time_N=train.time_N[~hidden_N],
            like_N=None if train.like_N is None else train.like_N[~hidden_N],
        )
        user_N, item_N = train.user_N[hidden_N], train.item_N[hidden_N]
        if axis == "items":
            tasks = {"cold": ranking_task("cold", rest.interaction_UI, binary(user_N, item_N, shape), np.sort(fold))}
        else:
            tasks = support_tasks(user_N, item_N, np.zeros(len(user_N)), shape, supports, "user of the fold")
        yield rest, with_tie_break(tasks, train.items.ids)
