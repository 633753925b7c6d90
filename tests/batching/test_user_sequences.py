"""Batches of whole users: which targets, with which history, among which items."""

from typing import Any

import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_jax import experiment
from cold_jax.batching.batch import table_rows
from cold_jax.batching.user_sequences import UserSequenceBatches, UserSequences
from cold_jax.errors import ConfigError


def make(
    q: experiment.Prepared, size: int = 37, history: int = 3, negatives: int = 0, seed: int = 0, devices: int = 2
) -> UserSequenceBatches:
    batching = UserSequences(size=size, history=history, negatives=negatives)
    return batching(small.inputs(q, table_rows, seed=seed, devices=devices))


def sequences(q: experiment.Prepared) -> list[list[int]]:
    return [q.train.item_N[q.train.user_N == user].tolist() for user in range(len(q.train.users))]


@settings(max_examples=12, deadline=None)
@given(size=st.integers(1, 90), history=st.integers(1, 5), negatives=st.integers(0, 8))
def test_an_epoch_has_every_new_item_as_a_target_once(
    prepared: experiment.Prepared, size: int, history: int, negatives: int
) -> None:
    q, train, sequence_U = prepared, prepared.train, sequences(prepared)
    expected = [
        (user, own[n], tuple(own[:n][::-1][:history]))
        for user, own in enumerate(sequence_U)
        for n in range(1, len(own))
        if own[n] not in own[:n]
    ]
    batches, found = make(q, size, history, negatives), []
    count_I = np.bincount(train.item_N, minlength=len(train.items))
    for step in range(batches.steps_per_epoch):
        e, items = (batch := batches(step)).examples, batch.items
        item_J = items.item_J[items.valid_J]
        assert e.recent_BK is not None
        assert len(set(item_J)) == len(item_J)
        assert train.warm_I[item_J].all()
        np.testing.assert_array_equal(batch.rows[items.slot_J[items.valid_J]], len(train.users) + item_J)
        np.testing.assert_array_equal(items.length_J[items.valid_J], q.tokens.length_T[len(train.users) + item_J])
        np.testing.assert_allclose(np.exp(items.log_q_J[items.valid_J]), count_I[item_J] / count_I.sum(), rtol=1e-6)
        needed: set[int] = set()
        for b in np.flatnonzero(e.weight_B):
            assert batch.rows[e.profile_B[b]] == e.user_B[b]
            assert e.length_B[b] == q.tokens.length_T[e.user_B[b]]
            recent = tuple(int(items.item_J[j]) for j in e.recent_BK[b] if j >= 0)
            found.append((int(e.user_B[b]), int(items.item_J[e.target_B[b]]), recent))
            assert set(items.item_J[e.seen_BJ[b]]) == set(sequence_U[e.user_B[b]]) & set(item_J)
            assert set(items.item_J[e.history_BJ[b] > 0]) == set(recent)
            needed |= {found[-1][1], *recent}
        assert needed <= set(item_J)
        assert len(item_J) <= len(needed) + negatives
    assert sorted(found) == sorted(expected)


def test_a_step_holds_whole_users(prepared: experiment.Prepared) -> None:
    """But for its first and its last; another epoch has another order, and so has another seed."""
    batches = make(prepared, size=20)
    user_N = np.concatenate([e.user_B[e.weight_B > 0] for e in (batches(n).examples for n in range(batches.steps_per_epoch))])
    assert 1 + np.count_nonzero(np.diff(user_N)) == len(np.unique(user_N))
    others = [make(prepared, size=20, seed=1)(0), batches(batches.steps_per_epoch)]
    assert len({batches(0).examples.user_B.tobytes(), *(batch.examples.user_B.tobytes() for batch in others)}) == 3


def test_negatives_are_other_warm_items(prepared: experiment.Prepared) -> None:
    few, more = (make(prepared, size=2, negatives=negatives)(0) for negatives in (0, 9))
    assert set(few.items.item_J[few.items.valid_J]) < set(more.items.item_J[more.items.valid_J])
    every = make(prepared, size=2, negatives=1000)(0)
    assert set(every.items.item_J[every.items.valid_J]) == set(np.flatnonzero(prepared.train.warm_I))


@pytest.mark.parametrize(("changed", "value"), [("size", 0), ("history", 0), ("negatives", -1)])
def test_sizes_that_are_too_small_are_refused(changed: str, value: int) -> None:
    values: dict[str, Any] = {"size": 1, "history": 1, "negatives": 0}
    UserSequences(**values)
    with pytest.raises(ConfigError, match=f"batching.{changed}: {value} must be {value + 1} or more"):
        UserSequences(**values | {changed: value})
