"""Orders and first times by loops in Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cold_jax.data.matrices import binarize, binary, first_seen, order


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_order_is_by_time_then_row(rows: list[tuple[int, int]]) -> None:
    position_N = order(np.array([u for u, _ in rows], int), np.array([t for _, t in rows], float))
    for n, (user, time) in enumerate(rows):
        assert position_N[n] == sum(1 for m, (u, t) in enumerate(rows) if u == user and (t, m) < (time, n))


def test_a_repeated_pair_is_one() -> None:
    pair_UI = binary(np.array([1, 0, 1, 1]), np.array([2, 0, 2, 1]), (3, 4))
    assert pair_UI.toarray().tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert pair_UI.indices.tolist() == [0, 1, 2]
    assert (binarize(pair_UI * 3) != pair_UI).nnz == 0


def test_the_first_time_of_an_entity() -> None:
    first_X = first_seen(np.array([2, 0, 2]), np.array([5.0, 7.0, 3.0]))
    assert first_X.tolist() == [7.0, np.inf, 3.0]
    assert first_seen(np.zeros(0, int), np.zeros(0)).tolist() == []
