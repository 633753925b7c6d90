"""One step of training: a batch's loss, its gradient, an update where all of it is finite.

There are two forms with the same losses. `fused_step` is one program, for any number of devices. `microbatched_step` is three small ones
and a Python loop over microbatches of packed rows, for one CPU: activations stay in the cache, and it is compiled once, whatever the batch.
"""

import math
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from cold_jax import seeds
from cold_jax.batching.batch import Batch
from cold_jax.errors import ConfigError
from cold_jax.models.base import Partition, encode_rows, encode_texts
from cold_jax.text.packing import Rows, row_slices
from cold_jax.training.parallel import Collectives, Parallel, Step, on_single_device, single_device

Tree = Any


class StepMode(Enum):
    """auto: microbatched on one CPU device where texts are encoded in the step, else fused."""

    auto = "auto"
    fused = "fused"
    microbatched = "microbatched"


class State(NamedTuple):
    trainable: Tree
    optimizer: Tree
    step: jax.Array
    average: Tree = None  # of the trainable leaves over the steps; None: there is none

    @property
    def kept(self) -> Tree:
        """What is validated, and kept of a step: the average, where there is one."""
        return self.trainable if self.average is None else self.average


class StepSpec(NamedTuple):
    """What a training step is made of."""

    graph: Any
    objective: Any
    optimizer: optax.GradientTransformation
    microbatch_rows: int
    dropout: bool
    seed: int
    ema: float  # decay of the average of the trainable leaves; 0: there is none

    def start(self, trainable: Tree) -> State:
        """The state before the first step."""
        return State(trainable, self.optimizer.init(trainable), jnp.zeros((), jnp.int32), trainable if self.ema else None)

    def key(self, step: jax.Array) -> jax.Array | None:
        return seeds.key(self.seed, "dropout", step) if self.dropout else None

    def loss(self, model: Any, encoded: jax.Array, batch: Batch, collectives: Collectives, key: jax.Array | None) -> jax.Array:
        """This device's share of the mean loss over all devices' examples."""
        score = self.objective.read(model, encoded, batch.examples, batch.items, key)
        loss, weight = self.objective(score, batch.examples, batch.items)
        return loss / collectives.psum(weight)

    def update(self, state: State, loss: jax.Array, gradient: Tree) -> tuple[State, Tree]:
        """(next state, {loss, finite}). Where the loss or a gradient is not finite the state is returned unchanged."""
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in [loss, *jax.tree.leaves(gradient)]])
        updates, moments = self.optimizer.update(gradient, state.optimizer, state.trainable)
        trainable: Any = optax.apply_updates(state.trainable, updates)
        new = State(trainable, moments, state.step + 1, self._averaged(trainable, state))
        return jax.tree.map(lambda a, b: jnp.where(finite.all(), a, b), new, state), {"loss": loss, "finite": finite}

    def _averaged(self, trainable: Tree, state: State) -> Tree:
        """m_t = (1 − β) Σ_{s ≤ t} β^(t−s) θ_s / (1 − β^t), step by step: after the first it is θ_1, whatever the start."""
        if not self.ema:
            return None
        log_decay = math.log(self.ema)
        share = math.expm1(log_decay) / jnp.expm1(log_decay * (state.step + 1).astype(jnp.float32))
        return optax.incremental_update(trainable, state.average, share)


def fused_step(spec: StepSpec) -> Step:
    """(frozen leaves, state, batch, collectives) → (state, record), as one function."""

    def step(frozen: Tree, state: State, batch: Batch, collectives: Collectives) -> tuple[State, Tree]:
        def loss_of(trainable: Tree) -> jax.Array:
            model = Partition(spec.graph, trainable, frozen).model()
            key = spec.key(state.step)
            encoded = encode_texts(model, batch.rows, spec.microbatch_rows * collectives.rows, key)
            return spec.loss(model, collectives.gather(encoded), batch, collectives, key)

        loss, gradient = collectives.psum(jax.value_and_grad(loss_of)(state.trainable))
        return spec.update(state, loss, gradient)

    return step


def microbatched_step(spec: StepSpec) -> Parallel:
    """The same on one device: microbatches forward, the loss, microbatches backward. One without a text is skipped."""
    model = lambda trainable, frozen: Partition(spec.graph, trainable, frozen).model()  # noqa: E731

    @jax.jit
    def forward(frozen: Tree, state: State, microbatch: Rows) -> tuple[jax.Array, Callable[[jax.Array], tuple[Tree]]]:
        read = lambda trainable: encode_rows(model(trainable, frozen), microbatch, spec.key(state.step))  # noqa: E731
        return jax.vjp(read, state.trainable)

    @jax.jit
    def loss_and_gradient(
        frozen: Tree, state: State, outputs: list[jax.Array], batch: Batch
    ) -> tuple[jax.Array, tuple[Tree, list[jax.Array]]]:
        def loss_of(trainable: Tree, outputs: list[jax.Array]) -> jax.Array:
            encoded = jnp.concatenate(outputs)
            return spec.loss(
                model(trainable, frozen), encoded.reshape(-1, *encoded.shape[2:]), batch, single_device, spec.key(state.step)
            )

        return jax.value_and_grad(loss_of, (0, 1))(state.trainable, outputs)

    @partial(jax.jit, donate_argnums=0)
    def backward(gradient: Tree, vjp: Callable[[jax.Array], tuple[Tree]], cotangent: jax.Array) -> Tree:
        return jax.tree.map(jnp.add, gradient, vjp(cotangent)[0])

    update, zeros_like = jax.jit(spec.update, donate_argnums=0), jax.jit(jnp.zeros_like)

    def step(frozen: Tree, state: State, batch: Batch) -> tuple[State, Tree]:
        done = [None if rows is None else forward(frozen, state, rows) for rows in batch.rows]
        empty = zeros_like(next(encoded for encoded, _ in filter(None, done)))
        outputs = [empty if output is None else output[0] for output in done]
        loss, (gradient, cotangents) = loss_and_gradient(frozen, state, outputs, batch._replace(rows=None))
        for output, cotangent in zip(done, cotangents, strict=True):
            gradient = gradient if output is None else backward(gradient, output[1], cotangent)
        return update(state, loss, gradient)

    def temporaries(frozen: Tree, state: Tree, batch: Batch) -> int | None:
        """All microbatches' results are kept until the last has gone backward."""
        rows = [each for each in batch.rows if each is not None]
        one = forward.trace(frozen, state, rows[0])
        encoded, vjp = one.out_info
        head = loss_and_gradient.trace(frozen, state, [encoded] * len(batch.rows), batch._replace(rows=None))
        _, (gradient, cotangents) = head.out_info
        programs = one, head, backward.trace(gradient, vjp, cotangents[0])
        found = [memory for traced in programs if (memory := traced.lower().compile().memory_analysis()) is not None]
        if len(found) < len(programs):
            return None
        ahead, of_loss, back = found
        later = of_loss.output_size_in_bytes + max(of_loss.temp_size_in_bytes, back.temp_size_in_bytes)
        return len(rows) * ahead.output_size_in_bytes + max(ahead.temp_size_in_bytes, later)

    def shard(batch: Batch) -> Batch:
        slices = row_slices(cast(Rows, batch.rows), spec.microbatch_rows)
        return jax.device_put(batch._replace(rows=[rows if rows.segment_RL.any() else None for rows in slices]))

    return on_single_device(step, shard, temporaries)


def resolve_mode(mode: StepMode, devices: int, packed: bool) -> StepMode:
    """fused or microbatched. Raises ConfigError where microbatches are wanted on several devices, or of an encoder that is a table."""
    possible = packed and devices == 1
    if mode is StepMode.microbatched and not possible:
        raise ConfigError("loop.step: microbatched needs one device and an encoder that runs in the step; use auto or fused")
    on_cpu = jax.local_devices()[0].platform == "cpu"
    return (StepMode.microbatched if possible and on_cpu else StepMode.fused) if mode is StepMode.auto else mode
