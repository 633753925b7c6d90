"""Batches by their properties, on the small data of small.py and by hypothesis over what a step may draw."""

from typing import Any

import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_jax import build
from cold_jax.batching.batch import Batch, PackedTexts, table_rows
from cold_jax.batching.sampled import InBatchSampling, SampledBatches
from cold_jax.batching.sequences import SequenceBatching
from cold_jax.text.packing import Rows

CHOICES = st.builds(
    InBatchSampling,
    size=st.integers(1, 60),
    support=st.lists(st.integers(0, 9), max_size=3),
    history=st.none() | st.integers(1, 4),
    negatives=st.integers(0, 40),
    full_softmax=st.booleans(),
    group_by_item=st.booleans(),
)
STEP = InBatchSampling(size=13, support=[1, 3], history=None, negatives=2, full_softmax=False, group_by_item=False)


def make(
    q: build.Question, batching: InBatchSampling, seed: int = 0, devices: int = 1, place: Any = table_rows, multiple: int = 1
) -> SampledBatches:
    return SampledBatches(batching, q.train, q.tokens.length_T, place, seed, multiple, devices)


def pairs(batch: Batch) -> list[tuple[int, int]]:
    """(user, target) of the examples that count."""
    real_B = batch.examples.weight_B > 0
    return list(zip(batch.examples.user_B[real_B], batch.items.item_J[batch.examples.target_B[real_B]], strict=True))


def written(q: build.Question, t: int) -> tuple[int, ...]:
    return tuple(q.tokens.token_N[q.tokens.offset_T[t] : q.tokens.offset_T[t + 1]])


def same(a: Batch, b: Batch) -> None:
    for one, other in zip((*a.rows, *a.examples, *a.items), (*b.rows, *b.examples, *b.items), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=6, deadline=None)
@given(batching=CHOICES, seed=st.integers(0, 2**31), steps=st.lists(st.integers(0, 400), min_size=2, max_size=4, unique=True))
def test_a_batch_is_a_function_of_seed_and_step(question: build.Question, batching: InBatchSampling, seed: int, steps: list[int]):
    one, other = make(question, batching, seed), make(question, batching, seed)
    forth = [one(step) for step in steps]
    back = [other(step) for step in reversed(steps)][::-1]
    for a, b in zip(forth, back, strict=True):
        same(a, b)


def test_seeds_steps_and_epochs_differ(question: build.Question):
    batches = make(question, STEP)
    epoch = batches.steps_per_epoch
    assert epoch > 2
    orders = [tuple(pair for step in range(start, start + epoch) for pair in pairs(batches(step))) for start in (0, epoch)]
    orders += [tuple(pair for step in range(epoch) for pair in pairs(make(question, STEP, seed=1)(step)))]
    assert len(set(orders)) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


@settings(max_examples=15, deadline=None)
@given(batching=CHOICES, devices=st.integers(1, 3), epoch=st.integers(0, 2))
def test_an_epoch_has_every_interaction_once(question: build.Question, batching: InBatchSampling, devices: int, epoch: int):
    batches, train = make(question, batching, devices=devices), question.train
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    values = {(user, item): value for user, item, value in zip(train.user_N, train.item_N, train.value_N, strict=True)}
    seen, shapes = [], set()
    for batch in map(batches, steps):
        found = pairs(batch)
        np.testing.assert_array_equal(batch.examples.value_B[: len(found)], [values[pair] for pair in found])
        seen += found
        shapes.add(tuple(x.shape for x in (*batch.examples, *batch.items) if x is not None))
        assert len(batch.examples.user_B) % devices == 0
        assert 0 <= len(batch.examples.user_B) - batching.size < devices
    assert sorted(seen) == sorted(values)
    assert len(shapes) == 1


@settings(max_examples=20, deadline=None)
@given(batching=CHOICES, seed=st.integers(0, 2**31), step=st.integers(0, 300))
def test_supports(question: build.Question, batching: InBatchSampling, seed: int, step: int):
    """Of train only, never the target, sizes of the list, and a sampled history weighs as much as the whole."""
    batch = make(question, batching, seed)(step)
    known_UI = question.train.interaction_UI.toarray() > 0
    item_J, history_BJ = batch.items.item_J, batch.examples.history_BJ
    for b, (user, target) in enumerate(pairs(batch)):
        shown_J = history_BJ[b] > 0
        assert batch.items.valid_J[shown_J].all()
        assert known_UI[user, item_J[shown_J]].all()
        assert target not in item_J[shown_J]
        others = known_UI[user].sum() - 1
        wholes = {min(k, others) for k in batching.support} or {others}
        assert np.count_nonzero(shown_J) in {min(whole, batching.history or whole) for whole in wholes}
        assert any(history_BJ[b].sum() == pytest.approx(whole, rel=1e-6) for whole in wholes)
        assert len(set(history_BJ[b][shown_J])) <= 1
        np.testing.assert_array_equal(batch.examples.seen_BJ[b][batch.items.valid_J], known_UI[user, item_J[batch.items.valid_J]])
    filled_B = batch.examples.weight_B == 0
    assert not history_BJ[filled_B].any()
    assert not batch.examples.seen_BJ[:, ~batch.items.valid_J].any()


def test_every_size_and_every_other_item_is_drawn(question: build.Question):
    """Of supports of 1 and 3: both, about equally often; of each user all his items but the target, sooner or later."""
    batches, known_UI = make(question, STEP), question.train.interaction_UI.toarray() > 0
    sizes, history_UI = [], np.zeros_like(known_UI)
    for step in range(10 * batches.steps_per_epoch):
        batch = batches(step)
        for b, (user, _) in enumerate(pairs(batch)):
            shown_J = batch.examples.history_BJ[b] > 0
            sizes.append(np.count_nonzero(shown_J))
            history_UI[user, batch.items.item_J[shown_J]] = True
    several_U = known_UI.sum(1) > 3
    np.testing.assert_array_equal(history_UI[several_U], known_UI[several_U])
    assert np.mean(np.array(sizes) == 1) == pytest.approx(0.5, abs=0.1)  # 2,160 draws, and a few users with little to show


def test_every_step_draws_anew(question: build.Question) -> None:
    """Of a batch of one that shows nothing the items are the target and three of the 21 warm ones: hardly ever the same three."""
    one = InBatchSampling(size=1, support=[0], history=None, negatives=3, full_softmax=False, group_by_item=False)
    drawn = []
    for seed in (0, 1):
        batches = make(question, one, seed)
        for batch in map(batches, range(30)):
            drawn.append(frozenset(batch.items.item_J[batch.items.valid_J]) - {target for _, target in pairs(batch)})
    assert len(set(drawn)) > 50
    assert frozenset.union(*drawn) == set(np.flatnonzero(question.train.warm_I))


def test_nothing_hidden_is_in_a_batch(question: build.Question):
    """Neither a cold item nor a held-out interaction, as a target, support, known positive or candidate."""
    q, batches = (
        question,
        make(question, InBatchSampling(size=30, support=[], history=None, negatives=30, full_softmax=False, group_by_item=False)),
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
def test_items(question: build.Question, batching: InBatchSampling, step: int):
    """Each once, ascending: the targets, the supports and as many drawn ones as asked for; all warm ones as a full_softmax."""
    q = question
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
        assert min(batching.negatives, len(warm_I)) <= len(item_J) <= len(needed) + batching.negatives
        share_J = q.train.interaction_UI.toarray().mean(0)[item_J] / q.train.interaction_UI.toarray().mean(0).sum()
        np.testing.assert_allclose(batch.items.log_q_J[batch.items.valid_J], np.log(share_J), rtol=1e-5)


@settings(max_examples=12, deadline=None)
@given(batching=CHOICES, devices=st.integers(1, 3), packed=st.booleans(), step=st.integers(0, 300))
def test_slots_hold_the_texts(question: build.Question, batching: InBatchSampling, devices: int, packed: bool, step: int):
    """A slot's text is the user's profile, or the item's line; lengths are theirs; rows come in the multiple."""
    q, users = question, len(question.dataset.users)
    place = PackedTexts(q.tokens, small.ENCODER.row_length, 4) if packed else table_rows
    batch = make(q, batching, devices=devices, place=place, multiple=2 * devices)(step)
    if isinstance(batch.rows, Rows):
        segment_RL = batch.rows.segment_RL
        slots = {
            (r * 4 + s - 1): set(batch.rows.text_RL[r][segment_RL[r] == s])
            for r in range(len(segment_RL))
            for s in set(segment_RL[r]) - {0}
        }
        assert len(segment_RL) % (2 * devices) == 0
    else:
        slots = {slot: {t} for slot, t in enumerate(batch.rows)}
        assert len(batch.rows) % (2 * devices) == 0
    real_B, real_J = batch.examples.weight_B > 0, batch.items.valid_J
    for slot_X, text_X in (
        (batch.examples.profile_B[real_B], batch.examples.user_B[real_B]),
        (batch.items.slot_J[real_J], users + batch.items.item_J[real_J]),
    ):
        assert [{written(q, t) for t in slots[slot]} for slot in slot_X] == [{written(q, t)} for t in text_X]
    assert not packed or len({written(q, t) for of in slots.values() for t in of}) == len(slots)  # each is encoded once
    np.testing.assert_array_equal(batch.examples.length_B[real_B], q.tokens.length_T[batch.examples.user_B[real_B]])
    np.testing.assert_array_equal(batch.items.length_J[real_J], q.tokens.length_T[users + batch.items.item_J[real_J]])


def test_rows_are_of_one_shape_for_an_epoch(question: build.Question):
    place = PackedTexts(question.tokens, small.ENCODER.row_length, 4)
    batches = make(
        question,
        InBatchSampling(size=20, support=[0, 5], history=None, negatives=3, full_softmax=False, group_by_item=False),
        place=place,
        multiple=2,
    )
    assert len({batches(step).rows.token_RL.shape for step in range(3 * batches.steps_per_epoch)}) == 1


def test_a_repeated_interaction_does_not_show_its_target(question: build.Question):
    """A user who took an item twice: it is the target twice an epoch, and in neither case in its own support."""
    train, twice = question.train, 5
    repeated = {
        name: np.insert(getattr(train, name), twice, getattr(train, name)[twice]) for name in ("user_N", "item_N", "value_N")
    }
    q = question._replace(train=small.replace(train, **repeated))
    pair, seen = (train.user_N[twice], train.item_N[twice]), 0
    batches = make(q, InBatchSampling(size=10, support=[], history=None, negatives=0, full_softmax=False, group_by_item=False))
    for step in range(batches.steps_per_epoch):
        batch = batches(step)
        for b, found in enumerate(pairs(batch)):
            if found == pair:
                seen += 1
                assert found[1] not in batch.items.item_J[batch.examples.history_BJ[b] > 0]
    assert seen == 2


def test_an_epoch_deals_out_items_with_all_that_they_have(question: build.Question):
    batches = make(question, small.replace(STEP, group_by_item=True))
    epochs = [
        [pair for step in range(batches.steps_per_epoch) for pair in pairs(batches(start + step))]
        for start in (0, batches.steps_per_epoch)
    ]
    for epoch in epochs:
        item_N = [item for _, item in epoch]
        assert len({(item, n) for n, item in enumerate(item_N) if n == 0 or item_N[n - 1] != item}) == len(set(item_N))
        assert sorted(epoch) == sorted(zip(question.train.user_N, question.train.item_N, strict=True))
    assert epochs[0] != epochs[1]


def test_a_size_of_none_is_refused():
    with pytest.raises(ValueError, match="batching.size: 0 is not a batch size"):
        InBatchSampling(size=0, support=[], history=None, negatives=0, full_softmax=False, group_by_item=False)


@pytest.mark.parametrize("cold_negatives", [True, False])
def test_a_prefix_shows_all_before_its_target_the_newest_in_order(question: build.Question, cold_negatives: bool):
    """An epoch asks for every training interaction but each user's first, once."""
    train = question.train
    batches = SequenceBatching(size=37, history=3, cold_negatives=cold_negatives)(
        train, question.tokens.length_T, table_rows, 0, 1, 2
    )
    expected = []
    for user in range(len(train.users)):
        items = train.item_N[train.user_N == user].tolist()
        expected += [(user, item, tuple(items[:n][::-1])) for n, item in enumerate(items) if n > 0]
    found = []
    for step in range(batches.steps_per_epoch):
        batch = batches(step)
        e = batch.examples
        assert e.recent_BK is not None
        assert e.recent_BK.shape == (38, 3)  # for two devices
        np.testing.assert_array_equal(batch.rows[batch.items.slot_J], len(train.users) + np.arange(len(train.items)))
        np.testing.assert_array_equal(batch.items.valid_J, cold_negatives | train.warm_I)
        for b in np.flatnonzero(e.weight_B):
            assert batch.rows[e.profile_B[b]] == e.user_B[b]
            before = next(row[2] for row in expected if row[:2] == (e.user_B[b], e.target_B[b]))
            assert sorted(np.flatnonzero(e.seen_BJ[b])) == sorted(before)
            np.testing.assert_array_equal(e.history_BJ[b], e.seen_BJ[b])
            assert tuple(e.recent_BK[b]) == (*before, -1, -1, -1)[:3]
            found.append((e.user_B[b], e.target_B[b], before))
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("changed", ["size", "history"])
def test_prefixes_refuse_a_size_of_nothing(changed: str):
    with pytest.raises(ValueError, match=f"batching.{changed}"):
        SequenceBatching(**{"size": 4, "history": 4, "cold_negatives": True} | {changed: 0})
