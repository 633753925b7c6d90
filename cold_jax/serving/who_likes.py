"""Which users would like an item most."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from cold_jax.data.dataset import Dataset
from cold_jax.progress import stage

if TYPE_CHECKING:
    import polars as pl


def who_likes(
    scored: Iterable[tuple[np.ndarray, sparse.csr_array]],
    item_N: np.ndarray,
    k: int,
    data: Dataset,
    text_of: Callable[[int], str],
) -> "pl.DataFrame":
    """The k users who like each of `item_N` most.

    Args:
        scored: (score_UI, history_UI) of chunks of users, in the order of the data's.
        text_of: a user's integer id → their text.
    """
    import polars as pl

    N = len(item_N)
    best_NK, user_NK, place_NK = np.empty((N, 0), np.float32), np.empty((N, 0), np.int64), np.empty((N, 0), np.int64)
    done = 0
    with stage("ranking users", len(data.users), "users") as advance:
        for score_UI, history_UI in scored:
            taken_UI = history_UI.toarray() > 0
            level_U, spread_U = score_UI.mean(1), np.maximum(score_UI.std(1), 1e-12)
            own_NU = score_UI[:, item_N].T
            standard_NU = np.where(taken_UI[:, item_N].T, -np.inf, (own_NU - level_U[None]) / spread_U[None])
            ascending_UI = np.sort(np.where(taken_UI, -np.inf, score_UI), axis=1)
            above_NU = np.stack(
                [len(row) - np.searchsorted(row, own, "right") for row, own in zip(ascending_UI, own_NU.T, strict=True)], 1
            )
            user_U = np.arange(done, done + len(score_UI))
            best_NK = np.concatenate([best_NK, standard_NU], 1)
            user_NK = np.concatenate([user_NK, np.broadcast_to(user_U, (N, len(user_U)))], 1)
            place_NK = np.concatenate([place_NK, above_NU + 1], 1)
            order_NK = np.argsort(-best_NK, axis=1, kind="stable")[:, :k]
            best_NK, user_NK, place_NK = (np.take_along_axis(x_NK, order_NK, 1) for x_NK in (best_NK, user_NK, place_NK))
            done += len(score_UI)
            advance(len(score_UI))
    kept_NK = np.isfinite(best_NK)
    n_R, at_R = np.nonzero(kept_NK)
    users = user_NK[kept_NK]
    return pl.DataFrame(
        {
            "item_id": [data.items.ids[item_N[n]] for n in n_R],
            "rank": at_R + 1,
            "user_id": [data.users.ids[u] for u in users],
            "text": [text_of(int(u)) for u in users],
            "score": best_NK[kept_NK].astype(np.float64),
            "place": place_NK[kept_NK],
        },
        schema={
            "item_id": pl.String,
            "rank": pl.Int64,
            "user_id": pl.String,
            "text": pl.String,
            "score": pl.Float64,
            "place": pl.Int64,
        },
    )
