"""Batches of sequences: which targets, with which history, in which order."""

from typing import Any

import numpy as np
import pytest
import small

from cold_jax import experiment
from cold_jax.batching.batch import table_rows
from cold_jax.batching.sequences import SequenceBatches, SequenceBatching


def make(
    q: experiment.Prepared, size: int = 37, history: int = 3, cold_negatives: bool = False, seed: int = 0
) -> SequenceBatches:
    batching = SequenceBatching(size=size, history=history, cold_negatives=cold_negatives)
    return batching(small.inputs(q, table_rows, seed=seed, devices=2))


@pytest.mark.parametrize("cold_negatives", [True, False])
def test_the_history_of_a_target_is_all_before_it(prepared: experiment.Prepared, cold_negatives: bool) -> None:
    """An epoch has every training interaction but each user's first as a target, once; the newest of its history are in order."""
    q, train = prepared, prepared.train
    batches = make(q, cold_negatives=cold_negatives)
    expected = []
    for user in range(len(train.users)):
        items = train.item_N[train.user_N == user].tolist()
        expected += [(user, item, tuple(items[:n][::-1])) for n, item in enumerate(items) if n > 0]
    found = []
    values = {(user, item): value for user, item, value in zip(train.user_N, train.item_N, train.value_N, strict=True)}
    for step in range(batches.steps_per_epoch):
        batch = batches(step)
        e, real_B = batch.examples, batch.examples.weight_B > 0
        assert e.recent_BK is not None
        assert e.recent_BK.shape == (38, 3)  # 37, in a multiple of two devices
        np.testing.assert_array_equal(batch.rows[batch.items.slot_J], len(train.users) + np.arange(len(train.items)))
        np.testing.assert_array_equal(batch.items.length_J, q.tokens.length_T[len(train.users) :])
        np.testing.assert_array_equal(batch.items.valid_J, cold_negatives | train.warm_I)
        np.testing.assert_array_equal(batch.items.log_q_J, 0)
        np.testing.assert_array_equal(e.weight_B, np.arange(38) < real_B.sum())
        np.testing.assert_array_equal(e.length_B[real_B], q.tokens.length_T[e.user_B[real_B]])
        assert not e.history_BJ[~real_B].any()
        for b in np.flatnonzero(e.weight_B):
            assert batch.rows[e.profile_B[b]] == e.user_B[b]
            assert e.value_B[b] == values[e.user_B[b], e.target_B[b]]
            before = next(row[2] for row in expected if row[:2] == (e.user_B[b], e.target_B[b]))
            assert sorted(np.flatnonzero(e.seen_BJ[b])) == sorted(before)
            np.testing.assert_array_equal(e.history_BJ[b], e.seen_BJ[b])
            assert tuple(e.recent_BK[b]) == (*before, -1, -1, -1)[:3]
            found.append((e.user_B[b], e.target_B[b], before))
    assert sorted(found) == sorted(expected)
    assert len({len(batches(step).rows) for step in range(batches.steps_per_epoch)}) == 1  # or every shape would be compiled


def test_seeds_and_epochs_have_orders_of_their_own(prepared: experiment.Prepared) -> None:
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        batches = make(prepared, seed=seed)
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        orders.append(np.concatenate([batches(step).examples.target_B for step in steps]).tolist())
    assert len(set(map(tuple, orders))) == 3


@pytest.mark.parametrize("changed", ["size", "history"])
def test_sizes_below_one_are_refused(changed: str) -> None:
    values: dict[str, Any] = {"size": 1, "history": 1, "cold_negatives": True}
    SequenceBatching(**values)
    with pytest.raises(ValueError, match=f"batching.{changed}: 0 must be 1 or more"):
        SequenceBatching(**values | {changed: 0})
