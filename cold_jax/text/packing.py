"""Short texts packed into rows of one length."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cold_jax.text.tokens import Tokens

PREFIX = -1  # the segment of tokens that all texts of a row begin with


class Rows(NamedTuple):
    """Texts packed into rows, as an encoder reads them; all int32. A position without a token has segment 0."""

    token_RL: np.ndarray
    type_RL: np.ndarray
    position_RL: np.ndarray  # position within its own text
    segment_RL: np.ndarray  # 0 = empty, 1 … S = which text of the row, PREFIX = all of them
    text_RL: np.ndarray  # index of the text in the corpus, 0 where empty
    prompt_RL: np.ndarray  # 1 where a token belongs to a prompt that pooling leaves out


def fit_row_length(tokens: Tokens, least: int) -> int:
    """least · 2^j, the smallest that holds the longest text: few distinct lengths mean few compilations."""
    length = least
    while length < tokens.length_T.max(initial=0):
        length *= 2
    return length


def pack(tokens: Tokens, text_T: np.ndarray, row_length: int, texts_per_row: int, row_multiple: int) -> tuple[Rows, np.ndarray]:
    """Packs texts into rows, first-fit-decreasing: the longest first, each into the first row with room for it.

    Args:
      text_T: the texts to pack, as indices into `tokens`.
      row_length: tokens that a row holds.
      texts_per_row: texts that a row holds, at most.
      row_multiple: the number of rows is rounded up to a multiple of it, by empty rows.

    Returns:
      the rows, and slot_T: `row * texts_per_row + segment - 1`, the index of each text's pooled vector.

    Raises:
      ValueError: a text is longer than a row.
    """
    length_T = np.maximum(tokens.length_T[text_T], 1)  # a text without tokens takes an empty position
    if len(text_T) and length_T.max() > row_length:
        longest = text_T[length_T.argmax()]
        raise ValueError(f"text {longest} has {length_T.max()} tokens, a row holds {row_length}; truncate, or make rows longer")
    row_T, start_T, segment_T, filled = _first_fit(length_T, row_length, texts_per_row)
    R = max(-(-filled // row_multiple), 1) * row_multiple

    length_T = tokens.length_T[text_T]
    prompt_T = tokens.prompt_T[text_T] if len(tokens.prompt_T) else np.zeros_like(length_T)
    position_N = np.arange(length_T.sum()) - np.repeat(np.cumsum(length_T) - length_T, length_T)
    at_N = np.repeat(row_T * row_length + start_T, length_T) + position_N
    from_N = np.repeat(tokens.offset_T[text_T], length_T) + position_N

    def fill(value_N: np.ndarray) -> np.ndarray:
        value_RL = np.zeros((R, row_length), np.int32)
        value_RL.reshape(-1)[at_N] = value_N
        return value_RL

    rows = Rows(
        token_RL=fill(tokens.token_N[from_N]),
        type_RL=fill(np.zeros_like(at_N)),
        position_RL=fill(position_N),
        segment_RL=fill(np.repeat(segment_T, length_T)),
        text_RL=fill(np.repeat(text_T, length_T)),
        prompt_RL=fill(position_N < np.repeat(prompt_T, length_T)),
    )
    return rows, row_T * texts_per_row + segment_T - 1


def row_slices(rows: Rows, size: int) -> Iterator[Rows]:
    """Slices of `size` rows, in their order; the last may be shorter."""
    for start in range(0, len(rows.token_RL), size):
        yield Rows(*(array_RL[start : start + size] for array_RL in rows))


def _first_fit(length_T: np.ndarray, row_length: int, texts_per_row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Row, start and segment of each text, and the number of rows.

    Texts of one length are placed together: they fill the first row with room, then the next, as first fit places them one by
    one. So the loop is over lengths, not over texts.
    """
    T = len(length_T)
    row_T, start_T, segment_T = np.zeros((3, T), np.int64)
    used_R, texts_R = np.zeros((2, T), np.int64)  # never more rows than texts
    for length in np.unique(length_T)[::-1]:
        same = np.flatnonzero(length_T == length)
        room_R = np.minimum((row_length - used_R) // length, texts_per_row - texts_R)
        taken_R = np.diff(np.minimum(np.cumsum(room_R), len(same)), prepend=0)
        row = np.repeat(np.arange(T), taken_R)
        within = np.arange(len(same)) - np.repeat(np.cumsum(taken_R) - taken_R, taken_R)
        row_T[same], start_T[same], segment_T[same] = row, used_R[row] + within * length, texts_R[row] + within + 1
        used_R += taken_R * length
        texts_R += taken_R
    return row_T, start_T, segment_T, int(np.count_nonzero(texts_R))
