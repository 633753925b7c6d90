"""AdamW against its formulas in NumPy; schedules; what decays; a batch in two halves."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from small import FULL, TWO_TOWER, Frozen, LinearModel

from cold_jax import experiment
from cold_jax.batching.sampled import InBatchSampling
from cold_jax.training.objectives import Bce
from cold_jax.training.optimizers import AdamW, Schedule

PLAIN = AdamW(
    learning_rate=0.1,
    schedule=Schedule.constant,
    warmup=0,
    weight_decay=0.0,
    b1=0.9,
    b2=0.999,
    clip=1e9,
    accumulate=1,
    ema=0.0,
)
TREE = {
    "encoder": {
        "layers": {"kernel": np.ones((2, 3, 3)), "bias": np.ones((2, 3)), "scale": np.ones((2, 3)), "A": np.ones((2, 3, 1))}
    },
    "map_FV": np.ones((4, 2)),
    "user_V": np.ones(2),
    "log_scale": np.ones(()),
}


def random_like(tree: Any, seed: int, size: float = 1.0) -> Any:
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(size * draw.normal(size=x.shape), jnp.float32), tree)


def run(optimizer: optax.GradientTransformation, parameters: Any, gradients: list[Any]) -> Any:
    update, state = jax.jit(optimizer.update), optimizer.init(parameters)
    for gradient in gradients:
        updates, state = update(gradient, state, parameters)
        parameters = jax.tree.map(jnp.add, parameters, updates)
    return parameters


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize(
    ("schedule", "after"),
    [
        (Schedule.constant, lambda part: 1.0),
        (Schedule.linear, lambda part: 1 - part),
        (Schedule.cosine, lambda part: (1 + np.cos(np.pi * part)) / 2),
    ],
)
def test_the_schedule(schedule: Schedule, after: Any, warmup: int):
    """Up in a straight line from 0 during the warm-up; then after the schedule, which is at its end with the last update."""
    rate = replace(PLAIN, schedule=schedule, warmup=warmup).learning_rate_schedule(20)
    for step in range(21):
        expected = step / warmup if step < warmup else after((step - warmup) / (20 - warmup))
        assert float(rate(step)) == pytest.approx(0.1 * expected, abs=1e-8), step


def adamw(config: AdamW, parameters: dict, gradients: list[dict], decays: set[str], updates: int) -> dict:
    """Algorithm 2 of the paper, in float64 and by leaf, after clipping by the norm of all leaves together."""
    parameters, rate = dict(parameters), config.learning_rate_schedule(updates)
    first, second = ({name: np.zeros_like(x) for name, x in parameters.items()} for _ in range(2))
    for t, gradient in enumerate(gradients, 1):
        norm = np.sqrt(sum((x.astype(np.float64) ** 2).sum() for x in gradient.values()))
        for name, x in gradient.items():
            x = x / max(norm / config.clip, 1)
            first[name] = config.b1 * first[name] + (1 - config.b1) * x
            second[name] = config.b2 * second[name] + (1 - config.b2) * x**2
            step = first[name] / (1 - config.b1**t) / (np.sqrt(second[name] / (1 - config.b2**t)) + 1e-8)
            decay = config.weight_decay * parameters[name] * (name in decays)
            of = 0.3 if "encoder" in name else 1.0
            parameters[name] = parameters[name] - float(rate(t - 1)) * of * (step + decay)
    return parameters


def test_updates_are_the_papers():
    """Gradients of which some are clipped and some are not, a warm-up, a schedule, decay, and a rate of its own for Δθ."""
    config = AdamW(
        learning_rate=0.05,
        schedule=Schedule.cosine,
        warmup=2,
        weight_decay=0.1,
        b1=0.8,
        b2=0.95,
        clip=5.0,
        accumulate=1,
        ema=0.0,
    )
    parameters = random_like(TREE, 0)
    gradients = [random_like(TREE, seed, size) for seed, size in enumerate([3.0, 0.1, 1.0, 10.0, 0.3], 1)]
    norms = [float(optax.tree.norm(gradient)) for gradient in gradients]
    assert min(norms) < config.clip < sorted(norms)[2]
    got = small.leaves(run(config(8, 0.3), parameters, gradients))
    decays = {name for name in got if name.endswith(("'kernel']", "'A']", "'map_FV']"))}
    assert len(decays) == 3
    expected = adamw(config, small.leaves(parameters), list(map(small.leaves, gradients)), decays, 8)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-5, atol=2e-6, err_msg=name)  # five steps in float32


def test_the_encoder_s_rate_scales_delta_and_nothing_else():
    zero = {"encoder": {"A": jnp.zeros(3)}, "user_V": jnp.zeros(3)}
    gradients = [random_like(zero, seed) for seed in range(3)]
    whole, half = (small.leaves(run(PLAIN(9, rate), zero, gradients)) for rate in (1.0, 0.5))
    for name, moved in whole.items():
        assert np.abs(moved).min() > 0
        np.testing.assert_array_equal(half[name], moved * (0.5 if "encoder" in name else 1.0), err_msg=name)  # 0.5: exactly


def test_only_matrices_decay(prepared: experiment.Prepared):
    """Of the real model, whose layers are stacked: their biases and norms have two axes, and are no matrices."""
    ones = jax.tree.map(jnp.ones_like, small.train_setup(prepared, FULL, TWO_TOWER).partition.trainable)
    optimizer = replace(PLAIN, weight_decay=0.5)(9, 1.0)
    decay = jax.jit(lambda ones: optimizer.update(jax.tree.map(jnp.zeros_like, ones), optimizer.init(ones), ones)[0])
    got = small.leaves(decay(ones))
    decayed = {name for name, value in got.items() if np.all(value == np.float32(-0.05))}
    still = {name for name, value in got.items() if np.all(value == 0)}
    assert decayed | still == set(got)
    assert decayed == {name for name in got if name.endswith(("'kernel'].value", "'embedding'].value", "V'].value"))} - {
        "['user_V'].value"
    }
    assert {"['log_scale'].value", "['bias_F'].value", "['item_bias_I'].value"} <= still


def test_a_batch_in_two_halves(prepared: experiment.Prepared):
    """accumulate=2: two steps of 20 examples update as one of 40, and the first alone does not. Clipped, after the mean."""
    full = InBatchSampling(
        size=40, support=[0], history=None, negatives=0, full_softmax=True, group_by_item=False, **small.PLAIN
    )  # nothing is drawn but the order
    config = replace(PLAIN, learning_rate=0.01, clip=0.1, weight_decay=0.1)
    whole, halves = (
        small.perturbed(small.train_setup(prepared, Frozen(), LinearModel(), replace(full, size=size))) for size in (40, 20)
    )
    _, at_once = small.fit(whole, Bce(), config(4, 1.0), 1)
    _, in_two = small.fit(halves, Bce(), replace(config, accumulate=2)(4, 1.0), 2)
    start, first, second = (small.leaves(state.trainable) for state in in_two)
    for name, value in small.leaves(at_once[1].trainable).items():
        np.testing.assert_array_equal(first[name], start[name], err_msg=name)
        np.testing.assert_allclose(second[name], value, atol=1e-6, err_msg=name)
        if "support" not in name:  # no history is given
            assert np.abs(value - start[name]).max() > 1e-3, name


@pytest.mark.parametrize(
    ("setting", "value"), [("learning_rate", 0.0), ("clip", 0.0), ("accumulate", 0), ("warmup", -1), ("b2", 1.5)]
)
def test_a_setting_out_of_its_range_is_named(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"optimizer.{setting}"):
        replace(PLAIN, **{setting: value})
