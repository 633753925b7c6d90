"""Rows hold every token of every text, once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_jax.text.packing import fit_row_length, pack, row_slices
from cold_jax.text.tokens import Tokens


def corpus(length_T: list[int]) -> Tokens:
    """Texts whose every token is another number, none of them 0."""
    return Tokens(np.arange(1, sum(length_T) + 1, dtype=np.int32), np.concatenate([[0], np.cumsum(length_T)]).astype(np.int64))


@pytest.mark.parametrize(("longest", "length"), [(0, 8), (1, 8), (8, 8), (9, 16), (16, 16), (33, 64)])
def test_a_row_is_as_long_as_it_must(longest: int, length: int) -> None:
    assert fit_row_length(corpus([longest, 0]), 8) == length
    assert fit_row_length(corpus([]), 8) == 8


def first_fit_decreasing(length_T: list[int], row_length: int, texts_per_row: int) -> list[int]:
    """The textbook's: one text after the other, each into the first row that still holds it."""
    room, row_T = [], [0] * len(length_T)
    for t in sorted(range(len(length_T)), key=lambda t: -length_T[t]):
        row = next((r for r, (places, texts) in enumerate(room) if places >= length_T[t] and texts), len(room))
        if row == len(room):
            room.append((row_length, texts_per_row))
        room[row] = room[row][0] - length_T[t], room[row][1] - 1
        row_T[t] = row
    return row_T


@settings(deadline=None)
@given(st.lists(st.integers(1, 16), max_size=60), st.integers(1, 5), st.integers(1, 4), st.randoms())
def test_every_token_stands_in_its_row_once(length_T: list[int], texts_per_row: int, multiple: int, random) -> None:
    tokens = corpus(length_T)
    text_T = np.array(random.sample(range(len(length_T)), random.randint(0, len(length_T))), np.int64)
    rows, slot_T = pack(tokens, text_T, 16, texts_per_row, multiple)
    for value_RL in rows:
        assert value_RL.dtype == np.int32
        assert value_RL.shape == rows.token_RL.shape
    assert rows.token_RL.shape[1] == 16
    assert len(rows.token_RL) % multiple == 0
    for t, slot in zip(text_T, slot_T, strict=True):
        row, segment = slot // texts_per_row, slot % texts_per_row + 1
        (at,) = np.nonzero(rows.segment_RL[row] == segment)
        assert at.tolist() == list(range(at[0], at[0] + length_T[t]))
        assert rows.token_RL[row, at].tolist() == list(range(tokens.offset_T[t] + 1, tokens.offset_T[t + 1] + 1))
        assert rows.position_RL[row, at].tolist() == list(range(length_T[t]))
        assert (rows.text_RL[row, at] == t).all()
    assert len(set(slot_T.tolist())) == len(text_T)
    empty_RL = rows.segment_RL == 0
    assert (~empty_RL).sum() == sum(length_T[t] for t in text_T)
    for value_RL in rows:
        assert not value_RL[empty_RL].any()
    assert (slot_T // texts_per_row).tolist() == first_fit_decreasing([length_T[t] for t in text_T], 16, texts_per_row)


def test_a_text_of_no_token_has_a_slot() -> None:
    rows, slot_T = pack(corpus([2, 0, 0]), np.arange(3), 4, 3, 1)
    assert sorted(slot_T.tolist()) == [0, 1, 2]
    assert rows.segment_RL.tolist() == [[1, 1, 0, 0]]


def test_no_text_makes_rows_all_the_same() -> None:
    rows, slot_T = pack(corpus([]), np.zeros(0, np.int64), 4, 3, 2)
    assert rows.token_RL.shape == (2, 4)
    assert slot_T.shape == (0,)


def test_a_text_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="text 1 has 5 tokens, a row holds 4"):
        pack(corpus([2, 5]), np.arange(2), 4, 3, 1)


def test_slices_of_rows_are_the_rows() -> None:
    rows, _ = pack(corpus([3, 4, 2, 4, 4]), np.arange(5), 4, 1, 1)
    slices = list(row_slices(rows, 2))
    assert [len(part.token_RL) for part in slices] == [2, 2, 1]
    for whole, *parts in zip(rows, *slices, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)
