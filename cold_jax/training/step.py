"""One step of training: a batch's loss, its gradient, an update where all of it is finite.

It comes in two forms with the same losses. `whole` is one program, for any number of devices. `slices` is three small ones and a
loop in Python over slices of packed rows, for one CPU: its activations stay in the cache and it is compiled once, whatever the batch.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from cold_jax import seeds
from cold_jax.batching.batch import Batch
from cold_jax.models.base import Partition, encode_rows, encode_texts
from cold_jax.text.packing import Rows
from cold_jax.text.packing import row_slices as slices_of
from cold_jax.training.parallel import Collectives, Parallel, Step, on_one, single_device

Tree = Any


class StepMode(Enum):
    """auto: slices on one CPU device where texts are encoded in the step, else whole."""

    auto = "auto"
    fused = "fused"
    microbatched = "microbatched"


class State(NamedTuple):
    trainable: Tree
    optimizer: Tree
    step: jax.Array


class StepSpec(NamedTuple):
    """What a step is made of."""

    graph: Any
    objective: Any
    optimizer: optax.GradientTransformation
    microbatch_rows: int
    dropout: bool
    seed: int

    def key(self, step: jax.Array) -> jax.Array | None:
        return seeds.key(self.seed, "dropout", step) if self.dropout else None

    def loss(self, model: Any, encoded: jax.Array, batch: Batch, collectives: Collectives, key: jax.Array | None) -> jax.Array:
        """This device's share of the mean loss."""
        score = self.objective.read(model, encoded, batch.examples, batch.items, key)
        loss, weight = self.objective(score, batch.examples, batch.items)
        return loss / collectives.psum(weight)

    def update(self, state: State, loss: jax.Array, gradient: Tree) -> tuple[State, Tree]:
        """The next state, which is the old one where anything is not finite, and {loss, finite}."""
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in [loss, *jax.tree.leaves(gradient)]])
        updates, moments = self.optimizer.update(gradient, state.optimizer, state.trainable)
        new = State(optax.apply_updates(state.trainable, updates), moments, state.step + 1)
        return jax.tree.map(lambda a, b: jnp.where(finite.all(), a, b), new, state), {"loss": loss, "finite": finite}


def fused_step(recipe: StepSpec) -> Step:
    """(θ, state, batch) → (state, record), as one function."""

    def step(frozen: Tree, state: State, batch: Batch, collectives: Collectives) -> tuple[State, Tree]:
        def loss_of(trainable: Tree) -> jax.Array:
            model = Partition(recipe.graph, trainable, frozen).model()
            key = recipe.key(state.step)
            encoded = encode_texts(model, batch.rows, recipe.microbatch_rows * collectives.rows, key)
            return recipe.loss(model, collectives.gather(encoded), batch, collectives, key)

        loss, gradient = collectives.psum(jax.value_and_grad(loss_of)(state.trainable))
        return recipe.update(state, loss, gradient)

    return step


def microbatched_step(recipe: StepSpec) -> Parallel:
    """The same on one device: slices forward, the head, slices backward. A slice without a text is left out."""
    model = lambda trainable, frozen: Partition(recipe.graph, trainable, frozen).model()  # noqa: E731

    @jax.jit
    def forward(frozen: Tree, state: State, piece: Rows) -> tuple[jax.Array, Callable[[jax.Array], tuple[Tree]]]:
        read = lambda trainable: encode_rows(model(trainable, frozen), piece, recipe.key(state.step))  # noqa: E731
        return jax.vjp(read, state.trainable)

    @jax.jit
    def head(frozen: Tree, state: State, pieces: list[jax.Array], batch: Batch) -> tuple[jax.Array, tuple[Tree, list[jax.Array]]]:
        def loss_of(trainable: Tree, pieces: list[jax.Array]) -> jax.Array:
            encoded = jnp.concatenate(pieces)
            return recipe.loss(
                model(trainable, frozen), encoded.reshape(-1, *encoded.shape[2:]), batch, single_device, recipe.key(state.step)
            )

        return jax.value_and_grad(loss_of, (0, 1))(state.trainable, pieces)

    @partial(jax.jit, donate_argnums=0)
    def backward(gradient: Tree, pull: Callable[[jax.Array], tuple[Tree]], cotangent: jax.Array) -> Tree:
        return jax.tree.map(jnp.add, gradient, pull(cotangent)[0])

    update, zeros_like = jax.jit(recipe.update, donate_argnums=0), jax.jit(jnp.zeros_like)

    def step(frozen: Tree, state: State, batch: Batch) -> tuple[State, Tree]:
        done = [None if piece is None else forward(frozen, state, piece) for piece in batch.rows]
        empty = zeros_like(next(out for out, _ in filter(None, done)))
        loss, (gradient, cotangents) = head(
            frozen, state, [empty if o is None else o[0] for o in done], batch._replace(rows=None)
        )
        for out, cotangent in zip(done, cotangents, strict=True):
            gradient = gradient if out is None else backward(gradient, out[1], cotangent)
        return update(state, loss, gradient)

    def shard(batch: Batch) -> Batch:
        pieces = slices_of(cast(Rows, batch.rows), recipe.microbatch_rows)
        return jax.device_put(batch._replace(rows=[piece if piece.segment_RL.any() else None for piece in pieces]))

    return on_one(step, shard)


def resolve_mode(form: StepMode, devices: int, packed: bool) -> StepMode:
    """whole or slices. Raises ValueError where slices are asked for and there are none, or several devices."""
    sliceable = packed and devices == 1
    if form is StepMode.microbatched and not sliceable:
        raise ValueError("loop.step: slices need one device and an encoder that runs in the step; use auto or whole")
    on_cpu = jax.local_devices()[0].platform == "cpu"
    return (StepMode.microbatched if sliceable and on_cpu else StepMode.fused) if form is StepMode.auto else form
