"""python scripts/lexical_overlap.py THETA PHI [METHOD]: a method of two runs, by how much the target's title shares with the history's.

THETA and PHI are finished runs of one split=next_item, as experiments/which_adapter/runs has them; METHOD is a baseline of both, or model
(default: history_text). Users are grouped by the largest TF-IDF cosine of their target's title and one of their history; a group's hr@10 and
ndcg@10 are printed for both runs, with the difference and its 95 % interval over users.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from cold_jax import cli, config
from cold_jax.errors import UserError
from cold_jax.runs.folder import Run, open_run
from cold_jax.splits.tasks import EvalTask, TaskKind
from cold_jax.text import similarity

EDGES = (-1.0, 0.0, 0.1, 0.2, 0.35, 1.01)
METRICS = ("hr@10", "ndcg@10")


def overlap(task: EvalTask, titles: list[str]) -> np.ndarray:
    """Largest cosine of the target's title with a title of the history, for each user of a next-item task."""
    word_IF = similarity.of_words(titles)
    target_UF = word_IF[task.target_UI.indices]
    history = np.split(task.history_UI.indices, task.history_UI.indptr[1:-1])
    return np.array([(word_IF[own] @ target_UF[[u]].T).toarray().max(initial=0) for u, own in enumerate(history)])


def of_users(run: Run, method: str, ids: list[str]) -> dict[str, np.ndarray]:
    """Metric → a value for each user, NaN for one without."""
    value_of = {
        (metric, user): value
        for part, own, user, metric, value in zip(*run.read_per_user(), strict=True)
        if (part, own) == ("all", method)
    }
    return {metric: np.array([value_of.get((metric, user), np.nan) for user in ids]) for metric in METRICS}


def main() -> None:
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    try:
        compare(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))


def compare(arguments: list[str]) -> None:
    theta, phi = (open_run(Path(folder)) for folder in arguments[:2])
    splits = [run.read_results().get("digests", {}).get("split") for run in (theta, phi)]
    if splits[0] != splits[1]:
        sys.exit(f"{phi.path}: not of the same interactions and split as {theta.path}")
    method = arguments[2] if len(arguments) == 3 else "history_text"
    s = config.settings(cli.read_config(theta))
    dataset = s.data()
    split = s.split(dataset)
    task = split.test.get("all")
    if task is None or task.kind is not TaskKind.next:
        sys.exit(f"{theta.path}: not a run of split=next_item, whose users have one target each")
    ids = [dataset.users.ids[u] for u in task.user_U]
    own_U = overlap(task, list(dataset.items.texts["title"]))
    cold_U = ~split.warm_I[task.target_UI.indices]
    of_theta, of_phi = (of_users(run, method, ids) for run in (theta, phi))
    for metric in METRICS:
        theta_U, phi_U = of_theta[metric], of_phi[metric]
        for which, of_kind in (("all", np.ones(len(ids), bool)), ("cold", cold_U)):
            for low, high in pairwise(EDGES):
                own = of_kind & (own_U > low) & (own_U <= high) & ~np.isnan(theta_U)
                if not own.any():
                    continue
                difference = (phi_U - theta_U)[own]
                half = 1.96 * difference.std() / len(difference) ** 0.5
                print(
                    f"{metric} {which}, cosine in ({max(low, 0):g}, {min(high, 1):g}]"
                    if low >= 0
                    else f"{metric} {which}, cosine 0",
                    f"{own.sum():,} users: {theta_U[own].mean():.4f} → {phi_U[own].mean():.4f},",
                    f"{difference.mean():+.4f} ± {half:.4f}",
                )


if __name__ == "__main__":
    main()
