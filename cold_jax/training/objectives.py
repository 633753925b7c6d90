"""Training losses: (scores, examples, items) → (Σ weighted losses, Σ weights), so that devices can be summed.

A user's training positives, the history among them, are never their negatives. `read` computes the scores from what a step encoded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cold_jax.batching.batch import Examples, Items
from cold_jax.batching.masked import Predicted
from cold_jax.models.base import score_candidates, score_pairs
from cold_jax.models.language_model import token_logits
from cold_jax.ranges import require


class Objective:
    """A training loss, a choice of conf/objective."""

    predicts_tokens: ClassVar[bool] = False
    read: ClassVar[Callable[..., jax.Array]]  # (model, encoded, examples, items, key) → scores

    def __call__(self, score_BJ: jax.Array, examples: Any, items: Any) -> tuple[jax.Array, jax.Array]:
        """(sum of the examples' weighted losses, sum of their weights)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Softmax(Objective):
    """−log softmax of the target among the step's items.

    log_q subtracts each item's log sampling probability from its logit, so that in-batch candidates estimate the softmax over the whole
    catalogue (sampled softmax; Yi et al. 2019, doi 10.1145/3298689.3346996).
    """

    temperature: float
    log_q: bool

    def __post_init__(self) -> None:
        require("objective", self, above_0=["temperature"])

    read = staticmethod(score_candidates)

    def __call__(self, score_BJ: jax.Array, examples: Examples, items: Items) -> tuple[jax.Array, jax.Array]:
        logit_BJ = score_BJ / self.temperature
        if self.log_q:
            logit_BJ = logit_BJ - items.log_q_J[None]
        target_BJ = _is_target(examples, items)
        allowed_BJ = target_BJ | _negatives(examples, items)
        log_p_BJ = jax.nn.log_softmax(jnp.where(allowed_BJ, logit_BJ, -jnp.inf), axis=1)
        loss_B = -jnp.where(target_BJ, log_p_BJ, 0.0).sum(1)
        return (loss_B * examples.weight_B).sum(), examples.weight_B.sum()


@dataclass(frozen=True)
class Bpr(Objective):
    """−log σ(s_target − s_negative), mean over the step's negatives of a user (Rendle et al. 2009, arXiv 1205.2618)."""

    read = staticmethod(score_candidates)

    def __call__(self, score_BJ: jax.Array, examples: Examples, items: Items) -> tuple[jax.Array, jax.Array]:
        target_B = jnp.take_along_axis(score_BJ, examples.target_B[:, None], 1)
        loss_B = _mean(-jax.nn.log_sigmoid(target_B - score_BJ), _negatives(examples, items))
        return (loss_B * examples.weight_B).sum(), examples.weight_B.sum()


@dataclass(frozen=True)
class Bce(Objective):
    """Binary cross-entropy with the target as 1 and the step's negatives, on average, as 0."""

    read = staticmethod(score_candidates)

    def __call__(self, score_BJ: jax.Array, examples: Examples, items: Items) -> tuple[jax.Array, jax.Array]:
        target_B = jnp.take_along_axis(score_BJ, examples.target_B[:, None], 1)[:, 0]
        loss_B = -jax.nn.log_sigmoid(target_B) + _mean(-jax.nn.log_sigmoid(-score_BJ), _negatives(examples, items))
        return (loss_B * examples.weight_B).sum(), examples.weight_B.sum()


@dataclass(frozen=True)
class BceRatings(Objective):
    """Binary cross-entropy of ratings: one of at least `threshold` is a 1."""

    threshold: float

    read = staticmethod(score_pairs)

    def __call__(self, score_B: jax.Array, examples: Examples, items: Items) -> tuple[jax.Array, jax.Array]:
        sign_B = jnp.where(examples.value_B >= self.threshold, 1.0, -1.0)
        return (-jax.nn.log_sigmoid(sign_B * score_B) * examples.weight_B).sum(), examples.weight_B.sum()


@dataclass(frozen=True)
class TokenCrossEntropy(Objective):
    """−log softmax over the vocabulary of each token to predict."""

    predicts_tokens: ClassVar[bool] = True

    read = staticmethod(token_logits)

    def __call__(self, logit_BX: jax.Array, examples: Predicted, items: None) -> tuple[jax.Array, jax.Array]:
        log_p_B = jnp.take_along_axis(jax.nn.log_softmax(logit_BX), examples.token_B[:, None], 1)[:, 0]
        return -(log_p_B * examples.weight_B).sum(), examples.weight_B.sum()


def _is_target(examples: Examples, items: Items) -> jax.Array:
    return jnp.arange(len(items.item_J))[None] == examples.target_B[:, None]


def _negatives(examples: Examples, items: Items) -> jax.Array:
    return jnp.asarray(items.valid_J)[None] & ~jnp.asarray(examples.seen_BJ)


def _mean(value_BJ: jax.Array, where_BJ: jax.Array) -> jax.Array:
    return jnp.where(where_BJ, value_BJ, 0.0).sum(1) / jnp.maximum(where_BJ.sum(1, dtype=value_BJ.dtype), 1)
