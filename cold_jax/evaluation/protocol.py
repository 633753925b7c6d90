"""The protocol of an evaluation, and a method against its baselines, for results.json."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from cold_jax.evaluation.evaluate import Evaluation
from cold_jax.evaluation.statistics import Comparison, compare_columns, holm, minimum_detectable_difference
from cold_jax.splits.assemble import Split
from cold_jax.splits.tasks import EvalTask, TaskKind

log = logging.getLogger(__name__)


def compare_to_baselines(
    evaluation: Evaluation, baselines: Mapping[str, Evaluation], resamples: int, generator: np.random.Generator
) -> dict[str, dict[str, dict[str, Comparison]]]:
    """results.json's "versus": baseline → task → metric → method less baseline, paired over users; Holm's correction over baselines.

    Raises:
        ValueError: a baseline was evaluated on other users.
    """
    found: dict[str, dict[str, dict[str, Comparison]]] = {name: {task: {} for task in evaluation.users} for name in baselines}
    for task, values in evaluation.per_user.items():
        for metric in values:
            for name, other in baselines.items():
                if not np.array_equal(evaluation.users_of(task, metric), other.users_of(task, metric)):
                    raise ValueError(f"compare: {name} was evaluated on other users of '{task}' by {metric}")
        for together in _of_same_users(evaluation, task) if baselines else ():
            ours_UC = np.stack([values[metric] for metric in together for _ in baselines], 1)
            theirs_UC = np.stack([other.per_user[task][metric] for metric in together for other in baselines.values()], 1)
            compared = iter(compare_columns(ours_UC, theirs_UC, resamples, generator))
            for metric in together:
                family = [next(compared) for _ in baselines]
                corrected = holm([comparison["p"] for comparison in family])
                for name, comparison, p in zip(baselines, family, corrected, strict=True):
                    found[name][task][metric] = {**comparison, "p_holm": p}
    return found


def _of_same_users(evaluation: Evaluation, task: str) -> list[list[str]]:
    """A task's metrics in groups; those of a group have the same users."""
    groups: dict[bytes, list[str]] = {}
    for metric in evaluation.per_user[task]:
        groups.setdefault(evaluation.users_of(task, metric).tobytes(), []).append(metric)
    return list(groups.values())


def describe_protocol(
    split: Split, evaluation: Evaluation, baselines: Mapping[str, Evaluation], metric: str
) -> dict[str, dict[str, Any]]:
    """results.json's "protocol": test task → what was evaluated, how, and the smallest difference that it can detect.

    `users` counts those evaluated, out of `users_in_task`; `left_out` counts for a metric those for whom it is undefined. The smallest
    difference is of `metric` (of pointwise tasks: uauc) to the strongest baseline by it; None without one, or with a single user.
    """
    entries = {}
    for name, task in split.test.items():
        by = "uauc" if task.kind is TaskKind.pointwise else metric
        value_U = evaluation.per_user[name].get(by, np.empty(0))
        best_U = max((other.per_user[name][by] for other in baselines.values() if len(value_U)), key=np.mean, default=None)
        left_out = {of: len(user_U) for of, user_U in evaluation.left_out.get(name, {}).items()}
        for of, count in left_out.items():
            log.warning("task '%s': %d of %d users took every candidate; %s leaves them out", name, count, len(task.user_U), of)
        entries[name] = {
            "task": task.kind.value,
            **_ranking_rules(split, task),
            "context": "nothing" if split.first_seen_U is None else "each user's first time",
            "users": len(evaluation.users[name]),
            "users_in_task": len(task.user_U),
            "left_out": left_out,
            "items": len(task.candidate_I),
            "minimum_detectable_difference": None
            if best_U is None or len(best_U) < 2
            else minimum_detectable_difference(value_U - best_U),
        }
    return entries


def _ranking_rules(split: Split, task: EvalTask) -> dict[str, str]:
    """Candidates, mask and ties."""
    if task.kind is TaskKind.pointwise:
        history = "" if task.liked_history_NI is None else ", each with what its user liked before it"
        return {"candidates": f"the task's rows{history}", "mask": "nothing", "ties": "count half"}
    cold_I, warm_U = split.cold_I[task.candidate_I], split.warm_U[task.user_U]
    candidates = "all items" if len(cold_I) == len(split.cold_I) else "all cold items" if cold_I.all() else "warm items"
    mask = "training items" if warm_U.all() else "training items and support" if warm_U.any() else "support"
    if task.kind is TaskKind.next:
        mask = "earlier items" if task.exclude_seen else "nothing"
    if task.sampled_candidate_UI is not None:
        candidates = f"sampled: {task.sampled_candidate_UI[[0]].nnz} for each user, the hidden ones among random ones"
    return {"candidates": candidates, "mask": mask, "ties": "at random, by a seeded permutation of the items"}
