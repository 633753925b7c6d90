"""What all batches share: where texts are placed, how histories are laid out, whom an error names."""

import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_jax import experiment
from cold_jax.batching.batch import PackedTexts, recent_items, row_count, table_rows
from cold_jax.text.packing import Rows
from cold_jax.text.tokens import Tokens

TEXTS_PER_ROW = 4


def tokens_of(q: experiment.Prepared, text: int) -> tuple[int, ...]:
    return tuple(q.tokens.token_N[q.tokens.offset_T[text] : q.tokens.offset_T[text + 1]])


@settings(max_examples=12, deadline=None)
@given(batching=small.in_batch_choices(), devices=st.integers(1, 3), packed=st.booleans(), step=st.integers(0, 300))
def test_slots_hold_the_texts(
    prepared: experiment.Prepared, batching: small.InBatchSampling, devices: int, packed: bool, step: int
):
    """A slot's text is the user's profile, or the item's line; lengths are theirs; rows come in the multiple."""
    q, users = prepared, len(prepared.dataset.users)
    place_texts = PackedTexts(q.tokens, small.ENCODER.row_length, TEXTS_PER_ROW) if packed else table_rows
    batch = batching(small.inputs(q, place_texts, multiple=2 * devices, devices=devices))(step)
    if isinstance(batch.rows, Rows):
        segment_RL = batch.rows.segment_RL
        slots = {
            (r * TEXTS_PER_ROW + s - 1): set(batch.rows.text_RL[r][segment_RL[r] == s])
            for r in range(len(segment_RL))
            for s in set(segment_RL[r]) - {0}
        }
    else:
        slots = {slot: {t} for slot, t in enumerate(batch.rows)}
    assert row_count(batch.rows) % (2 * devices) == 0
    real_B, real_J = batch.examples.weight_B > 0, batch.items.valid_J
    for slot_X, text_X in (
        (batch.examples.profile_B[real_B], batch.examples.user_B[real_B]),
        (batch.items.slot_J[real_J], users + batch.items.item_J[real_J]),
    ):
        assert [{tokens_of(q, t) for t in slots[slot]} for slot in slot_X] == [{tokens_of(q, t)} for t in text_X]
    assert not packed or len({tokens_of(q, t) for texts in slots.values() for t in texts}) == len(slots)  # each is encoded once
    np.testing.assert_array_equal(batch.examples.length_B[real_B], q.tokens.length_T[batch.examples.user_B[real_B]])
    np.testing.assert_array_equal(batch.items.length_J[real_J], q.tokens.length_T[users + batch.items.item_J[real_J]])


def test_equal_texts_share_a_slot() -> None:
    """Texts 0, 2 and 3 are the same two tokens; the encoder reads the first of them."""
    tokens = Tokens(np.array([1, 2, 9, 1, 2, 1, 2], np.int32), np.array([0, 2, 3, 5, 7]))
    rows, slot_T = PackedTexts(tokens, 4, 2)(np.array([3, 1, 2, 0]), 1)
    assert slot_T[0] == slot_T[2] == slot_T[3] != slot_T[1]
    assert sorted(rows.text_RL[rows.segment_RL > 0]) == [0, 0, 1]
    assert len(rows.token_RL) == row_count(rows) == 1


@pytest.mark.parametrize(("texts", "multiple", "rows"), [([5, 3, 8], 1, 3), ([5, 3, 8], 2, 4), ([5, 3, 8], 3, 3), ([5], 4, 4)])
def test_a_table_is_read_at_the_texts(texts: list[int], multiple: int, rows: int) -> None:
    row_R, slot_T = table_rows(np.array(texts), multiple)
    assert row_R.dtype == slot_T.dtype == np.int32
    assert row_count(row_R) == rows
    assert row_R[slot_T].tolist() == texts
    assert len(set(slot_T.tolist())) == len(texts)


def test_recent_items_are_the_newest_first() -> None:
    """Row 0 has a history of 7, 8, 9 (the newest) and K = 2; row 1 of 4 alone; row 2 of none."""
    position_N, row_N, item_N = np.array([3, 2, 1, 1]), np.array([0, 0, 0, 1]), np.array([7, 8, 9, 4])
    assert recent_items(position_N, row_N, item_N, (3, 2)).tolist() == [[9, 8], [4, -1], [-1, -1]]


def test_an_error_names_users_and_targets(prepared: experiment.Prepared) -> None:
    batches = small.IN_BATCH(small.inputs(prepared, table_rows))
    batch = batches(0)
    users = [prepared.train.users.ids[u] for u in sorted(set(batch.examples.user_B))]
    items = [prepared.train.items.ids[i] for i in sorted(set(batch.items.item_J[batch.examples.target_B]))]
    assert len(users) > 20  # of whom the first are named
    assert batches.describe(batch) == f"Users of the batch: {users[:20]}; items: {items[:20]}"
