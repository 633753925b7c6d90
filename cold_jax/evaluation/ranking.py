"""The rank of each positive among all candidates of its user, and the first places of the user's ranking.

Candidates are ranked in chunks of users. Seen items are masked where the task says so, and so is what is not among a user's own
candidates. Scores are compared as float32; equal ones are ranked in the task's tie-breaking order (splits.ties), which is the same for every
method and every user. All chunks have one shape, and positives are padded to a power of two: a task is one compiled program.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from cold_jax.splits.tasks import EvalTask

Array = np.ndarray | jax.Array


COMPARED = 2**21  # scores that are compared at once: 8 MB, of which some copies stay in the cache


ACCELERATOR_COMPARED = 2**27  # on a GPU or TPU, which fewer leave idle (experiments/benchmarks): 512 MB


LEAST = 32  # users in a chunk, however many items: fewer read the items' vectors too often


BLOCK = 50  # items whose maximum represents them


COMPARISONS = 2**22  # of positives with candidates, from which ranks that nobody reads are not computed


SEEN = 2**12  # seen items that any chunk has room for, so that few sizes are compiled


AHEAD = 4  # chunks that may wait for the device, each with its scores of all candidates


class Ranking(NamedTuple):
    """P runs over the entries of a task's target_UI, in its order."""

    rank_P: np.ndarray  # from 1, among the user's unmasked candidates; beyond `within` the last
    candidates_U: np.ndarray  # number of unmasked candidates
    top_UK: np.ndarray  # item ids, -1 beyond the last candidate
    score_UK: np.ndarray  # their scores, -inf beyond


Masked = tuple[np.ndarray, np.ndarray] | np.ndarray  # (row_M, column_M), a column beyond the last is none; or bool, masked_BI


@partial(jax.jit, static_argnames=("top", "block"))
def _rank(
    score_BI: Array, masked: Masked, user_P: Array, item_P: Array, order_I: Array, place_I: Array, top: int, block: int
) -> tuple[jax.Array, ...]:
    """(ranks, columns of the first places, their scores, whether a user has a NaN); place_I[order_I] ascends."""
    value_BI, place_I = _comparable(score_BI, masked), jnp.asarray(place_I)

    def rank(at: tuple[jax.Array, jax.Array]) -> jax.Array:
        user_p, item_p = (x[:, None] for x in at)
        other_pI, own_p = value_BI[user_p[:, 0]], value_BI[user_p, item_p]
        own_p = jnp.where(own_p == -jnp.inf, jnp.nan, own_p)  # nothing is before what is masked
        return 1 + jnp.sum((other_pI > own_p) | ((other_pI == own_p) & (place_I[None] < place_I[item_p])), 1)

    # outside of a loop XLA makes one pass of it
    blocks = user_P.reshape(-1, block), item_P.reshape(-1, block)
    rank_P = rank((jnp.asarray(user_P), jnp.asarray(item_P))) if len(user_P) == block else jax.lax.map(rank, blocks).ravel()
    return rank_P, *_places(score_BI, value_BI, order_I, place_I, top)


@partial(jax.jit, static_argnames="top")
def _first(score_BI: Array, masked: Masked, order_I: Array, place_I: Array, top: int) -> tuple[jax.Array, ...]:
    """What `_rank` gives, without the ranks."""
    return _places(score_BI, _comparable(score_BI, masked), order_I, jnp.asarray(place_I), top)


def _comparable(score_BI: Array, masked: Masked) -> jax.Array:
    """Scores by which candidates are ranked: −∞ where masked, unless the score is NaN, and nowhere else."""
    score_BI = jnp.asarray(score_BI, jnp.float32)
    # -inf is a score: it is ranked before what is masked. -0 and 0 are equal
    value_BI = jnp.where(score_BI == 0, 0, jnp.maximum(score_BI, jnp.finfo(jnp.float32).min))
    if isinstance(masked, tuple):
        is_nan_M = jnp.isnan(score_BI.at[masked].get(mode="fill", fill_value=0))
        return value_BI.at[masked].set(jnp.where(is_nan_M, jnp.nan, -jnp.inf), mode="drop")
    return jnp.where(masked & ~jnp.isnan(score_BI), -jnp.inf, value_BI)


def _places(score_BI: Array, value_BI: jax.Array, order_I: Array, place_I: Array, top: int) -> tuple[jax.Array, ...]:
    """(columns of the first places, their scores, whether a user has a NaN); equal ones are in the order of place_I."""
    score_BI, order_I = jnp.asarray(score_BI, jnp.float32), jnp.asarray(order_I)

    def in_order() -> jax.Array:
        return order_I[first_places(value_BI[:, order_I], top)]

    if not _has_blocks(value_BI, top):
        top_BK = in_order()
    else:  # the columns of many items are not brought into that order, unless equal scores are on both sides of the last place
        more_BK = first_places(value_BI, top + 1)
        value_BK = jnp.take_along_axis(value_BI, more_BK, 1)
        tied = ((value_BK[:, top - 1] == value_BK[:, top]) & (value_BK[:, top] > -jnp.inf)).any()

        def by_value() -> jax.Array:
            kept_BK = more_BK[:, :top]
            return jax.lax.sort((-value_BK[:, :top], place_I[kept_BK], kept_BK), num_keys=2)[2]

        top_BK = jax.lax.cond(tied, in_order, by_value)
    score_BK = jnp.take_along_axis(score_BI, top_BK, 1)
    return top_BK, jnp.where(score_BK == 0, 0, score_BK), _has_nan(value_BI)


def _has_nan(value_BI: jax.Array) -> jax.Array:
    """Bool of shape (B,). Maxima of a CPU may pass over a NaN; sums don't, but they are NaN where both infinities are too."""
    return jax.lax.cond(
        jnp.isnan(value_BI.sum()), lambda: jnp.isnan(value_BI).any(1), lambda: jnp.zeros(len(value_BI), jnp.bool_)
    )


def _has_blocks(score_BI: jax.Array, top: int) -> bool:
    return 4 * BLOCK * top <= score_BI.shape[1]


def first_places(score_BI: jax.Array, top: int) -> jax.Array:
    """The positions of the `top` best, equal ones in the order of their positions.

    Of many items the best are in the `top` blocks with the best maxima, or after the last whole block: a block that is not among them has
    as many before it.
    """
    if not _has_blocks(score_BI, top):
        return jax.lax.top_k(score_BI, top)[1]
    B, I = score_BI.shape
    block_BNI = score_BI[:, : I // BLOCK * BLOCK].reshape(B, -1, BLOCK)
    block_BK = jnp.sort(jax.lax.top_k(block_BNI.max(2), top)[1], axis=1)
    column_BC = (block_BK[:, :, None] * BLOCK + jnp.arange(BLOCK)[None, None]).reshape(B, -1)
    rest_BC = jnp.broadcast_to(jnp.arange(I // BLOCK * BLOCK, I)[None], (B, I % BLOCK))
    column_BC = jnp.concatenate([column_BC, rest_BC.astype(column_BC.dtype)], 1)
    at_BK = jax.lax.top_k(jnp.take_along_axis(score_BI, column_BC, 1), top)[1]
    return jnp.take_along_axis(column_BC, at_BK, 1)


def rank_candidates(
    score: Callable[[np.ndarray], Array], task: EvalTask, top: int = 100, chunk: int = 256, within: int | None = None
) -> Ranking:
    """Ranks all candidates of each of the task's users. Memory holds the scores of a few chunks, never those of all users.

    Args:
        score: positions in task.user_U, at most `chunk`, fewer of many candidates → scores of shape (positions, candidates) in the
            order of task.candidate_I; infinite ones are allowed.
        top: places to return.
        within: ranks up to this one alone are read, as by recall@k: of many candidates the others are not computed.

    Raises:
        FloatingPointError: a score is NaN.
        ValueError: the task has no tie-breaking order.
    """
    if task.tie_break_I is None:
        raise ValueError(f"task '{task.name}': tie_break_I is missing; splits.ties.with_tie_break gives equal scores an order")
    users, items = len(task.user_U), len(task.candidate_I)
    candidate_I = task.candidate_I
    order_I = np.argsort(task.tie_break_I[candidate_I])
    place_I = np.empty(items, np.int32)
    place_I[order_I] = np.arange(items)
    position_I = np.full(len(task.tie_break_I), -1, np.int32)
    position_I[candidate_I] = np.arange(items)
    history_UI = task.history_UI[:, candidate_I] if task.exclude_seen else sparse.csr_array((users, items))
    sampled_UI = None if task.sampled_candidate_UI is None else task.sampled_candidate_UI[:, candidate_I]
    offset_U, item_P = task.target_UI.indptr, position_I[task.target_UI.indices]
    if (item_P < 0).any():
        raise ValueError(f"task '{task.name}': {int(np.sum(item_P < 0))} targets are not among its candidates")
    candidates_U = items - np.diff(history_UI.indptr) if sampled_UI is None else np.diff(sampled_UI.indptr)
    by_places = within is not None and sampled_UI is None and len(item_P) * items > COMPARISONS
    by_places = by_places and not history_UI.multiply(task.target_UI[:, candidate_I]).nnz
    compared = COMPARED if jax.default_backend() == "cpu" else ACCELERATOR_COMPARED
    chunk, places = min(chunk, users, max(LEAST, compared // items)), min(max(top, within or 0) if by_places else top, items)
    chunks = [np.arange(start, min(start + chunk, users)) for start in range(0, users, chunk)]
    most = max(offset_U[user_B[-1] + 1] - offset_U[user_B[0]] for user_B in chunks)
    blocks = -(-_padded(int(most)) * items // compared)
    block = -(-_padded(int(most)) // blocks)
    size_U = np.diff(history_UI.indptr)
    most_masked = max(int(size_U[user_B].sum()) + (chunk - len(user_B)) * int(size_U[user_B[-1]]) for user_B in chunks)

    in_order = jax.device_put((order_I, place_I))
    results: list[tuple[Array, ...]] = []
    for n, user_B in enumerate(chunks):
        filled_B = np.pad(user_B, (0, chunk - len(user_B)), "edge")
        own = slice(offset_U[user_B[0]], offset_U[user_B[-1] + 1])
        user_P = np.repeat(np.arange(len(user_B)), np.diff(offset_U[user_B[0] : user_B[-1] + 2]))
        fill = (0, blocks * block - len(user_P))
        at = np.pad(user_P, fill).astype(np.int32), np.pad(item_P[own], fill)
        masked = _masked(history_UI[filled_B], items, most_masked) if sampled_UI is None else sampled_UI[filled_B].toarray() == 0
        if by_places:
            results.append((user_P, *_first(score(filled_B), masked, *in_order, places)))
        else:
            results.append(_rank(score(filled_B), masked, *at, *in_order, places, block))
        if n >= AHEAD:
            results[n - AHEAD] = jax.device_get(results[n - AHEAD])
    rank_P, top_UK, score_UK = [], [], []
    for user_B, result in zip(chunks, jax.device_get(results), strict=True):
        ranks, top_BK, score_BK, nan_B = result
        if nan_B.any():
            user = task.user_U[user_B[min(int(np.argmax(nan_B)), len(user_B) - 1)]]
            raise FloatingPointError(f"part '{task.name}': a score of user {user} (integer id) is NaN")
        own = slice(offset_U[user_B[0]], offset_U[user_B[-1] + 1])
        rank_P.append(
            _by_places(ranks, item_P[own], top_BK, candidates_U[user_B]) if by_places else ranks[: own.stop - own.start]
        )
        top_UK.append(candidate_I[top_BK[: len(user_B)]])
        score_UK.append(score_BK[: len(user_B)])
    beyond_UK = np.arange(top) >= candidates_U[:, None]
    at = ((0, 0), (0, max(top - places, 0)))
    top_UK = np.where(beyond_UK, -1, np.pad(np.concatenate(top_UK)[:, :top], at))
    score_UK = np.where(beyond_UK, -np.inf, np.pad(np.concatenate(score_UK)[:, :top], at)).astype(np.float32)
    return Ranking(np.concatenate(rank_P), candidates_U, top_UK, score_UK)


def _padded(count: int) -> int:
    """Rounded up to three binary digits: few sizes are compiled, and no more than a quarter is added."""
    step = 1 << max((count - 1).bit_length() - 3, 0)
    return -(-max(count, 1) // step) * step


def _masked(history_BI: sparse.csr_array, items: int, most: int) -> Masked:
    """All chunks of a task have room for `most` entries."""
    size_B = np.diff(history_BI.indptr)
    row_M = np.repeat(np.arange(len(size_B), dtype=np.int32), size_B)
    fill = (0, _padded(max(most, SEEN)) - len(row_M))
    return np.pad(row_M, fill), np.pad(history_BI.indices, fill, constant_values=items)


def _by_places(user_P: np.ndarray, item_P: np.ndarray, top_BK: np.ndarray, last_B: np.ndarray) -> np.ndarray:
    """Ranks of positives by the first places of their users; the last of those that are not among them."""
    at_PK = top_BK[user_P] == item_P[:, None]
    return np.where(at_PK.any(1), at_PK.argmax(1) + 1, last_B[user_P])


@partial(jax.jit, static_argnames="top")
def _best(score_BI: Array, left_out_BI: Array, order_I: Array, top: int) -> tuple[jax.Array, jax.Array]:
    score_BI = jnp.where(left_out_BI, -jnp.inf, jnp.maximum(jnp.asarray(score_BI, jnp.float32), jnp.finfo(jnp.float32).min))
    score_BI = score_BI[:, order_I]
    top_BK = first_places(jnp.where(score_BI == 0, 0, score_BI), top)
    return order_I[top_BK], jnp.take_along_axis(score_BI, top_BK, 1)


def best_items(score_BI: Array, left_out_BI: np.ndarray, count: int, tie_break_I: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(item_BK, score_BK): the first places of each user's ranking, as `rank_candidates` ranks; -1 and -inf beyond the last candidate.

    Args:
        left_out_BI: bool; what is not a candidate.
        tie_break_I: see splits.ties.

    Raises:
        FloatingPointError: a score is NaN.
    """
    users, places = len(left_out_BI), min(1 << (count - 1).bit_length(), len(tie_break_I))  # few shapes, few compilations
    padding = (0, (1 << (users - 1).bit_length()) - users), (0, 0)
    padded = np.pad(score_BI, padding), np.pad(left_out_BI, padding)
    item_BK, score_BK = (x_BK[:users] for x_BK in jax.device_get(_best(*padded, np.argsort(tie_break_I), places)))
    if np.isnan(score_BK).any():
        raise FloatingPointError("a score is NaN")
    return np.where(np.isneginf(score_BK), -1, item_BK)[:, :count], score_BK[:, :count]
