"""Scores of users and items that another program computed, read from a file and evaluated as a method of this project."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Entities
from cold_jax.data.files import excerpt, number
from cold_jax.data.tables import column_names, read
from cold_jax.errors import DataError, nearest_name
from cold_jax.evaluation.evaluate import Evaluation, EvaluationConfig, PointwiseScorer
from cold_jax.splits.tasks import EvalTask, TaskKind

log = logging.getLogger(__name__)
USER, ITEM, SCORE, RANK, PART = ("user_id", "user"), ("item_id", "item"), "score", "rank", "part"


class PairScores(NamedTuple):
    """A score for each row of a file. The larger, the better; a file of ranks has minus these."""

    user_N: np.ndarray
    item_N: np.ndarray
    score_N: np.ndarray  # float64
    part_N: np.ndarray | None  # the name of the task that a row is for; None: every task

    def of(self, part: str) -> "PairScores":
        if self.part_N is None:
            return self
        own_N = self.part_N == part
        return PairScores(self.user_N[own_N], self.item_N[own_N], self.score_N[own_N], None)


def read_scores(file: Path, users: Entities, items: Entities, parts: Sequence[str]) -> PairScores:
    """The rows of a table (CSV, TSV, JSON Lines or Parquet) with columns user_id, item_id, and score or rank; perhaps part.

    Raises:
        DataError: a column is missing; or, with file and line, a user, an item or a part that does not exist, a number that is
            none or not finite, a pair that occurs twice.
    """
    if not file.is_file():
        raise DataError(f"{file}: there is no such file; give a table of user_id, item_id, score")
    names = column_names(file)
    user, item = (next((name for name in either if name in names), either[0]) for either in (USER, ITEM))
    by = SCORE if SCORE in names or RANK not in names else RANK
    wanted = {user: "user", item: "item", by: by} | ({PART: PART} if PART in names else {})
    for name in wanted:
        if name not in names:
            raise DataError(f"{file}:1: no column {name!r}; the columns are {', '.join(names)[:200]}")
    index_of = [{name: n for n, name in enumerate(entities.ids)} for entities in (users, items)]
    rows: list[tuple[int, int, float, str]] = []
    lines: dict[tuple[str, int, int], int] = {}
    for line, cells in read(file, wanted):
        place = f"{file}:{line}"
        u, i = (_index(place, what, cell, ids) for what, cell, ids in zip(("user", "item"), cells[:2], index_of, strict=True))
        try:
            value = number(cells[2])
        except ValueError as error:
            raise DataError(f"{place}: {by} {error}; leave the row out where there is none") from None
        part = (cells[3] or "") if PART in names else ""
        if PART in names and part not in parts:
            raise DataError(f"{place}: the test has no part {excerpt(part)}; {nearest_name(part, parts)}")
        first = lines.setdefault((part, u, i), line)
        if first != line:
            raise DataError(
                f"{place}: user {excerpt(cells[0] or '')} and item {excerpt(cells[1] or '')} are in line {first} already"
            )
        rows.append((u, i, -value if by == RANK else value, part))
    if not rows:
        raise DataError(f"{file}: has no row")
    user_N, item_N, score_N, part_N = zip(*rows, strict=True)
    pairs = np.array(user_N, np.int64), np.array(item_N, np.int64), np.array(score_N, np.float64)
    return PairScores(*pairs, np.array(part_N) if PART in names else None)


def _index(place: str, what: str, cell: str | None, index_of: Mapping[str, int]) -> int:
    if cell is None or cell not in index_of:
        raise DataError(f"{place}: the data has no {what} {excerpt(cell or '')}; {nearest_name(cell or '', list(index_of))}")
    return index_of[cell]


def evaluate_scores(
    config: EvaluationConfig, scores: PairScores, tasks: Mapping[str, EvalTask], shape: tuple[int, int]
) -> Evaluation:
    """The tasks by these scores. Candidates without a score follow those with one, in the tasks' order of ties; so do all of a
    user without any. Both are counted in the log.

    Args:
        shape: of the data, users × items.

    Raises:
        DataError: a row of a pointwise task has no score.
    """
    evaluation = Evaluation()
    for name, task in tasks.items():
        own = scores.of(name)
        scorer = _Ranked(own, shape) if task.kind is not TaskKind.pointwise else _pointwise(own, shape)
        if isinstance(scorer, _Ranked):
            scorer.count(task)
        evaluation.update(config(scorer, {name: task}))
    return evaluation


class _Ranked:
    """A scorer of ranking tasks: minus the place of a score among its user's, which is exact in single precision, as scores need not be."""

    def __init__(self, scores: PairScores, shape: tuple[int, int]) -> None:
        order_N = np.lexsort((-scores.score_N, scores.user_N))
        user_N, score_N = scores.user_N[order_N], scores.score_N[order_N]
        first_N = np.r_[True, user_N[1:] != user_N[:-1]]
        step_N = first_N | np.r_[True, score_N[1:] != score_N[:-1]]
        of_all_N = np.cumsum(step_N)
        start_N = np.maximum.accumulate(np.where(first_N, of_all_N, 0))
        entries = (of_all_N - start_N + 1, (user_N, scores.item_N[order_N]))
        self.place_UI = sparse.csr_array(sparse.coo_array(entries, shape))  # from 1; 0: no score

    def __call__(self, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        place_UI = self.place_UI[user_U][:, candidate_I].toarray()
        return np.where(place_UI > 0, -place_UI, -np.inf).astype(np.float32)

    def count(self, task: EvalTask) -> None:
        """Logs how many of the task's users and candidates have no score."""
        scored_U = np.diff(self.place_UI[task.user_U][:, task.candidate_I].indptr)
        if missing := int((scored_U == 0).sum()):
            log.warning(
                "task '%s': %d of %d users have no score; their candidates are in random order", task.name, missing, len(scored_U)
            )
        if (short := float(scored_U[scored_U > 0].mean() if (scored_U > 0).any() else 0)) < len(task.candidate_I):
            log.info(
                "task '%s': %.1f of %d candidates have a score, on average; the others follow",
                task.name,
                short,
                len(task.candidate_I),
            )


def _pointwise(scores: PairScores, shape: tuple[int, int]) -> PointwiseScorer:
    pair_M = scores.user_N * shape[1] + scores.item_N
    order_M = np.argsort(pair_M)

    def rows(task: EvalTask) -> np.ndarray:
        pair_N = task.user_N.astype(np.int64) * shape[1] + task.item_N
        at_N = np.minimum(np.searchsorted(pair_M, pair_N, sorter=order_M), len(pair_M) - 1)
        found_N = pair_M[order_M[at_N]] == pair_N
        if not found_N.all():
            raise DataError(
                f"task '{task.name}': {int((~found_N).sum())} of its {len(found_N)} rows have no score; each needs one"
            )
        return scores.score_N[order_M[at_N]]

    return PointwiseScorer(rows)
