"""The one place that builds an optax transformation: AdamW with clipping, a schedule and gradient accumulation."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import jax
import optax


class Schedule(Enum):
    """The learning rate after the warm-up: as it is, or down to zero at the last step."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).

    learning_rate of the head; warmup in steps; weight_decay of matrices only, never of biases,
    norms and scalars; clip, the gradient's largest global norm; accumulate, steps for one update.
    """

    learning_rate: float
    schedule: Schedule
    warmup: int
    weight_decay: float
    b1: float
    b2: float
    clip: float
    accumulate: int

    def rate(self, updates: int) -> optax.Schedule:
        """The head's learning rate at each of so many updates."""
        end = max(updates - self.warmup, 1)
        after = {
            Schedule.constant: optax.constant_schedule(self.learning_rate),
            Schedule.linear: optax.linear_schedule(self.learning_rate, 0.0, end),
            Schedule.cosine: optax.cosine_decay_schedule(self.learning_rate, end),
        }[self.schedule]
        return (
            optax.join_schedules([optax.linear_schedule(0.0, self.learning_rate, self.warmup), after], [self.warmup])
            if self.warmup
            else after
        )

    def __call__(self, updates: int, encoder_rate: float) -> optax.GradientTransformation:
        """For a run of so many updates, on a pytree whose paths begin with "encoder" where a leaf is of Δθ.

        Δθ has `encoder_rate` times the head's learning rate.
        """
        rate = self.rate(updates)
        adamw = [optax.scale_by_adam(self.b1, self.b2), optax.add_decayed_weights(self.weight_decay, _are_matrices)]
        parts: dict[Hashable, optax.GradientTransformation] = {
            "head": optax.chain(*adamw, optax.scale_by_learning_rate(rate)),
            "encoder": optax.chain(*adamw, optax.scale_by_learning_rate(lambda step: encoder_rate * rate(step))),
        }
        update = optax.chain(optax.clip_by_global_norm(self.clip), optax.partition(parts, _labels))
        return optax.MultiSteps(update, self.accumulate).gradient_transformation() if self.accumulate > 1 else update


def _are_matrices(tree: Any) -> Any:
    # The biases and scales of stacked layers have two axes as well.
    vector = lambda path: any(name in jax.tree_util.keystr(path) for name in ("'bias'", "'scale'"))  # noqa: E731
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf.ndim >= 2 and not vector(path), tree)


def _labels(tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "encoder" if "encoder" in jax.tree_util.keystr(path[:1]) else "head", tree
    )
