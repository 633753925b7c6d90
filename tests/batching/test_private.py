"""Poisson sampling of users: who a step takes, and what of them."""

from dataclasses import replace

import numpy as np
import pytest
import small
from scipy import stats

from cold_jax import experiment
from cold_jax.batching.batch import table_rows
from cold_jax.batching.private import PrivateBatches, UserExamples

pytest.importorskip("jax_privacy")
SECRET, OTHER = b"s" * 32, b"o" * 32


@pytest.fixture(scope="module")
def prepared() -> experiment.Prepared:
    return experiment.prepare(small.private())


def make(
    prepared: experiment.Prepared, size: int = 9, users: int = 30, devices: int = 1, secret: bytes = SECRET
) -> PrivateBatches:
    batching = replace(small.private().batching, size=size)
    return PrivateBatches(batching, small.inputs(prepared, table_rows, devices=devices), users, 3, None).with_secret(secret)


def test_each_user_is_taken_with_the_public_rate_whoever_else_is_there(prepared: experiment.Prepared) -> None:
    """Sizes are binomial, and inclusion in two steps and of two users is independent."""
    batches, steps = make(prepared), 1500
    assert len(batches.user_U) == 32
    taken = np.zeros((steps, len(prepared.train.users)), bool)
    for step in range(steps):
        taken[step, batches.users(step)] = True
    size_N = taken.sum(1)
    expected = stats.binom(32, 0.3).pmf(np.arange(33)) * steps
    bins = [slice(0, 6), *(slice(n, n + 1) for n in range(6, 14)), slice(14, 33)]
    observed = np.bincount(size_N, minlength=33)
    assert stats.chisquare([observed[b].sum() for b in bins], [expected[b].sum() for b in bins]).pvalue > 0.01
    per_user = taken[:, batches.user_U]
    assert stats.binomtest(int(per_user[:, 0].sum()), steps, 0.3).pvalue > 0.001
    correlation = np.corrcoef(per_user.T) - np.eye(32)
    assert np.abs(correlation).max() < 5 / np.sqrt(steps)
    assert abs(np.corrcoef(size_N[:-1], size_N[1:])[0, 1]) < 4 / np.sqrt(steps)


def test_a_batch_follows_from_the_secret_and_the_step_not_from_the_seed(prepared: experiment.Prepared) -> None:
    one, again, other = make(prepared), make(prepared), make(prepared, secret=OTHER)
    for step in (3, 1):
        a, b = one(step), again(step)
        for x, y in zip((*a.examples, a.items.noise_2), (*b.examples, b.items.noise_2), strict=True):  # type: ignore[attr-defined]
            np.testing.assert_array_equal(x, y)
    assert [list(one.users(n)) for n in range(5)] != [list(other.users(n)) for n in range(5)]
    assert len({one(n).items.noise_2.tobytes() for n in range(50)}) == 50  # type: ignore[attr-defined]
    assert one(0).items.noise_2.tobytes() != other(0).items.noise_2.tobytes()  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="with_secret"):
        PrivateBatches(small.private().batching, small.inputs(prepared, table_rows), 30, 3, None)(0)


def test_a_row_holds_a_user_and_nobody_else(prepared: experiment.Prepared) -> None:
    """At most `pairs` targets, none of them in the history; all of the user's items are seen; all items are candidates."""
    batches, train = make(prepared), prepared.train
    for step in range(20):
        batch = batches(step)
        rows: UserExamples = batch.examples  # type: ignore[assignment]
        assert rows.profile_B[~rows.absent_B].tolist() == sorted(set(rows.profile_B[~rows.absent_B].tolist()))
        assert batch.items.items.valid_J.all()  # type: ignore[attr-defined]
        for b, user in enumerate(rows.profile_B):
            own = set(train.item_N[train.user_N == user].tolist())
            targets = rows.target_BP[b, rows.weight_BP[b] > 0].tolist()
            history = rows.history_BK[b, rows.weight_BK[b] > 0].tolist()
            if rows.absent_B[b]:
                assert not targets
                assert not rows.seen_BJ[b].any()
                continue
            assert len(set(targets)) == len(targets) <= 3
            assert set(targets) | set(history) <= own
            assert not set(targets) & set(history)
            assert set(np.flatnonzero(rows.seen_BJ[b]).tolist()) == own
            assert rows.weight_BK[b].sum() in (0, 1, 3)
            assert rows.history_BK.shape[1] == 2  # batching.history, which is less than the longest support
    users, items = len(train.users), batches.items
    np.testing.assert_array_equal(items.slot_J, users + np.arange(len(train.items)))
    np.testing.assert_array_equal(items.length_J, prepared.tokens.length_T[users:])


def test_more_users_than_the_shape_holds_get_a_larger_one(prepared: experiment.Prepared) -> None:
    """None is left out: truncation would have to be accounted for. Here users=10 is far below the number of training users."""
    batches = make(prepared, size=5, users=10, devices=2)
    assert batches.capacity == 10
    for step in range(10):
        users, rows = batches.users(step), batches(step).examples
        assert len(rows.profile_B) in (10, 20, 40)
        assert len(rows.profile_B) >= len(users) == (~rows.absent_B).sum()  # type: ignore[attr-defined]


def test_users_of_one_item_and_of_many() -> None:
    """A user with a single item is a target without history; one with 700 gives `pairs` targets, and names nobody in messages."""
    train = small.make_train([[1.0]] * 800, [[0.0]] * 800)
    user_N, item_N = np.repeat([0, 1], [1, 700]), np.concatenate([[5], np.arange(700)])
    train = replace(train, user_N=user_N, item_N=item_N, value_N=np.ones(701, np.float32))
    inputs = small.inputs(experiment.prepare(small.private()), table_rows)._replace(train=train, length_T=np.ones(802, np.int64))
    batches = PrivateBatches(replace(small.private().batching, size=2), inputs, 2, 64, None).with_secret(SECRET)
    rows: UserExamples = batches(0).examples  # type: ignore[assignment]
    assert rows.profile_B[:2].tolist() == [0, 1]
    assert rows.weight_BP.sum(1)[:2].tolist() == [1, 64]
    assert rows.seen_BJ.sum(1)[:2].tolist() == [1, 700]
    assert rows.target_BP[0, 0] == 5
    assert "private" in batches.describe(batches(0))
