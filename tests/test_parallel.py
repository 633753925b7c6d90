"""N devices train on one device's loss. Gradient descent, unlike Adam, shows a gradient that is N times too large."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
import small

from cold_jax import build
from cold_jax.parallel import Mesh, Pmap, machine

# sums of float32 in another order: a few units in the last place of losses near 3, carried through six steps at rate 1
ROUNDING = 5e-5


@pytest.mark.parametrize("parallel", [Pmap(2), Mesh(2)], ids=["pmap", "mesh"])
def test_two_devices_train_as_one(question: build.Question, lora_run: Any, parallel: Any) -> None:
    """In-batch negatives, dropout, batches of 45 that two devices don't divide, and a last one of 36."""
    _, losses, states = lora_run
    le = small.learner(question, small.DROPOUT, small.TWO_TOWER, parallel=parallel)
    many_losses, many = small.fit(le, small.SOFTMAX, optax.sgd(1.0), small.STEPS, parallel)
    np.testing.assert_allclose(many_losses, losses, atol=ROUNDING)
    one, two = small.leaves(states[-1].trainable), small.leaves(many[-1].trainable)
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=ROUNDING, err_msg=name)


def test_the_last_batch_is_not_full(lora_run: Any) -> None:
    le, _, _ = lora_run
    assert le.batches(le.batches.steps_per_epoch - 1).examples.weight_B.sum() < small.IN_BATCH.size


def test_more_devices_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"parallel.devices: 3 asked for, 2 there"):
        _ = Pmap(3).count


def test_machine_tells_what_bits_depend_on() -> None:
    told = machine(2)
    assert told["count"] == 2
    assert told["platform"] == jax.devices()[0].platform
    assert told["threads"] >= 1


EIGHT = """
import json, sys, optax, small
from cold_jax.parallel import Mesh, Pmap
q = small.question()
for name, parallel in {"one": Pmap(1), "pmap": Pmap(8), "mesh": Mesh(8)}.items():
    le = small.learner(q, small.LORA, small.TWO_TOWER, parallel=parallel)
    losses, states = small.fit(le, small.SOFTMAX, optax.sgd(1.0), small.STEPS, parallel)
    trainable = states[-1].trainable
    part = q.split.test["cold"]
    scores = le.scorer(trainable)(part.user_U, part.shown_UI, part.candidate_I)
    print(json.dumps([name, losses.tolist(), float(abs(scores).sum())]))
"""


@pytest.mark.slow
def test_eight_devices_train_as_one(tmp_path: Path) -> None:
    flags = "--xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(Path(__file__).parent), "COLD_JAX_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", EIGHT], env=environment, capture_output=True, text=True, check=True)
    found = {name: (losses, total) for name, losses, total in map(json.loads, done.stdout.splitlines())}
    for name in ("pmap", "mesh"):
        np.testing.assert_allclose(found[name][0], found["one"][0], atol=ROUNDING)
        np.testing.assert_allclose(found[name][1], found["one"][1], rtol=1e-4)
