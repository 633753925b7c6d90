"""The one place that builds an optax transformation: AdamW with clipping, a schedule and gradient accumulation."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import jax
import optax

from cold_jax.ranges import require


class Schedule(Enum):
    """The learning rate after the warm-up: constant, or down to zero after the last update."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).

    learning_rate is the head's; warmup counts updates; weight_decay applies to matrices only, never to biases, norms and scalars;
    clip is the largest global norm of a gradient; accumulate is the number of steps per update. ema is the decay of an average of the
    weights over the steps (Polyak & Juditsky 1992), which is validated and kept in their place; 0: the weights themselves are.
    """

    learning_rate: float
    schedule: Schedule
    warmup: int
    weight_decay: float
    b1: float
    b2: float
    clip: float
    accumulate: int
    ema: float

    def __post_init__(self) -> None:
        require("optimizer", self, above_0=["learning_rate", "clip"], at_least_1=["accumulate"])
        require("optimizer", self, at_least_0=["warmup", "weight_decay"], fractions=["b1", "b2", "ema"])

    def learning_rate_schedule(self, updates: int) -> optax.Schedule:
        """The head's learning rate at each of `updates` updates."""
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

    def __call__(self, updates: int, lr_scale: float) -> optax.GradientTransformation:
        """The transformation of a run of `updates` updates. Leaves whose path begins with "encoder" are Δθ.

        Δθ gets `lr_scale` times the head's learning rate.
        """
        rate = self.learning_rate_schedule(updates)
        adamw = [optax.scale_by_adam(self.b1, self.b2), optax.add_decayed_weights(self.weight_decay, _are_matrices)]
        by_label: dict[Hashable, optax.GradientTransformation] = {
            "head": optax.chain(*adamw, optax.scale_by_learning_rate(rate)),
            "encoder": optax.chain(*adamw, optax.scale_by_learning_rate(lambda step: lr_scale * rate(step))),
        }
        update = optax.chain(optax.clip_by_global_norm(self.clip), optax.partition(by_label, _labels))
        return optax.MultiSteps(update, self.accumulate).gradient_transformation() if self.accumulate > 1 else update


def _are_matrices(tree: Any) -> Any:
    # The biases and scales of stacked layers have two axes as well.
    vector = lambda path: any(name in jax.tree_util.keystr(path) for name in ("'bias'", "'scale'"))  # noqa: E731
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf.ndim >= 2 and not vector(path), tree)


def _labels(tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "encoder" if "encoder" in jax.tree_util.keystr(path[:1]) else "head", tree
    )
