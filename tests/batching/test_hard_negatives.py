"""Hard negatives of hand-made vectors."""

from dataclasses import replace

import numpy as np
import pytest
import small

from cold_jax.batching.hard_negatives import draw_hard_negatives, nearest_items
from cold_jax.errors import ConfigError

# Eight items at these angles, in degrees; lengths differ, and cosines do not see them. Items 0 to 3 are of the first genre.
ANGLES = np.deg2rad([0, 10, 25, 45, 70, 100, 135, 180])
VECTOR_ID = (np.arange(1, 9)[:, None] * np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)).tolist()
GENRE_IF = [[1, 0]] * 4 + [[0, 1]] * 4
TRAIN = small.make_train(VECTOR_ID, GENRE_IF)
ALL = np.arange(8)


def test_neighbours_are_numbered_from_the_nearest_without_the_item_itself() -> None:
    assert nearest_items(TRAIN, ALL, 0, 2, None).tolist() == [[1, 2], [0, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7], [6, 5]]
    assert nearest_items(TRAIN, ALL, 1, 3, None)[0].tolist() == [2, 3]
    assert nearest_items(TRAIN, np.array([1, 4, 7]), 0, 2, None)[:2].tolist() == [[1, 4], [4, 7]]  # among those alone


def test_where_there_are_fewer_there_is_none() -> None:
    assert nearest_items(TRAIN, ALL, 5, 9, None)[0].tolist() == [6, 7, -1]
    shared = nearest_items(TRAIN, ALL, 1, 5, "genre")
    assert shared[[0, 4]].tolist() == [[2, 3, -1, -1], [6, 7, -1, -1]]


def test_blocks_of_rows_are_one_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nearest_items(TRAIN, ALL, 0, 4, "genre")
    monkeypatch.setattr("cold_jax.batching.hard_negatives.ROWS", 3)
    np.testing.assert_array_equal(nearest_items(TRAIN, ALL, 0, 4, "genre"), whole)


def test_an_unknown_attribute_is_named() -> None:
    with pytest.raises(ConfigError, match=r"batching\.hard_share: items have no attribute 'brand'; they have genre"):
        nearest_items(replace(TRAIN), ALL, 0, 2, "brand")


def test_what_the_user_took_is_not_drawn_and_the_rest_equally_often() -> None:
    near_IK = nearest_items(TRAIN, ALL, 0, 4, None)
    target_B = np.array([0, 7])  # neighbours 1, 2, 3, 4 and 6, 5, 4, 3
    taken_BK = np.array([[True, False, False, False], [False, True, True, True]])
    draw, drawn = np.random.default_rng(0), np.zeros(8, int)
    for _ in range(300):
        found = draw_hard_negatives(near_IK, target_B, taken_BK, 2, draw)
        assert len(set(found[:2].tolist())) == 2
        assert found[2:].tolist() == [6]
        np.add.at(drawn, found[:2], 1)
    assert drawn[[0, 1, 5, 7]].tolist() == [0] * 4
    assert drawn[[2, 3, 4]] == pytest.approx([200] * 3, abs=40)  # five standard deviations
