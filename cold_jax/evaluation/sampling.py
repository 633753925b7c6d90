"""A random sample of users, for tasks with more users than there is time to rank candidates for."""

from collections.abc import Mapping

import numpy as np

from cold_jax import seeds
from cold_jax.splits.tasks import EvalTask, TaskKind


def sample_tasks(tasks: Mapping[str, EvalTask], users: int | None) -> dict[str, EvalTask]:
    """The same tasks with at most so many users in each ranking one; None: all.

    Every user has one random number, and a task keeps those with the smallest: the same ones for every method and, as far as they are in
    it, in every task, so that k = 0 and k = 10 are compared on the same users.
    """
    if users is None:
        return dict(tasks)
    longest = max((int(task.user_U.max(initial=-1)) + 1 for task in tasks.values()), default=0)
    priority_U = seeds.generator(0, "evaluation users").random(longest)  # a prefix of one sequence, whatever the tasks

    def sampled(task: EvalTask) -> EvalTask:
        if task.kind is TaskKind.pointwise or len(task.user_U) <= users:
            return task
        return task.of(np.sort(np.argsort(priority_U[task.user_U])[:users]))

    return {name: sampled(task) for name, task in tasks.items()}
