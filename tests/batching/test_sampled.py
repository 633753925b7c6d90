"""In-batch sampling by its properties, over the choices that a config may make."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from cold_jax import experiment
from cold_jax.batching.batch import Batch, PackedTexts, table_rows
from cold_jax.batching.sampled import InBatchSampling, SampledBatches
from cold_jax.errors import ConfigError

CHOICES = small.in_batch_choices()
STEP = InBatchSampling(size=13, support=[1, 3], history=None, negatives=2, full_softmax=False, group_by_item=False, **small.PLAIN)


def make(
    q: experiment.Prepared,
    batching: InBatchSampling,
    seed: int = 0,
    devices: int = 1,
    place_texts: Any = table_rows,
    multiple: int = 1,
) -> SampledBatches:
    return batching(small.inputs(q, place_texts, seed=seed, multiple=multiple, devices=devices))


def pairs(batch: Batch) -> list[tuple[int, int]]:
    """(user, target) of the examples that count."""
    real_B = batch.examples.weight_B > 0
    return list(zip(batch.examples.user_B[real_B], batch.items.item_J[batch.examples.target_B[real_B]], strict=True))


def assert_same(a: Batch, b: Batch) -> None:
    for one, other in zip((*a.rows, *a.examples, *a.items), (*b.rows, *b.examples, *b.items), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=6, deadline=None)
@given(batching=CHOICES, seed=st.integers(0, 2**31), steps=st.lists(st.integers(0, 400), min_size=2, max_size=4, unique=True))
def test_a_batch_is_a_function_of_seed_and_step(
    prepared: experiment.Prepared, batching: InBatchSampling, seed: int, steps: list[int]
):
    one, other = make(prepared, batching, seed), make(prepared, batching, seed)
    forwards = [one(step) for step in steps]
    backwards = [other(step) for step in reversed(steps)][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert_same(a, b)


def test_a_step_has_room_for_its_targets_their_supports_and_the_negatives(prepared: experiment.Prepared):
    few = InBatchSampling(
        size=2, support=[1, 3], history=None, negatives=2, full_softmax=False, group_by_item=False, **small.PLAIN
    )
    assert len(make(prepared, few)(0).items.item_J) == 2 * (1 + 3) + 2
    assert len(make(prepared, STEP)(0).items.item_J) == prepared.train.warm_I.sum()  # more than there are


def test_seeds_steps_and_epochs_differ(prepared: experiment.Prepared):
    batches = make(prepared, STEP)
    epoch = batches.steps_per_epoch
    assert epoch > 2
    orders = [tuple(pair for step in range(start, start + epoch) for pair in pairs(batches(step))) for start in (0, epoch)]
    orders += [tuple(pair for step in range(epoch) for pair in pairs(make(prepared, STEP, seed=1)(step)))]
    assert len(set(orders)) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


@settings(max_examples=15, deadline=None)
@given(batching=CHOICES, devices=st.integers(1, 3), epoch=st.integers(0, 2))
def test_an_epoch_has_every_interaction_once(prepared: experiment.Prepared, batching: InBatchSampling, devices: int, epoch: int):
    batches, train = make(prepared, batching, devices=devices), prepared.train
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    values = {(user, item): value for user, item, value in zip(train.user_N, train.item_N, train.value_N, strict=True)}
    seen, shapes = [], set()
    for batch in map(batches, steps):
        found = pairs(batch)
        np.testing.assert_array_equal(batch.examples.weight_B, np.arange(len(batch.examples.user_B)) < len(found))
        np.testing.assert_array_equal(batch.examples.value_B[: len(found)], [values[pair] for pair in found])
        seen += found
        shapes.add(tuple(x.shape for x in (*batch.examples, *batch.items) if x is not None))
        assert len(batch.examples.user_B) % devices == 0
        assert 0 <= len(batch.examples.user_B) - batching.size < devices
    assert sorted(seen) == sorted(values)
    assert len(shapes) == 1


@settings(max_examples=20, deadline=None)
@given(batching=CHOICES, seed=st.integers(0, 2**31), step=st.integers(0, 300))
def test_supports(prepared: experiment.Prepared, batching: InBatchSampling, seed: int, step: int):
    """From train only, never the target, of a size in the list; a truncated history weighs as much as the whole support."""
    batch = make(prepared, batching, seed)(step)
    known_UI = prepared.train.interaction_UI.toarray() > 0
    item_J, history_BJ = batch.items.item_J, batch.examples.history_BJ
    for b, (user, target) in enumerate(pairs(batch)):
        history_J = history_BJ[b] > 0
        assert batch.items.valid_J[history_J].all()
        assert known_UI[user, item_J[history_J]].all()
        assert target not in item_J[history_J]
        others = known_UI[user].sum() - 1
        sizes = {min(k, others) for k in batching.support} or {others}
        assert np.count_nonzero(history_J) in {min(size, batching.history or size) for size in sizes}
        assert any(history_BJ[b].sum() == pytest.approx(size, rel=1e-6) for size in sizes)
        assert len(set(history_BJ[b][history_J])) <= 1
        np.testing.assert_array_equal(batch.examples.seen_BJ[b][batch.items.valid_J], known_UI[user, item_J[batch.items.valid_J]])
    padding_B = batch.examples.weight_B == 0
    assert not history_BJ[padding_B].any()
    assert not batch.examples.seen_BJ[:, ~batch.items.valid_J].any()


def test_every_size_and_every_other_item_is_drawn(prepared: experiment.Prepared):
    """Support sizes 1 and 3 about equally often; in time all items of a user."""
    batches, known_UI = make(prepared, STEP), prepared.train.interaction_UI.toarray() > 0
    sizes, history_UI = [], np.zeros_like(known_UI)
    for step in range(10 * batches.steps_per_epoch):
        batch = batches(step)
        for b, (user, _) in enumerate(pairs(batch)):
            history_J = batch.examples.history_BJ[b] > 0
            sizes.append(np.count_nonzero(history_J))
            history_UI[user, batch.items.item_J[history_J]] = True
    several_U = known_UI.sum(1) > 3
    np.testing.assert_array_equal(history_UI[several_U], known_UI[several_U])
    assert np.mean(np.array(sizes) == 1) == pytest.approx(0.5, abs=0.1)  # 2,160 draws, and a few users with a short history


def test_every_step_draws_anew(prepared: experiment.Prepared) -> None:
    """With one example and no support the items are the target and three of the 21 warm ones: hardly ever the same three."""
    one = InBatchSampling(size=1, support=[0], history=None, negatives=3, full_softmax=False, group_by_item=False, **small.PLAIN)
    drawn = []
    for seed in (0, 1):
        batches = make(prepared, one, seed)
        for batch in map(batches, range(30)):
            drawn.append(frozenset(batch.items.item_J[batch.items.valid_J]) - {target for _, target in pairs(batch)})
    assert len(set(drawn)) > 50
    assert frozenset.union(*drawn) == set(np.flatnonzero(prepared.train.warm_I))


def test_nothing_hidden_is_in_a_batch(prepared: experiment.Prepared):
    """Neither a cold item nor a held-out interaction, as a target, support, known positive or candidate."""
    q = prepared
    batches = make(
        q,
        InBatchSampling(size=30, support=[], history=None, negatives=30, full_softmax=False, group_by_item=False, **small.PLAIN),
    )
    hidden = set(zip(q.dataset.user_N, q.dataset.item_N, strict=True)) - set(zip(q.train.user_N, q.train.item_N, strict=True))
    assert len(hidden) > 50
    for step in range(batches.steps_per_epoch):
        batch = batches(step)
        assert not q.split.cold_I[batch.items.item_J[batch.items.valid_J]].any()
        for b, user in enumerate(batch.examples.user_B[batch.examples.weight_B > 0]):
            touched_J = (batch.examples.history_BJ[b] > 0) | batch.examples.seen_BJ[b]
            assert not {(user, item) for item in batch.items.item_J[touched_J]} & hidden


@settings(max_examples=12, deadline=None)
@given(batching=CHOICES, step=st.integers(0, 300))
def test_items(prepared: experiment.Prepared, batching: InBatchSampling, step: int):
    """Each once, ascending: the targets, the supports and the sampled negatives, hard ones among them; with full_softmax all warm ones."""
    q = prepared
    batch = make(q, batching)(step)
    item_J = batch.items.item_J[batch.items.valid_J]
    assert (np.diff(item_J) > 0).all()
    warm_I = np.flatnonzero(q.train.warm_I)
    needed = {target for _, target in pairs(batch)} | set(batch.items.item_J[(batch.examples.history_BJ > 0).any(0)])
    if batching.full_softmax:
        np.testing.assert_array_equal(item_J, warm_I)
        np.testing.assert_array_equal(batch.items.log_q_J, 0)
    else:
        assert needed <= set(item_J) <= set(warm_I)
        sampled = batching.negatives + batching.hard_negatives * len(pairs(batch))
        assert min(batching.negatives, len(warm_I)) <= len(item_J) <= len(needed) + sampled
        share_J = q.train.interaction_UI.toarray().mean(0)[item_J] / q.train.interaction_UI.toarray().mean(0).sum()
        np.testing.assert_allclose(batch.items.log_q_J[batch.items.valid_J], np.log(share_J), rtol=1e-5)


def test_rows_have_one_shape(prepared: experiment.Prepared):
    place_texts = PackedTexts(prepared.tokens, small.ENCODER.row_length, 4)
    batches = make(
        prepared,
        InBatchSampling(
            size=20, support=[0, 5], history=None, negatives=3, full_softmax=False, group_by_item=False, **small.PLAIN
        ),
        place_texts=place_texts,
        multiple=2,
    )
    assert len({batches(step).rows.token_RL.shape for step in range(3 * batches.steps_per_epoch)}) == 1


def test_rows_of_a_softmax_over_all_items_have_room_for_the_fullest_of_32_batches(prepared: experiment.Prepared):
    every = dataclasses.replace(STEP, negatives=0, full_softmax=True)
    batches = make(prepared, every)
    texts = [len(np.unique(batches(step).examples.user_B)) + prepared.train.warm_I.sum() for step in range(32)]
    assert batches.multiple == max(texts)


def test_the_target_of_a_repeated_interaction_is_not_in_its_support(prepared: experiment.Prepared):
    """A user took an item twice: it is a target twice an epoch, and in neither case in its own support."""
    train, twice = prepared.train, 5
    repeated = {
        name: np.insert(getattr(train, name), twice, getattr(train, name)[twice]) for name in ("user_N", "item_N", "value_N")
    }
    q = prepared._replace(train=small.replace(train, **repeated))
    pair, seen = (train.user_N[twice], train.item_N[twice]), 0
    batches = make(
        q,
        InBatchSampling(size=10, support=[], history=None, negatives=0, full_softmax=False, group_by_item=False, **small.PLAIN),
    )
    for step in range(batches.steps_per_epoch):
        batch = batches(step)
        for b, found in enumerate(pairs(batch)):
            if found == pair:
                seen += 1
                assert found[1] not in batch.items.item_J[batch.examples.history_BJ[b] > 0]
    assert seen == 2


def test_an_epoch_grouped_by_item(prepared: experiment.Prepared):
    batches = make(prepared, small.replace(STEP, group_by_item=True))
    epochs = [
        [pair for step in range(batches.steps_per_epoch) for pair in pairs(batches(start + step))]
        for start in (0, batches.steps_per_epoch)
    ]
    for epoch in epochs:
        item_N = [item for _, item in epoch]
        assert len({(item, n) for n, item in enumerate(item_N) if n == 0 or item_N[n - 1] != item}) == len(set(item_N))
        assert sorted(epoch) == sorted(zip(prepared.train.user_N, prepared.train.item_N, strict=True))
    assert epochs[0] != epochs[1]


def test_hard_negatives_are_beside_what_a_step_had_without_them(prepared: experiment.Prepared) -> None:
    """The nearest in θ to each target that its user did not take, with as many as that of neighbours; supports are the same draws."""
    plain = InBatchSampling(
        size=3, support=[1], history=None, negatives=0, full_softmax=False, group_by_item=False, **small.PLAIN
    )
    one, other = make(prepared, plain), make(prepared, small.replace(plain, hard_negatives=1, hard_range=[0, 1]))
    warm_I, known_UI = np.flatnonzero(prepared.train.warm_I), prepared.train.interaction_UI.toarray() > 0
    vector_ID = next(iter(prepared.train.item_vectors.values()))  # of unit length
    cosine_II = vector_ID @ vector_ID.T - 2 * np.eye(len(vector_ID))
    added = 0
    for step in range(10):
        without, batch = one(step), other(step)
        items = {name: set(b.items.item_J[b.items.valid_J].tolist()) for name, b in (("without", without), ("with", batch))}
        near = {target: int(warm_I[np.argmax(cosine_II[target, warm_I])]) for _, target in pairs(batch)}
        hard = {near[target] for user, target in pairs(batch) if not known_UI[user, near[target]]}
        assert items["with"] == items["without"] | hard
        assert pairs(batch) == pairs(without)
        added += len(items["with"]) - len(items["without"])
    assert added > 10


def test_earliest_supports_are_those_of_a_new_user(prepared: experiment.Prepared) -> None:
    """The first k of the user's items in time, k a size that leaves the target after them; without sizes all before it."""
    train = prepared.train
    for sizes in ([0, 1, 3], []):
        batches = make(prepared, small.replace(STEP, support=sizes, earliest_support=True))
        for step in range(batches.steps_per_epoch):
            batch = batches(step)
            for b, (user, target) in enumerate(pairs(batch)):
                own = train.item_N[train.user_N == user].tolist()
                place = own.index(target)
                history = set(batch.items.item_J[batch.examples.history_BJ[b] > 0].tolist())
                allowed = [k for k in sizes if k <= place] or [place]
                assert history in [set(own[:k]) for k in allowed]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_power": 1e9}, r"batching.user_power: 1e\+09 is beyond what a float holds"),
        ({"hard_negatives": 1, "hard_range": [500, 600]}, r"batching.hard_range: it begins at 500, and an item has \d+ others"),
    ],
)
def test_settings_that_the_data_do_not_allow_are_refused(
    changes: dict[str, Any], message: str, prepared: experiment.Prepared
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(prepared, small.replace(STEP, **changes))


def test_users_are_drawn_by_a_power_of_their_interactions(prepared: experiment.Prepared) -> None:
    """At 0 all alike, at 0.5 by the root; each of a user's items as often."""
    count_U = np.bincount(prepared.train.user_N, minlength=40)
    for power in (0.0, 0.5):
        batches = make(prepared, small.replace(STEP, size=200, user_power=power))
        drawn = np.array([pair for step in range(20) for pair in pairs(batches(step))])
        wanted_U = np.where(count_U > 0, np.maximum(count_U, 1.0) ** power, 0)
        expected_U = len(drawn) * wanted_U / wanted_U.sum()
        assert len(drawn) == 4000
        assert chisquare(np.bincount(drawn[:, 0], minlength=40)[count_U > 0], expected_U[count_U > 0]).pvalue > 0.01
        of_pair = np.unique(drawn, axis=0, return_counts=True)[1]
        assert len(of_pair) == len(prepared.train.user_N)  # no interaction is left out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_by_item": True, "user_power": 0.0}, "batching.user_power: group_by_item takes every interaction"),
        ({"hard_negatives": 1, "full_softmax": True}, "batching.hard_negatives: with full_softmax every item"),
        ({"hard_range": [5, 5]}, r"batching.hard_range: \[5, 5\] is not where it begins and where it ends"),
        ({"hard_range": [-1, 5]}, "batching.hard_range: -1 must be 0 or more"),
    ],
)
def test_hard_negatives_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small.replace(STEP, **changes)


def test_a_batch_of_no_examples_is_refused():
    with pytest.raises(ValueError, match="batching.size: 0 must be 1 or more"):
        InBatchSampling(size=0, support=[], history=None, negatives=0, full_softmax=False, group_by_item=False, **small.PLAIN)
