"""What was evaluated and how, and a method against its baselines, for results.json."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cold_jax.evaluation.evaluate import Evaluation
from cold_jax.evaluation.statistics import Comparison, compare_paired, holm, minimum_detectable_difference
from cold_jax.splits.assemble import Split
from cold_jax.splits.tasks import TaskKind


def compare_to_baselines(
    evaluation: Evaluation, baselines: Mapping[str, Evaluation], resamples: int, generator: np.random.Generator
) -> dict[str, dict[str, dict[str, Comparison]]]:
    """results.json's "versus": baseline → part → metric → the method against the baseline, paired over users; Holm over baselines."""
    found: dict[str, dict[str, dict[str, Comparison]]] = {name: {part: {} for part in evaluation.users} for name in baselines}
    for part, values in evaluation.per_user.items():
        for metric, value_U in values.items():
            others = [other.per_user[part][metric] for other in baselines.values()]
            family = [compare_paired(value_U, other_U, resamples, generator) for other_U in others]
            corrected = holm([comparison["p"] for comparison in family])
            for name, comparison, p in zip(baselines, family, corrected, strict=True):
                found[name][part][metric] = {**comparison, "p_holm": p}
    return found


def describe_protocol(
    split: Split, evaluation: Evaluation, baselines: Mapping[str, Evaluation], metric: str
) -> dict[str, dict[str, Any]]:
    """results.json's "protocol": test part → what was asked, how, and the smallest difference that it can find.

    The latter is of `metric` (of given rows: uauc) against the strongest baseline by it; None without one, or with a single user.
    """
    entries = {}
    for name, part in split.test.items():
        by = "uauc" if part.kind is TaskKind.pointwise else metric
        value_U, others = evaluation.per_user[name][by], [other.per_user[name][by] for other in baselines.values()]
        best_U = max(others, key=np.mean, default=None)
        cold_I, warm_U = split.cold_I[part.candidate_I], split.warm_U[part.user_U]
        if part.kind is TaskKind.pointwise:
            candidates = "given rows" if part.liked_history_NI is None else "given rows, each with what its user liked before it"
            mask, ties = "nothing", "count half"
        else:
            candidates = "all items" if len(cold_I) == len(split.cold_I) else "all cold items" if cold_I.all() else "warm items"
            mask = "training items" if warm_U.all() else "training items and support" if warm_U.any() else "support"
            if part.kind is TaskKind.next:
                mask = "earlier items" if part.exclude_seen else "nothing"
            if part.sampled_candidate_UI is not None:
                candidates = f"sampled: {part.sampled_candidate_UI[[0]].nnz} for each user, the hidden ones among drawn ones"
            ties = "by item index"
        entries[name] = {
            "task": part.kind.value,
            "candidates": candidates,
            "mask": mask,
            "ties": ties,
            "context": "nothing" if split.first_seen_U is None else "when each user came",
            "users": len(evaluation.users[name]),
            "items": len(part.candidate_I),
            "minimum_detectable_difference": None
            if best_U is None or len(best_U) < 2
            else minimum_detectable_difference(value_U - best_U),
        }
    return entries
