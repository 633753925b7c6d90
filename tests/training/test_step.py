"""A step in slices is the step in one program."""

from typing import Any

import numpy as np
import optax
import pytest
import small
from small import DROPOUT, FULL, LORA, TWO_TOWER, Frozen, Lstm, replace

from cold_jax import experiment
from cold_jax.batching.sampled import InBatchSampling
from cold_jax.training.objectives import BceRatings
from cold_jax.training.step import StepMode, microbatched_step, resolve_mode

ROWS = InBatchSampling(size=9, support=[0], history=None, negatives=0, full_softmax=False, group_by_item=False)


@pytest.mark.parametrize(
    ("adapter", "model", "objective"),
    [
        (LORA, TWO_TOWER, small.SOFTMAX),
        (DROPOUT, TWO_TOWER, small.SOFTMAX),
        (replace(FULL, layers="last_1"), TWO_TOWER, small.SOFTMAX),
        (LORA, Lstm(width=4), BceRatings(threshold=4.0)),
    ],
)
def test_slices_train_as_the_whole(question: experiment.Prepared, adapter: Any, model: Any, objective: Any) -> None:
    """With batches whose last slices hold no text, and an update that shows a gradient of another size."""
    le = small.stirred(small.learner(question, adapter, model, ROWS if isinstance(objective, BceRatings) else small.IN_BATCH))
    used = [
        len([p for p in microbatched_step(small.recipe(le, objective, optax.sgd(0.3))).shard_batch(le.batches(n)).rows if p])
        for n in range(3)
    ]
    assert max(used) > 1
    (whole, whole_states), (sliced, sliced_states) = (
        small.fit(le, objective, optax.sgd(0.3), 3, form=form) for form in (StepMode.fused, StepMode.microbatched)
    )
    np.testing.assert_allclose(sliced, whole, rtol=1e-5)
    assert np.ptp(whole) > 1e-3
    expected = small.leaves(whole_states[-1].trainable)
    for name, value in small.leaves(sliced_states[-1].trainable).items():
        np.testing.assert_allclose(value, expected[name], atol=2e-6, err_msg=name)


def test_slices_without_a_text_are_left_out(question: experiment.Prepared) -> None:
    le = small.learner(question, LORA, TWO_TOWER)
    sliced = microbatched_step(small.recipe(le, small.SOFTMAX, optax.sgd(0.3)))
    rows = [sliced.shard_batch(le.batches(n)).rows for n in range(5)]
    assert any(piece is None for pieces in rows for piece in pieces)
    assert {len(pieces) for pieces in rows} == {len(rows[0])}


@pytest.mark.parametrize(
    ("form", "devices", "packed", "expected"),
    [
        (StepMode.auto, 1, True, StepMode.microbatched),
        (StepMode.auto, 2, True, StepMode.fused),
        (StepMode.auto, 1, False, StepMode.fused),
        (StepMode.fused, 1, True, StepMode.fused),
        (StepMode.microbatched, 1, True, StepMode.microbatched),
    ],
)
def test_the_form_of_a_step_follows_from_devices_and_encoder(
    form: StepMode, devices: int, packed: bool, expected: StepMode
) -> None:
    assert resolve_mode(form, devices, packed) is expected


@pytest.mark.parametrize(("devices", "packed"), [(2, True), (1, False)])
def test_slices_where_there_are_none_are_refused(devices: int, packed: bool) -> None:
    with pytest.raises(ValueError, match="loop.step: microbatched needs one device"):
        resolve_mode(StepMode.microbatched, devices, packed)


def test_a_frozen_encoder_is_looked_up_in_one_program(question: experiment.Prepared) -> None:
    assert not small.learner(question, Frozen(), TWO_TOWER).batches.packed
