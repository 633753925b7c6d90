"""The microbatched step is the fused one; what its dropout and its mode depend on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from small import DROPOUT, FULL, LORA, TWO_TOWER, Frozen, Lstm, replace

from cold_jax import experiment
from cold_jax.batching.sampled import InBatchSampling
from cold_jax.models.base import encode_rows
from cold_jax.training.objectives import Bce, BceRatings
from cold_jax.training.parallel import single_device
from cold_jax.training.step import StepMode, microbatched_step, resolve_mode

ROWS = InBatchSampling(size=9, support=[0], history=None, negatives=0, full_softmax=False, group_by_item=False, **small.PLAIN)


@pytest.mark.parametrize(
    ("adapter", "model", "objective"),
    [
        (LORA, TWO_TOWER, small.SOFTMAX),
        (DROPOUT, TWO_TOWER, small.SOFTMAX),
        (replace(FULL, layers="last_1"), TWO_TOWER, small.SOFTMAX),
        (LORA, Lstm(width=4), BceRatings(threshold=4.0)),
    ],
)
def test_microbatched_trains_as_fused(prepared: experiment.Prepared, adapter: Any, model: Any, objective: Any) -> None:
    """Also with batches whose last microbatches hold no text; plain gradient descent shows a gradient of another size."""
    le = small.perturbed(
        small.train_setup(prepared, adapter, model, ROWS if isinstance(objective, BceRatings) else small.IN_BATCH)
    )
    used = [
        len([p for p in microbatched_step(small.spec(le, objective, optax.sgd(0.3))).shard_batch(le.batches(n)).rows if p])
        for n in range(3)
    ]
    assert max(used) > 1
    (fused, fused_states), (microbatched, microbatched_states) = (
        small.fit(le, objective, optax.sgd(0.3), 3, mode=mode) for mode in (StepMode.fused, StepMode.microbatched)
    )
    np.testing.assert_allclose(microbatched, fused, rtol=1e-5)
    assert np.ptp(fused) > 1e-3
    expected = small.leaves(fused_states[-1].trainable)
    for name, value in small.leaves(microbatched_states[-1].trainable).items():
        np.testing.assert_allclose(value, expected[name], atol=2e-6, err_msg=name)


def test_the_average_weights_later_steps_more(prepared: experiment.Prepared) -> None:
    """After four steps at a decay of 0.6: weights of 0.216, 0.36, 0.6 and 1 over their sum, and none of the start."""
    le = small.perturbed(small.train_setup(prepared, Frozen(), small.LinearModel()))
    _, states = small.fit(le, Bce(), optax.sgd(0.5), 4, ema=0.6)
    of_step = [small.leaves(state.trainable) for state in states]
    for name, value in small.leaves(states[4].kept).items():
        expected = sum(w * of_step[n + 1][name].astype(np.float64) for n, w in enumerate((0.216, 0.36, 0.6, 1.0))) / 2.176
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=name)
        assert np.abs(of_step[4][name] - value).max() > 1e-4, name
    for state, own in ((states[0], of_step[0]), (states[1], of_step[1])):
        for name, value in small.leaves(state.kept).items():
            np.testing.assert_allclose(value, own[name], rtol=1e-6, err_msg=name)
    _, plain = small.fit(le, Bce(), optax.sgd(0.5), 4)
    assert plain[4].kept is plain[4].trainable
    for name, value in small.leaves(plain[4].trainable).items():
        np.testing.assert_array_equal(value, of_step[4][name], err_msg=name)


def test_dropout_differs_by_step_and_by_seed(prepared: experiment.Prepared) -> None:
    """One batch and the same parameters: the loss is another at another step, or with another seed, and the same at the same."""
    le = small.perturbed(small.train_setup(prepared, Frozen(), small.METRIC, small.PREFIXES))
    batch, losses = le.batches(0), {}
    for seed in (0, 1):
        loss, state = small.loss_of(le, small.SOFTMAX, seed)
        for n in (0, 1, 2):
            losses[seed, n] = float(loss(state._replace(step=jnp.asarray(n, jnp.int32)), batch))
        assert losses[seed, 0] == float(loss(state, batch))
    assert len(set(losses.values())) == 6


def test_without_dropout_a_step_depends_on_the_batch_alone(prepared: experiment.Prepared) -> None:
    le = small.perturbed(small.train_setup(prepared, Frozen(), TWO_TOWER))
    step, state = small.step_of(le, small.SOFTMAX, optax.sgd(0.0))
    run = jax.jit(lambda state: step(le.partition.frozen, state, le.batches(0), single_device))
    after, record = run(state)
    assert int(after.step) == 1
    assert record["loss"] == run(after)[1]["loss"]  # a learning rate of 0


def test_microbatches_without_a_text_are_skipped(prepared: experiment.Prepared) -> None:
    le = small.train_setup(prepared, LORA, TWO_TOWER)
    step = microbatched_step(small.spec(le, small.SOFTMAX, optax.sgd(0.3)))
    rows = [step.shard_batch(le.batches(n)).rows for n in range(5)]
    assert any(piece is None for pieces in rows for piece in pieces)
    assert {len(pieces) for pieces in rows} == {len(rows[0])}


def test_each_microbatch_with_a_text_keeps_what_its_backward_pass_reads(prepared: experiment.Prepared) -> None:
    """Bytes that JAX itself keeps of one, times their number; and nothing of it is compiled again."""
    le = small.train_setup(prepared, LORA, TWO_TOWER)
    spec = small.spec(le, small.SOFTMAX, optax.sgd(0.3))
    many = microbatched_step(spec)
    frozen, state = many.replicate(le.partition.frozen), many.replicate_state(spec.start(le.partition.trainable))
    batch = many.shard_batch(le.batches(0))
    used = [rows for rows in batch.rows if rows is not None]
    two = batch._replace(rows=[*used[:2], *[None] * (len(batch.rows) - 2)])
    all_of_them, of_two = (many.temporaries(frozen, state, each) for each in (batch, two))
    read = lambda trainable: encode_rows(le.partition._replace(trainable=trainable).model(), used[0])  # noqa: E731
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(lambda x: jax.vjp(read, x), state.trainable)))
    assert all_of_them - of_two == pytest.approx((len(used) - 2) * kept, rel=0.03)
    assert of_two > 2 * kept
    with small.compilations() as compiled:
        many.step(frozen, state, batch)
    assert len(compiled) <= 2  # zeros for a microbatch without a text, and the update


@pytest.mark.parametrize(
    ("mode", "devices", "packed", "expected"),
    [
        (StepMode.auto, 1, True, StepMode.microbatched),
        (StepMode.auto, 2, True, StepMode.fused),
        (StepMode.auto, 1, False, StepMode.fused),
        (StepMode.fused, 1, True, StepMode.fused),
        (StepMode.microbatched, 1, True, StepMode.microbatched),
    ],
)
def test_the_mode_follows_from_devices_and_encoder(mode: StepMode, devices: int, packed: bool, expected: StepMode) -> None:
    assert resolve_mode(mode, devices, packed) is expected


@pytest.mark.parametrize(("devices", "packed"), [(2, True), (1, False)])
def test_impossible_microbatches_are_refused(devices: int, packed: bool) -> None:
    with pytest.raises(ValueError, match="loop.step: microbatched needs one device"):
        resolve_mode(StepMode.microbatched, devices, packed)


def test_a_frozen_encoder_is_a_table(prepared: experiment.Prepared) -> None:
    assert not small.train_setup(prepared, Frozen(), TWO_TOWER).batches.packed
