"""The best items of models that score by an inner product, u·v_i + b_i: all items are scored in one program, and only the first leave it.

Items are laid out in the tie-breaking order once, so that the first of equals is the one that every ranking has first.
"""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from cold_jax.data.matrices import binarize
from cold_jax.evaluation.ranking import first_places
from cold_jax.models.base import DotProductModel, Partition

MOST_WANTED = 4096  # items that the index may be searched for


class Best(NamedTuple):
    """The first places of each user; -1 and -inf beyond the last candidate."""

    item_UK: np.ndarray
    score_UK: np.ndarray


def is_inner_product(model: Any) -> bool:
    """Whether a model's score is u·v_i + b_i of vectors that `users` and `items` give."""
    return isinstance(model, DotProductModel) and type(model).scores is DotProductModel.scores and not model.history


class Index(Protocol):
    """Finds positions of about the largest inner products, -1 where it finds fewer."""

    def search(self, user_UV: np.ndarray, count: int) -> np.ndarray: ...


@partial(jax.jit, static_argnames="top")
def _best(
    user_UV: jax.Array,
    bias_U: jax.Array,
    target_IV: jax.Array,
    bias_I: jax.Array,
    allowed_I: jax.Array,
    row_P: jax.Array,
    column_P: jax.Array,
    top: int,
) -> tuple[jax.Array, jax.Array]:
    # unfused: of a single user XLA would form each product number by number, within the passes that follow
    product_UI = jax.lax.optimization_barrier(user_UV @ target_IV.T)
    score_UI = product_UI + bias_I[None] + bias_U[:, None]
    score_UI = jnp.where(score_UI == 0, 0, jnp.maximum(score_UI, jnp.finfo(jnp.float32).min))  # -0 and 0 are equal
    score_UI = jnp.where(allowed_I[None], score_UI, -jnp.inf).at[row_P, column_P].set(-jnp.inf, mode="drop")
    top_UK = first_places(score_UI, top)
    return top_UK, jnp.take_along_axis(score_UI, top_UK, 1)


class InnerProducts:
    """Of one trained head over one catalogue."""

    def __init__(
        self, partition: Partition, profile_of: Callable[[np.ndarray], jax.Array], vector_ID: np.ndarray, tie_break_I: np.ndarray
    ):
        """`profile_of`: user_U → vectors of their main texts; `vector_ID`: vectors of all items' main texts."""
        self.partition, self.profile_of = partition, profile_of
        self.order_I = np.argsort(tie_break_I)
        self.column_I = np.empty_like(self.order_I)
        self.column_I[self.order_I] = np.arange(len(self.order_I))
        encode = jax.jit(
            lambda trainable, frozen, vector_ID: self._model(trainable, frozen).items(vector_ID, jnp.arange(len(vector_ID)))
        )
        source_IV, target_IV, bias_I = encode(partition.trainable, partition.frozen, jax.device_put(vector_ID))
        self.source_IV = np.asarray(source_IV)
        # in the tie-breaking order; by NumPy, as each of the programs that JAX picks rows by costs more than the copy
        self.target_IV, self.bias_I = (jax.device_put(np.asarray(x)[self.order_I]) for x in (target_IV, bias_I))

        def users(trainable: Any, frozen: Any, user_U: Any, profile_UD: Any, history_UJ: Any, source_JV: Any) -> Any:
            model = self._model(trainable, frozen)
            return model.users(profile_UD, history_UJ, source_JV), model.user_biases(user_U)

        self._users = jax.jit(users)
        self.index: Index | None = None  # over the items in the tie-breaking order

    def _model(self, trainable: Any, frozen: Any) -> Any:
        return Partition(self.partition.graph, trainable, frozen).model()

    def users(self, user_U: np.ndarray, history_UI: sparse.csr_array) -> tuple[jax.Array, jax.Array]:
        """(user_UV, bias_U). Of the items only those of the histories are read."""
        item_J, column_N = np.unique(history_UI.indices, return_inverse=True)
        width = 1 << max(len(item_J) - 1, 0).bit_length()
        packed_UJ = sparse.csr_array((history_UI.data, column_N, history_UI.indptr), shape=(len(user_U), width))
        history_UJ = binarize(packed_UJ).toarray().astype(np.float32)
        source_JV = np.pad(self.source_IV[item_J], ((0, width - len(item_J)), (0, 0)))
        parameters = self.partition.trainable, self.partition.frozen
        return self._users(*parameters, jax.device_put(user_U), self.profile_of(user_U), history_UJ, source_JV)

    def best(
        self,
        user_U: np.ndarray,
        history_UI: sparse.csr_array,
        allowed_I: np.ndarray,
        row_P: np.ndarray,
        item_P: np.ndarray,
        count: int,
    ) -> Best:
        """The first `count` places of each user.

        Args:
            history_UI: what a user is made of.
            allowed_I: bool; the items that may be ranked at all.
            row_P, item_P: pairs of a row of user_U and an item that are left out.

        Raises:
            FloatingPointError: a score is NaN.
        """
        if self.index is not None and allowed_I.all():
            found = self._approximate(user_U, history_UI, row_P, item_P, count)
            if found is not None:
                return found
        users, items = len(user_U), len(self.order_I)
        more, places = (
            (1 << (users - 1).bit_length()) - users,
            min(1 << (count - 1).bit_length(), items),
        )  # few shapes are compiled
        row_U = np.pad(np.arange(users), (0, more), "edge")
        user_UV, bias_U = self.users(user_U[row_U], sparse.csr_array(history_UI[row_U]))
        fill = (0, (1 << max(len(row_P) - 1, 0).bit_length()) - len(row_P))
        pairs = np.pad(row_P, fill), np.pad(self.column_I[item_P], fill, constant_values=items)  # dropped: beyond the last item
        parameters = user_UV, bias_U, self.target_IV, self.bias_I, jax.device_put(allowed_I[self.order_I])
        top_UK, score_UK = jax.device_get(_best(*parameters, *pairs, top=places))
        top_UK, score_UK = top_UK[:users, :count], score_UK[:users, :count]
        if np.isnan(score_UK).any():
            raise FloatingPointError("a score is NaN")
        return Best(np.where(np.isneginf(score_UK), -1, self.order_I[top_UK]), score_UK)

    def _approximate(
        self, user_U: np.ndarray, history_UI: sparse.csr_array, row_P: np.ndarray, item_P: np.ndarray, count: int
    ) -> Best | None:
        """The same by the index, with exact scores of what it finds; None where so many items are left out that it could miss a place."""
        assert self.index is not None
        left_out_U = np.bincount(row_P, minlength=len(user_U))
        wanted = count + int(left_out_U.max(initial=0))
        if wanted > MOST_WANTED:
            return None
        user_UV, bias_U = (np.asarray(x) for x in self.users(user_U, history_UI))
        found_UC = self.index.search(user_UV, wanted)
        at_UC = np.maximum(found_UC, 0)
        score_UC = np.einsum("uv,ucv->uc", user_UV, self._target_IV[at_UC]) + self._bias_I[at_UC] + bias_U[:, None]
        columns = len(self.order_I)
        is_out_UC = (found_UC < 0) | np.isin(
            np.arange(len(user_U))[:, None] * columns + at_UC, row_P * columns + self.column_I[item_P]
        )
        score_UC = np.where(is_out_UC, -np.inf, score_UC)
        order_UK = np.lexsort((at_UC, -score_UC))[:, :count]
        score_UK, at_UK = np.take_along_axis(score_UC, order_UK, 1), np.take_along_axis(at_UC, order_UK, 1)
        if np.isneginf(score_UK).any() or score_UK.shape[1] < count:
            return None
        return Best(self.order_I[at_UK], score_UK.astype(np.float32))

    @cached_property
    def _target_IV(self) -> np.ndarray:
        return np.asarray(self.target_IV)

    @cached_property
    def _bias_I(self) -> np.ndarray:
        return np.asarray(self.bias_I)

    def recall(self, user_U: np.ndarray, history_UI: sparse.csr_array, count: int) -> float:
        """The share of the exact first places, of these users, that the index finds."""
        index, everything, nothing = self.index, np.ones(len(self.order_I), bool), (np.zeros(0, np.int64), np.zeros(0, np.int64))
        assert index is not None
        found_UK = self.order_I[index.search(np.asarray(self.users(user_U, history_UI)[0]), count)]
        self.index = None
        exact_UK = self.best(user_U, history_UI, everything, *nothing, count).item_UK
        self.index = index
        return float(np.mean([np.isin(exact_K, found_K).mean() for exact_K, found_K in zip(exact_UK, found_UK, strict=True)]))
