"""Against SciPy's ranks and NumPy's sort, with many equal scores."""

import dataclasses
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from cold_jax.evaluation import ranking
from cold_jax.evaluation.ranking import AHEAD, BLOCK, Ranking, _padded, _rank, best_items, first_places, rank_candidates
from cold_jax.splits.tasks import EvalTask, ranking_task
from cold_jax.splits.ties import tie_break

USERS, ITEMS = 11, 17


def make_part(seed: int, users: int = USERS, items: int = ITEMS) -> EvalTask:
    """Every third item is no candidate; a user's history is some items, their targets are others."""
    generator = np.random.default_rng(seed)
    candidate_I = np.flatnonzero(np.arange(items) % 3 != 0)
    kind_UI = generator.choice(3, (users, items), p=[0.6, 0.2, 0.2])
    kind_UI[:, candidate_I[0]] = 1  # everybody has a positive
    target_UI = (kind_UI == 1) & np.isin(np.arange(items), candidate_I)
    history_UI, target_UI = (sparse.csr_array(x_UI.astype(np.float32)) for x_UI in (kind_UI == 2, target_UI))
    task = ranking_task("random", history_UI, target_UI, candidate_I)
    return dataclasses.replace(task, tie_break_I=generator.permutation(items))


def check(part: EvalTask, score_UI: np.ndarray, got: Ranking, top: int) -> None:
    """SciPy's ordinal ranks of the candidates in the tie-breaking order."""
    assert part.tie_break_I is not None
    order_I = np.argsort(part.tie_break_I[part.candidate_I])
    candidate_I, score_UI = part.candidate_I[order_I], score_UI[:, order_I]
    history_UI = part.history_UI.toarray()[:, candidate_I] > 0
    expected, places, scores = [], [], []
    for row, (score_I, shown_I) in enumerate(zip(score_UI, history_UI, strict=True)):
        rank_I = stats.rankdata(-score_I[~shown_I], method="ordinal")  # equal ones in the order in which they stand
        rank_of = dict(zip(candidate_I[~shown_I].tolist(), rank_I, strict=True))
        expected.extend(rank_of[item] for item in part.target_UI[[row]].indices)
        order = np.flatnonzero(~shown_I)[np.argsort(-score_I[~shown_I], stable=True)][:top]
        empty = top - len(order)
        places.append([*candidate_I[order], *[-1] * empty])
        scores.append([*score_I[order], *[-np.inf] * empty])
    np.testing.assert_array_equal(got.rank_P, expected)
    np.testing.assert_array_equal(got.top_UK, places)
    np.testing.assert_array_equal(got.score_UK, scores)
    np.testing.assert_array_equal(got.candidates_U, (~history_UI).sum(1))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_candidates_of_their_own_are_all_that_is_ranked(seed: int):
    """As if each user were a task of their own, with their own candidates."""
    part, generator = make_part(seed), np.random.default_rng(seed)
    sampled_candidate_UI = (generator.random((USERS, ITEMS)) < 0.4) & (part.history_UI.toarray() == 0) | (
        part.target_UI.toarray() > 0
    )
    sampled_candidate_UI[:, np.setdiff1d(np.arange(ITEMS), part.candidate_I)] = False
    score_UI = generator.integers(0, 4, (USERS, len(part.candidate_I))).astype(np.float32)
    drawn = dataclasses.replace(part, sampled_candidate_UI=sparse.csr_array(sampled_candidate_UI.astype(np.float32)))
    together = rank_candidates(lambda position_B: score_UI[position_B], drawn, 5, 4)
    start = 0
    for row, own_I in enumerate(sampled_candidate_UI):
        alone = dataclasses.replace(part.of(np.array([row])), candidate_I=np.flatnonzero(own_I))
        own_C = score_UI[row : row + 1, np.isin(part.candidate_I, alone.candidate_I)]
        got = rank_candidates(lambda position_B, own_C=own_C: own_C[position_B], alone, 5)
        np.testing.assert_array_equal(together.rank_P[start : start + len(got.rank_P)], got.rank_P)
        np.testing.assert_array_equal(together.top_UK[row], got.top_UK[0])
        assert together.candidates_U[row] == got.candidates_U[0] == own_I.sum()
        start += len(got.rank_P)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), values=st.integers(1, 8), chunk=st.sampled_from([4, 11, 256]))
def test_ranks_and_first_places_with_ties(seed: int, values: int, chunk: int):
    """Few values, so many ties; the infinities and both zeros among them."""
    part = make_part(seed)
    some = np.array([0.0, -0.0, -np.inf, np.inf, 1.5, -2.0, 1e-30, 3.0], np.float32)[:values]
    score_UI = np.random.default_rng(seed).choice(some, (USERS, len(part.candidate_I)))
    for top in (5, 20):
        check(part, score_UI, rank_candidates(lambda position_B: score_UI[position_B], part, top, chunk), top)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), values=st.integers(1, 8), top=st.sampled_from([1, 5]), within=st.sampled_from([1, 3, 20]))
def test_of_many_candidates_only_the_ranks_that_are_read_are_computed(seed: int, values: int, top: int, within: int):
    """They are those of all, as are those within the list; the others are the last. Lists stay, and a target that is masked, which has no place in a list, its rank."""
    part = make_part(seed)
    some = np.array([0.0, -0.0, -np.inf, np.inf, 1.5, -2.0, 1e-30, 3.0], np.float32)[:values]
    score_UI = np.random.default_rng(seed).choice(some, (USERS, len(part.candidate_I)))
    masked = dataclasses.replace(part, history_UI=sparse.csr_array(part.history_UI + part.target_UI))
    with pytest.MonkeyPatch.context() as patch:
        for task in (part, masked):
            patch.undo()
            whole = rank_candidates(lambda position_B: score_UI[position_B], task, top, 4, within)
            patch.setattr(ranking, "COMPARISONS", 0)
            few = rank_candidates(lambda position_B: score_UI[position_B], task, top, 4, within)
            np.testing.assert_array_equal(few.top_UK, whole.top_UK)
            np.testing.assert_array_equal(few.score_UK, whole.score_UK)
            last_P = np.repeat(whole.candidates_U, np.diff(task.target_UI.indptr))
            expected_P = whole.rank_P if task is masked else np.where(whole.rank_P <= max(top, within), whole.rank_P, last_P)
            np.testing.assert_array_equal(few.rank_P, expected_P)


@pytest.mark.parametrize("values", [3, 8, 1000])
def test_the_best_blocks_hold_the_best_of_many(values: int):
    """More items than one sort is good for, in blocks of which the last is not full; many equal scores, or none."""
    part = make_part(1, items=1861)
    assert len(part.candidate_I) > 4 * BLOCK * 3
    assert len(part.candidate_I) % BLOCK
    score_UI = np.random.default_rng(2).integers(-values, values, (USERS, len(part.candidate_I))).astype(np.float32)
    check(part, score_UI, rank_candidates(lambda position_B: score_UI[position_B], part, 3, 4), 3)


SOME = np.array([0.0, -0.0, -np.inf, np.inf, 1.5, -2.0, 1e-30, 3.0], np.float32)
MANY = 12 * BLOCK + 7  # candidates of which blocks are made, the last of them not full


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), values=st.integers(1, 8))
def test_ranks_and_first_places_of_many_with_ties(seed: int, values: int):
    part = make_part(seed, items=MANY * 3 // 2 + 1)
    assert len(part.candidate_I) == MANY
    score_UI = np.random.default_rng(seed).choice(
        SOME, (USERS, MANY), p=np.r_[1 - (values - 1) / 20, [0.05] * (values - 1), [0] * (8 - values)]
    )
    check(part, score_UI, rank_candidates(lambda position_B: score_UI[position_B], part, 3, 256), 3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), values=st.integers(1, 100), best=st.sampled_from([0, MANY // 2, MANY - 1]))
def test_first_places_are_those_of_a_stable_sort(seed: int, values: int, best: int):
    """Among them the last columns, which fill no block."""
    score_BI = np.random.default_rng(seed).integers(0, values, (3, MANY)).astype(np.float32)
    score_BI[0, best] = values
    score_BI[1, MANY // 2 :] = -np.inf
    np.testing.assert_array_equal(jax.jit(first_places, static_argnums=1)(score_BI, 3), np.argsort(-score_BI, stable=True)[:, :3])


@pytest.mark.parametrize("column", [0, MANY // 2, MANY - 1])
@pytest.mark.parametrize("masked", [False, True])
def test_a_nan_among_many_is_found(column: int, masked: bool):
    part = make_part(3, items=MANY * 3 // 2 + 1)
    history_UI = part.history_UI.tolil()
    history_UI[4, part.candidate_I[column]] = masked
    part = dataclasses.replace(part, history_UI=sparse.csr_array(history_UI))
    part.history_UI.eliminate_zeros()
    score_UI = np.zeros((USERS, MANY), np.float32)
    score_UI[4, column] = np.nan
    with pytest.raises(FloatingPointError, match=r"a score of user 4 "):
        rank_candidates(lambda position_B: score_UI[position_B], part, 3)


def test_sizes_are_few_and_hardly_padded():
    sizes = [_padded(count) for count in range(1, 5000)]
    assert all(count <= size <= count + count // 4 for count, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 100


def test_scores_of_jax_and_of_double_precision():
    part = make_part(0)
    score_UI = np.random.default_rng(0).normal(size=(USERS, len(part.candidate_I)))
    single_UI = score_UI.astype(np.float32)
    check(part, single_UI, rank_candidates(lambda position_B: score_UI[position_B], part, 5, 4), 5)
    check(part, single_UI, rank_candidates(lambda position_B: jnp.asarray(single_UI)[position_B], part, 5, 4), 5)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_many_positives_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch, backend: str):
    monkeypatch.setattr(ranking, {"cpu": "COMPARED", "gpu": "ACCELERATOR_COMPARED"}[backend], 64)
    monkeypatch.setattr(ranking.jax, "default_backend", lambda: backend)
    part = make_part(1, users=30, items=20)
    score_UI = np.random.default_rng(1).integers(0, 5, (30, len(part.candidate_I))).astype(np.float32)
    check(part, score_UI, rank_candidates(lambda position_B: score_UI[position_B], part, 5, 30), 5)


def test_an_accelerator_gets_more_users_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranking, "COMPARED", 20)
    monkeypatch.setattr(ranking, "LEAST", 1)
    part = make_part(1, users=30, items=20)
    largest = []
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(ranking.jax, "default_backend", lambda backend=backend: backend)
        sizes: list[int] = []
        rank_candidates(
            lambda at_B, sizes=sizes: (sizes.append(len(at_B)), np.zeros((len(at_B), len(part.candidate_I))))[1], part, 5
        )
        largest.append(max(sizes))
    assert largest == [20 // len(part.candidate_I), len(part.user_U)]


def test_nothing_is_before_a_target_that_is_masked():
    part = make_part(2)
    part = dataclasses.replace(part, history_UI=part.target_UI)
    score_UI = np.random.default_rng(2).normal(size=(USERS, len(part.candidate_I)))
    assert (rank_candidates(lambda position_B: score_UI[position_B], part, 5).rank_P == 1).all()


def test_what_is_shown_does_not_matter():
    part = make_part(2)
    score_UI = np.random.default_rng(2).normal(size=(USERS, len(part.candidate_I))).astype(np.float32)
    low = rank_candidates(lambda position_B: score_UI[position_B], part, 5)
    high_UI = np.where(part.history_UI.toarray()[:, part.candidate_I] > 0, np.inf, score_UI)
    for a, b in zip(low, rank_candidates(lambda position_B: high_UI[position_B], part, 5), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_is_an_error_that_names_part_and_user():
    part = make_part(3)
    score_UI = np.zeros((USERS, len(part.candidate_I)))
    score_UI[10, 2] = np.nan
    with pytest.raises(FloatingPointError, match=r"part 'random': a score of user 10 "):
        rank_candidates(lambda position_B: score_UI[position_B], part, 5, 4)


def test_all_chunks_are_one_compiled_program():
    part, seen = make_part(4, users=31, items=23), set()

    def score(position_B: np.ndarray) -> np.ndarray:
        seen.add(position_B.shape)
        return np.zeros((len(position_B), len(part.candidate_I)), np.float32)

    before = _rank._cache_size()
    rank_candidates(score, part, 5, 7)
    assert seen == {(7,)}
    assert _rank._cache_size() == before + 1


def test_tasks_of_other_supports_share_the_compiled_program():
    part = make_part(4, users=32, items=29)
    score_UI = np.zeros((32, len(part.candidate_I)), np.float32)
    rank_candidates(lambda position_B: score_UI[position_B], part, 5, 32)
    before = _rank._cache_size()
    nothing = dataclasses.replace(part, history_UI=sparse.csr_array(part.history_UI.shape, dtype=np.float32))
    rank_candidates(lambda position_B: score_UI[position_B], nothing, 5, 32)
    assert _rank._cache_size() == before


def test_a_task_without_a_tie_breaking_order_is_refused():
    part = dataclasses.replace(make_part(5), tie_break_I=None)
    with pytest.raises(ValueError, match=r"task 'random': tie_break_I is missing"):
        rank_candidates(lambda position_B: np.zeros((len(position_B), len(part.candidate_I))), part, 5)


def test_a_target_that_is_no_candidate_is_refused():
    part = make_part(5)
    less = dataclasses.replace(part, candidate_I=part.candidate_I[1:])  # the first is a target of all 11 users
    with pytest.raises(ValueError, match=r"task 'random': 11 targets are not among its candidates"):
        rank_candidates(lambda position_B: np.zeros((len(position_B), len(less.candidate_I))), less, 5)


def test_scores_of_many_users_are_never_held_together():
    """What the scorer returned for a chunk is freed some chunks later."""
    part, alive, most = make_part(6, users=60, items=20), [], []

    class Scores(np.ndarray):
        pass

    def score(position_B: np.ndarray) -> np.ndarray:
        given = np.zeros((len(position_B), len(part.candidate_I)), np.float32).view(Scores)
        alive.append(weakref.ref(given))
        most.append(sum(ref() is not None for ref in alive))
        return given

    rank_candidates(score, part, 5, 2)
    assert len(alive) == 30
    assert max(most) <= AHEAD + 2


@pytest.mark.parametrize("top", [1, 5, 2 * ITEMS])
def test_best_items_are_those_of_the_ranking(top: int) -> None:
    """Lists of users are the ranking's, ties and all; beyond the last candidate there is nothing."""
    part, ids = make_part(7, users=3), [str(n) for n in range(ITEMS)]
    score_UI = np.random.default_rng(7).choice(np.array([-1, -0.0, 0.0, 1], np.float32), (3, ITEMS))
    score_UI[0, :2] = -np.inf  # a score like another
    everything = dataclasses.replace(part, candidate_I=np.arange(ITEMS), tie_break_I=tie_break(ids))
    got = rank_candidates(lambda position_B: score_UI[position_B], everything, top)
    item_UK, score_UK = best_items(score_UI, part.history_UI.toarray() > 0, min(top, ITEMS), tie_break(ids))
    assert item_UK.tolist() == got.top_UK[:, :ITEMS].tolist()
    assert score_UK.shape == item_UK.shape


def test_a_nan_is_in_no_list() -> None:
    with pytest.raises(FloatingPointError):
        best_items(np.array([[1, np.nan, 2]], np.float32), np.zeros((1, 3), bool), 1, np.arange(3))
