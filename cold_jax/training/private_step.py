"""A step of user-level DP-SGD: one clipped gradient a user, noise on their sum, divided by the expected number of users.

Two neighbouring batches differ in one user, whose clipped gradient has a norm of at most C: the sum over users has sensitivity C. It
stays so because nothing else in a user's loss is another user's: all items are candidates, their texts are public, a user's own text is
encoded in a row of its own, and no count of interactions is read. One norm is clipped, that of head and Δθ together. N(0, σ²C²) is added
once, after the sum over devices. A user whose gradient is not finite adds zero. A step without a user is a step of noise. Clip, sum and
noise are float32.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cold_jax.batching.batch import Batch, Examples
from cold_jax.batching.private import PublicItems, UserExamples
from cold_jax.models.base import Partition, encode_texts
from cold_jax.training.parallel import Collectives, Step
from cold_jax.training.privacy import Mechanism
from cold_jax.training.step import State, StepSpec

Tree = Any


def private_step(spec: StepSpec, mechanism: Mechanism, microbatch: int | None) -> Step:
    """(frozen leaves, state, batch, collectives) → (state, record). The record holds no loss: a loss is not private."""

    def step(frozen: Tree, state: State, batch: Batch, collectives: Collectives) -> tuple[State, Tree]:
        users, public = batch.examples, batch.items
        summed = clipped_sum(spec, mechanism.clip, frozen, state.trainable, users, public, microbatch)  # type: ignore[arg-type]
        key = jax.random.wrap_key_data(jnp.asarray(public.noise_2), impl="threefry2x32")  # type: ignore[attr-defined]
        gradient = noisy_mean(collectives.psum(summed), mechanism, key)
        state, record = spec.update(state, jnp.zeros(()), gradient)
        return state, {"finite": record["finite"]}

    return step


def clipped_sum(
    spec: StepSpec,
    clip: float,
    frozen: Tree,
    trainable: Tree,
    users: UserExamples,
    public: PublicItems,
    microbatch: int | None,
) -> Tree:
    """Σ over users of min(1, C / ‖g‖) g, where g is the gradient of the mean loss of a user's targets by all that trains."""
    from jax_privacy.clipping import clipped_fun  # pyright: ignore[reportMissingImports]

    gradient = user_gradient(spec, frozen, trainable, public)
    clipped = clipped_fun(
        lambda user: zero_unless_finite(gradient(user)),
        l2_clip_norm=clip,
        keep_batch_dim=False,
        microbatch_size=microbatch if microbatch or public.rows is None else 1,
        dtype=jnp.float32,
    )
    return clipped(users, is_padding_example=jnp.asarray(users.absent_B))


def user_gradient(spec: StepSpec, frozen: Tree, trainable: Tree, public: PublicItems) -> Callable[[UserExamples], Tree]:
    """A user's row → the gradient of their loss by the trainable leaves; of many users at once under vmap.

    The items' texts are public, so their vectors are computed once for all users. Where the encoder learns, each user's own cotangent of
    these vectors is pulled back through it: a user costs a backward pass over the catalogue.
    """
    model_of = lambda trainable: Partition(spec.graph, trainable, frozen).model()  # noqa: E731
    items = public.items

    def features(trainable: Tree) -> jax.Array:
        model = model_of(trainable)
        if public.rows is None:
            return model.item_features(model.encoder(items.slot_J), items.item_J)
        vector_TD = encode_texts(model, public.rows, spec.microbatch_rows)
        return model.item_features(vector_TD[items.slot_J], items.item_J)

    def loss(trainable: Tree, feature_JF: jax.Array, user: UserExamples) -> jax.Array:
        model = model_of(trainable)
        profile_BD = model.encoder(user.profile_B[None]) if user.rows is None else model.encoder(user.rows)[:1]
        score_BJ = model.scores_of_features(profile_BD, user.history_BK[None], user.weight_BK[None], feature_JF)
        P = len(user.target_BP)
        share = lambda x_J: jnp.broadcast_to(x_J, (P, *x_J.shape[-1:]))  # noqa: E731
        examples = Examples(
            user_B=jnp.zeros(P, jnp.int32),  # type: ignore[arg-type]
            profile_B=jnp.zeros(P, jnp.int32),  # type: ignore[arg-type]
            length_B=jnp.zeros(P, jnp.int32),  # type: ignore[arg-type]
            target_B=user.target_BP,
            history_BJ=jnp.zeros((P, 0)),  # type: ignore[arg-type]
            seen_BJ=share(jnp.asarray(user.seen_BJ)),  # type: ignore[arg-type]
            value_B=user.value_BP,
            weight_B=user.weight_BP,
        )
        total, weight = spec.objective(share(score_BJ[0]), examples, items)
        return total / jnp.maximum(weight, 1.0)

    if public.rows is None:
        feature_JF = features(trainable)
        return lambda user: jax.grad(loss)(trainable, feature_JF, user)
    feature_JF, pull_back = jax.vjp(features, trainable)

    def gradient(user: UserExamples) -> Tree:
        own, cotangent_JF = jax.grad(loss, (0, 1))(trainable, feature_JF, user)
        return jax.tree.map(jnp.add, own, pull_back(cotangent_JF)[0])

    return gradient


def zero_unless_finite(gradient: Tree) -> Tree:
    """A user's gradient, or zeros where any of its numbers is not finite."""
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)]).all()
    return jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), gradient)


def noisy_mean(summed: Tree, mechanism: Mechanism, key: jax.Array) -> Tree:
    """(sum + N(0, σ²C²)) / (q N₀), each leaf's noise from a key of its own."""
    leaves, treedef = jax.tree.flatten(summed)
    scale = mechanism.noise_multiplier * mechanism.clip
    keys = jax.random.split(key, len(leaves))
    noisy = [
        (leaf + scale * jax.random.normal(k, leaf.shape, jnp.float32)) / mechanism.expected_users
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(treedef, noisy)
