"""User-level differential privacy of what is trained: its settings, the mechanism that a training is, and its accountant.

The unit is a user: profile and all interactions. Two training sets are neighbours if one has a user more. A step takes each user with
probability q, clips one gradient of each to the norm C, adds N(0, σ²C²) to the sum and divides by the expected number of users (DP-SGD,
Abadi et al. 2016, arXiv 1607.00133; of users, McMahan et al. 2018, arXiv 1710.06963). T steps are T compositions of a Poisson-sampled
Gaussian mechanism of sensitivity C, whatever is made of the noisy gradients afterwards (AdamW, clipping, schedules). ε by the privacy
loss distribution (dp-accounting). The items' texts and attributes are public, and so are θ, N₀, q, C, σ, T and m.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any, NamedTuple, cast

import numpy as np
from scipy import sparse

from cold_jax.batching.batch import Batches, Batching, BatchInputs
from cold_jax.batching.private import PrivateBatches
from cold_jax.batching.sampled import InBatchSampling
from cold_jax.data.dataset import Entities
from cold_jax.errors import ConfigError, DataError
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView
from cold_jax.training.coupling import coupled

EXTRA = "pip install 'cold_jax[privacy]'"
UNIT = "a user: profile and all training interactions; neighbours: one user more or fewer"
TOLERANCE = 1e-4  # of σ
INTERVAL = 1e-3  # of the privacy loss: ε is an upper bound at any, and here within 1e-4 of the default's in a tenth of the time
COVERED = ("head.safetensors", "delta.safetensors", "checkpoints")
NOT_COVERED = (
    "baselines and the intervals against them: fitted on the users as they are",
    "test figures, per_user.parquet and rankings.parquet: of test users, who are read as they are",
    "results.json, cold_jax.log and split.csv: counts, digests and rows of the data; and what else is published of people",
    "what is shown of a user to the model when it answers",
    "what the run starts from: the encoder θ counts as public, so it must not have learned from these users",
    "settings chosen by looking at results of other runs",
    "floating point: noise is float32 from a 64-bit threefry key, for research",
)


@dataclass(frozen=True)
class Mechanism:
    """What a training releases of its users. The step and the batches read their numbers here, and so does the accountant."""

    sampling_rate: float  # q
    users: int  # N₀
    clip: float  # C
    steps: int  # T, that are planned
    epsilon: float | None  # wanted; None: no noise
    delta: float

    @property
    def expected_users(self) -> float:
        """Of a step: q N₀."""
        return self.sampling_rate * self.users

    @cached_property
    def noise_multiplier(self) -> float:
        """σ: the smallest with which the planned steps cost no more than ε."""
        if self.epsilon is None or self.steps == 0:
            return 0.0
        from dp_accounting import calibrate_dp_mechanism  # pyright: ignore[reportMissingImports]

        def make_event(sigma: float) -> Any:
            return event(self.sampling_rate, sigma, self.steps)

        return float(calibrate_dp_mechanism(_accountant, make_event, self.epsilon, self.delta, tol=TOLERANCE))

    def spent(self, steps: int) -> float | None:
        """ε of so many steps with this noise; None: unbounded."""
        return spent(self.sampling_rate, self.noise_multiplier, steps, self.delta)

    def report(self, steps: int) -> dict[str, Any]:
        """What results.json says after `steps` steps were taken."""
        return {
            "epsilon": self.spent(steps),
            "delta": self.delta,
            "unit": UNIT,
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.sampling_rate,
            "steps": steps,
            "clip": self.clip,
            "users": self.users,
            "accountant": "dp-accounting, privacy loss distribution",
            "covered": list(COVERED),
            "not_covered": list(NOT_COVERED),
        }


def event(sampling_rate: float, noise_multiplier: float, steps: int) -> Any:
    """The dp_accounting event of a training."""
    from dp_accounting import (  # pyright: ignore[reportMissingImports]
        GaussianDpEvent,
        PoissonSampledDpEvent,
        SelfComposedDpEvent,
    )

    return SelfComposedDpEvent(PoissonSampledDpEvent(sampling_rate, GaussianDpEvent(noise_multiplier)), steps)


def spent(sampling_rate: float, noise_multiplier: float, steps: int, delta: float) -> float | None:
    """ε of `steps` steps at δ; None where it is unbounded."""
    if steps == 0:
        return 0.0
    if noise_multiplier == 0:
        return None
    found = float(_accountant().compose(event(sampling_rate, noise_multiplier, steps)).get_epsilon(delta))
    return found if math.isfinite(found) else None


def _accountant() -> Any:
    from dp_accounting.pld import PLDAccountant  # pyright: ignore[reportMissingImports]

    return PLDAccountant(value_discretization_interval=INTERVAL)


def recompute(report: Mapping[str, Any]) -> float | None:
    """ε again, from the block `privacy` of results.json."""
    return spent(report["sampling_rate"], report["noise_multiplier"], report["steps"], report["delta"])


class PrivateTraining(NamedTuple):
    """What a training with privacy has besides: its mechanism, and how many users' gradients are computed at once."""

    mechanism: Mechanism
    microbatch: int | None


@dataclass(frozen=True)
class NoPrivacy:
    """Training reads its users as they are."""

    def require(self, choices: Mapping[str, object]) -> None:
        """Raises ConfigError where another choice of the run (group → choice) does not go with this one."""

    def require_public(self, items: Entities, cold_I: np.ndarray) -> None:
        """Raises DataError where the catalogue depends on the interactions."""

    def batches(self, batching: Batching, inputs: BatchInputs) -> Batches:
        return batching(inputs)

    def training(self, batches: Batches, steps: int) -> PrivateTraining | None:
        """Of so many steps of these batches; None: nothing is promised."""
        return None

    def view(self, train: TrainView) -> TrainView:
        """What a model may be built from."""
        return train


@dataclass(frozen=True)
class UserLevelPrivacy(NoPrivacy):
    """(ε, δ) for each user.

    epsilon: null: clipped, without noise and without a guarantee, for comparison. delta: null: 1 / N₀^1.1. users: N₀, a public number near that of the
    training users, whose own number is private. clip: C. pairs: m, targets of a user in a step. microbatch: users whose gradients are
    computed at once; null: all, and one where the encoder learns.
    """

    epsilon: float | None
    delta: float | None
    users: int
    clip: float
    pairs: int
    microbatch: int | None

    def __post_init__(self) -> None:
        require("privacy", self, above_0=["epsilon", "delta", "clip"], at_least_1=["users", "pairs", "microbatch"])
        if self.delta is not None and self.delta >= 1 / self.users:
            raise ConfigError(f"privacy.delta: {self.delta:g} would allow to publish a user; give less than 1 / privacy.users")

    def require(self, choices: Mapping[str, object]) -> None:
        for library in ("dp_accounting", "jax_privacy"):
            if find_spec(library) is None:
                raise ConfigError(f"privacy: dp needs {library}; {EXTRA}")
        for key, why in coupled(choices, self.users):
            raise ConfigError(f"{key}: privacy=dp {why}")

    def require_public(self, items: Entities, cold_I: np.ndarray) -> None:
        if items.without_row:
            raise DataError(
                f"data: privacy=dp: {items.without_row} items are known by interactions alone, and the catalogue must be public; "
                "give them rows in data.items"
            )
        if cold_I.any():
            raise DataError("split: privacy=dp: which items are cold follows from interactions; use a split with cold users")

    def batches(self, batching: Batching, inputs: BatchInputs) -> Batches:
        return PrivateBatches(cast(InBatchSampling, batching), inputs, self.users, self.pairs, self.microbatch)

    def training(self, batches: Batches, steps: int) -> PrivateTraining:
        delta = self.users**-1.1 if self.delta is None else self.delta
        rate = cast(PrivateBatches, batches).sampling_rate
        return PrivateTraining(Mechanism(rate, self.users, self.clip, steps, self.epsilon, delta), self.microbatch)

    def view(self, train: TrainView) -> TrainView:
        """What is public: texts and attributes of all items, without an interaction."""
        none_N, shape = np.empty(0, np.int64), train.interaction_UI.shape
        return replace(
            train,
            interaction_UI=sparse.csr_array(shape, dtype=train.interaction_UI.dtype),
            warm_U=np.zeros_like(train.warm_U),
            warm_I=np.ones_like(train.warm_I),
            user_N=none_N,
            item_N=none_N,
            value_N=none_N.astype(np.float32),
            time_N=none_N.astype(np.float64),
            like_N=None,
            first_seen_U=None,
        )
