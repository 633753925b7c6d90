"""Who is hidden among what, user by user in Python."""

import dataclasses

import numpy as np
import pytest
from test_entities import make_dataset

from cold_jax.data.matrices import order
from cold_jax.errors import DataError
from cold_jax.splits.assemble import split_digest
from cold_jax.splits.sampled import SampledCandidates

DRAWN = SampledCandidates(seed=42, users=20, validation_users=10, positives=3, candidates=12, support=[0, 2])


def test_drawn_candidates_are_the_newest_among_items_never_taken():
    dataset = make_dataset()
    split = DRAWN(dataset)
    test = split.test
    assert [*test] == ["support_0", "support_2"]
    position_N = order(dataset.user_N, dataset.time_N)
    for count, part in [(20, part) for part in test.values()] + [(10, part) for part in split.validation.values()]:
        assert len(part.user_U) == count
        assert not split.warm_U[part.user_U].any()
        assert part.sampled_candidate_UI is not None
        for row, user in enumerate(part.user_U):
            of_N = np.flatnonzero(dataset.user_N == user)
            own_I = dataset.item_N[of_N[np.argsort(position_N[of_N])]]
            hidden, among = set(part.target_UI[[row]].indices), set(part.sampled_candidate_UI[[row]].indices)
            assert hidden == set(own_I[-3:])
            assert len(among) == 12
            assert hidden <= among
            assert not (among - hidden) & set(own_I)
            shown = set(own_I[-5:-3]) - hidden if part.name == "support_2" else set()
            assert set(part.history_UI[[row]].indices) == shown
    assert set(dataset.user_N[split.train_N]) | {*test["support_0"].user_U, *split.validation["support_0"].user_U} == set(
        dataset.user_N
    )
    again, other = DRAWN(dataset), dataclasses.replace(DRAWN, seed=43)(dataset)
    assert split_digest(again) == split_digest(split) != split_digest(other)


def test_nobody_is_asked_of_no_validation_user():
    assert dataclasses.replace(DRAWN, validation=0)(make_dataset()).validation == {}


def test_drawn_candidates_need_users_and_items():
    dataset = make_dataset()
    with pytest.raises(DataError, match=r"split\.users: 90 and split\.validation 10, but 59 users have the 3 hidden and 2 shown"):
        dataclasses.replace(DRAWN, users=90)(dataset)
    with pytest.raises(DataError, match=r"split\.candidates: 44, but user 'u[0-9]+' took all but [0-9]+ items"):
        dataclasses.replace(DRAWN, candidates=44)(dataset)
    with pytest.raises(ValueError, match=r"split\.positives: 12 must be 1 or more, and less than split\.candidates 12"):
        dataclasses.replace(DRAWN, positives=12)
