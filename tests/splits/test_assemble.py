"""Planted leaks, and what training must not depend on."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_data import BOTH_COLD, ITEM_COLD, KINDS, USER_COLD, WARM, dataset_of, from_file, hand_dataset, make_dataset, write

from cold_jax.data.dataset import Dataset
from cold_jax.errors import DataError, LeakError
from cold_jax.splits.assemble import Split, assemble, assert_no_leak, split_digest, train_view
from cold_jax.splits.labels import Cold
from cold_jax.splits.next_item import NextItem
from cold_jax.splits.sampled import SampledCandidates
from cold_jax.splits.tasks import TrainView
from cold_jax.splits.temporal import TemporalCold

COLD_SIDE = {"user_cold": Cold.users, "item_cold": Cold.items, "both_cold": Cold.both, "warm": Cold.none}
VECTORS = {"title": np.zeros((45, 2))}, {"profile": np.zeros((60, 2))}


def bits(train: TrainView) -> list[tuple[str, bytes]]:
    matrix = train.interaction_UI
    arrays = (matrix.indptr, matrix.indices, matrix.data, train.warm_U, train.warm_I, train.user_N, train.item_N, train.value_N)
    return [(array.dtype.name, array.tobytes()) for array in arrays]


@pytest.mark.parametrize("kind", ["user_cold", "item_cold", "both_cold"])
@pytest.mark.parametrize("into", ["train", "warm_val", "warm_test"])
def test_a_planted_leak_is_caught(kind: str, into: str, tmp_path: Path):
    dataset = make_dataset()
    split = KINDS[kind](dataset)
    cold_N = split.cold_U[dataset.user_N] if kind == "user_cold" else split.cold_I[dataset.item_N]
    leaked = int(np.flatnonzero(cold_N & np.char.startswith(split.part_N, "cold"))[0])
    part_N = split.part_N.copy()
    part_N[leaked] = into
    name = f"user {dataset.users.ids[dataset.user_N[leaked]]!r}" if kind == "user_cold" else "item "
    with pytest.raises(LeakError, match=rf"{name}.* is cold, but 1 of its interactions are in train"):
        from_file(write(tmp_path, dataset, part_N))(dataset)


def test_the_guard_looks_at_training_and_at_targets():
    dataset = make_dataset()
    split = ITEM_COLD(dataset)
    assert_no_leak(dataset, split)
    cold_N = np.flatnonzero(split.part_N == "cold_test")[:2]
    with pytest.raises(LeakError, match=r"is cold, but"):
        assert_no_leak(dataset, dataclasses.replace(split, train_N=np.concatenate([split.train_N, cold_N])))
    task = split.test["warm"]
    known_targets = dataclasses.replace(task, target_UI=task.history_UI)
    with pytest.raises(LeakError, match=r"targets of the task 'warm' are in training"):
        assert_no_leak(dataset, dataclasses.replace(split, test={"warm": known_targets}))
    targets_as_history = dataclasses.replace(task, history_UI=task.target_UI)
    with pytest.raises(LeakError, match=r"targets of the task 'warm' are in the users' history"):
        assert_no_leak(dataset, dataclasses.replace(split, test={"warm": targets_as_history}))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), change=st.sampled_from(["delete", "permute", "other ones"]))
def test_training_does_not_depend_on_held_out_interactions(kind: str, seed: int, change: str):
    dataset, generator = make_dataset(), np.random.default_rng(seed)
    split = KINDS[kind](dataset)
    before = bits(train_view(dataset, split, *VECTORS))
    hidden_N = np.flatnonzero(split.part_N != "train")
    columns = [dataset.user_N, dataset.item_N, dataset.value_N, dataset.time_N, split.part_N]
    if change == "delete":
        gone_N = generator.choice(hidden_N, len(hidden_N) // 3, replace=False)
        columns = [np.delete(column_N, gone_N) for column_N in columns]
    elif change == "permute":
        to_N = generator.permutation(hidden_N)
        columns = [column_N.copy() for column_N in columns]
        for column_N in columns:
            column_N[hidden_N] = column_N[to_N]
    else:  # other partners, ratings and times; who is cold stays cold
        columns = [column_N.copy() for column_N in columns]
        for part in np.unique(split.part_N[hidden_N]):
            of_N = np.flatnonzero(split.part_N == part)
            for column_N in columns[:4]:
                column_N[of_N] = generator.choice(column_N[of_N], len(of_N))
        columns[2][hidden_N] += 1
        columns[3][hidden_N] -= 100
    changed = dataclasses.replace(dataset, **dict(zip(("user_N", "item_N", "value_N", "time_N"), columns[:4], strict=True)))
    after = assemble(changed, columns[4], COLD_SIDE[kind], support=[0, 1], both_support=2, threshold=split.threshold)
    assert bits(train_view(changed, after, *VECTORS)) == before


def test_the_view_is_of_training_alone_in_each_users_order():
    dataset = make_dataset()
    split = USER_COLD(dataset)
    train = train_view(dataset, split, *VECTORS)
    index = sorted(split.train_N.tolist(), key=lambda n: (dataset.user_N[n], dataset.time_N[n], n))
    np.testing.assert_array_equal(train.item_N, dataset.item_N[index])
    np.testing.assert_array_equal(train.user_N, dataset.user_N[index])
    np.testing.assert_array_equal(train.value_N, dataset.value_N[index])
    pairs = set(zip(train.user_N.tolist(), train.item_N.tolist(), strict=True))
    assert pairs == set(zip(*(x.tolist() for x in train.interaction_UI.nonzero()), strict=True))
    assert set(train.interaction_UI.data) == {1}
    assert not train.warm_U[split.cold_U].any()


def test_empty_training_and_empty_tasks_are_errors():
    dataset, cold = hand_dataset(), Cold.users
    with pytest.raises(DataError, match=r"training is empty: none of the 8 interactions"):
        assemble(dataset, np.full(8, "warm_test"), Cold.none)
    labels = ["train", "train", "train", "warm_val", "cold_val", "cold_val", "cold_test", "cold_test"]
    with pytest.raises(DataError, match=r"the targets of the test task 'warm' are labelled warm_test, but there is none"):
        assemble(dataset, np.array(labels), cold, [0])
    twice = dataclasses.replace(
        dataset, item_N=np.array([0, 1, 0, 0, 0, 1, 0, 1], np.int32)
    )  # b's second interaction repeats their first
    labels[3] = "warm_test"
    with pytest.raises(DataError, match=r"'warm' are labelled warm_test, but all 1 of them are in the users' history too"):
        assemble(twice, np.array(labels), cold, [0])


def test_the_first_time_is_given_of_all_users_or_of_none():
    dataset = make_dataset()
    assert train_view(dataset, USER_COLD(dataset), *VECTORS).first_seen_U is None
    with_time = dataclasses.replace(USER_COLD, use_first_seen=True)(dataset)
    first_seen_U = train_view(dataset, with_time, *VECTORS).first_seen_U
    assert first_seen_U is not None
    assert first_seen_U.tolist() == [dataset.time_N[dataset.user_N == user].min(initial=np.inf) for user in range(60)]
    assert first_seen_U[-1] == np.inf  # who has no interaction
    assert split_digest(with_time) != split_digest(USER_COLD(dataset))


RANKING = [
    USER_COLD,
    ITEM_COLD,
    BOTH_COLD,
    WARM,
    NextItem(exclude_seen=True, cold_window=None),
    TemporalCold(side="users", validation_fraction=0.2, test_fraction=0.2, support=[0, 1]),
    TemporalCold(side="items", validation_fraction=0.2, test_fraction=0.2, support=[0]),
    SampledCandidates(seed=1, users=10, validation_users=5, positives=2, candidates=8, support=[0]),
]


@pytest.mark.parametrize("make", RANKING, ids=lambda make: type(make).__name__)
def test_a_ranking_split_is_of_positives_alone(make: Callable[[Dataset], Split]):
    """It is the split of the data set without the other rows, which are there, labelled as unused."""
    dataset = by_time(make_dataset(), make.side if isinstance(make, TemporalCold) else "users")
    positive_N = dataset.value_N >= 3
    split = make(dataclasses.replace(dataset, positive_N=positive_N))
    kept_N = np.flatnonzero(positive_N)
    alone = make(dataset.rows(kept_N))
    assert (split.part_N[~positive_N] == "").all()
    assert split.part_N[kept_N].tolist() == alone.part_N.tolist()
    assert split.train_N.tolist() == kept_N[alone.train_N].tolist()
    assert split_digest(dataclasses.replace(split, part_N=alone.part_N)) == split_digest(alone)
    train = train_view(dataset, split, *VECTORS)
    assert (train.value_N >= 3).all()
    assert len(train.value_N) == np.count_nonzero(split.part_N == "train")


@pytest.mark.parametrize("make", [dataclasses.replace(WARM, ranked=False), dataclasses.replace(ITEM_COLD, threshold=4)])
def test_a_pointwise_split_keeps_all_rows(make: Callable[[Dataset], Split]):
    dataset = make_dataset()
    split = make(dataclasses.replace(dataset, positive_N=dataset.value_N >= 3))
    assert split_digest(split) == split_digest(make(dataset))


def test_a_file_that_ranks_leaves_negatives_out(tmp_path: Path):
    dataset = make_dataset()
    dataset = dataclasses.replace(dataset, positive_N=dataset.value_N >= 3)
    split = USER_COLD(dataset)
    assert split_digest(from_file(write(tmp_path, dataset, split.part_N))(dataset)) == split_digest(split)
    labels = np.where(split.part_N == "", "train", split.part_N)  # a file that labels them
    labels[np.isin(dataset.user_N, np.flatnonzero(split.cold_U)) & (labels == "train")] = ""
    read = from_file(write(tmp_path, dataset, labels))(dataset)
    assert (read.part_N[~dataset.positive_N] == "").all()  # pyright: ignore


def test_one_line_says_that_values_differ(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    dataset = make_dataset()
    message = (
        "data.positive: null, so all 1200 interactions are positives, whatever their value (1 to 5); '>=5' would keep the highest"
    )
    for make in (USER_COLD, WARM):
        caplog.clear()
        make(dataset)
        assert [line for line in caplog.messages if "positive" in line] == [message]
    caplog.clear()
    USER_COLD(dataclasses.replace(dataset, positive_N=dataset.value_N >= 3))
    USER_COLD(dataclasses.replace(dataset, value_N=np.ones(1200, np.float32)))
    dataclasses.replace(WARM, ranked=False)(dataset)
    assert not [line for line in caplog.messages if "positive" in line]


def by_time(dataset: Dataset, side: str) -> Dataset:
    """Users, or items, are first seen one after the other, so that some are late."""
    entity_N = dataset.user_N if side == "users" else dataset.item_N
    return dataclasses.replace(dataset, time_N=entity_N * 6.0 + np.random.default_rng(1).exponential(40, len(dataset)))


def test_labels_make_entities_cold_on_their_own_side():
    dataset = dataset_of([("a", "x", 1, 0), ("b", "x", 1, 0), ("b", "y", 1, 0), ("a", "z", 1, 0)])
    of_users = assemble(dataset, np.array(["train", "cold_test", "cold_test", "train"]), Cold.users, [0])
    of_items = assemble(dataset, np.array(["train", "train", "cold_test", "train"]), Cold.items)
    assert (of_users.cold_U.tolist(), of_users.cold_I.tolist()) == ([False, True], [False] * 3)
    assert (of_items.cold_U.tolist(), of_items.cold_I.tolist()) == ([False] * 2, [False, True, False])
    assert (of_users.warm_U.tolist(), of_users.warm_I.tolist()) == ([True, False], [True, False, True])
    assert (of_items.warm_U.tolist(), of_items.warm_I.tolist()) == ([True, True], [True, False, True])


def test_likes_reach_the_threshold():
    dataset = dataset_of([("a", "x", 4, 0), ("a", "y", 3.9, 1), ("a", "z", 5, 2), ("b", "x", 1, 0), ("b", "y", 4, 1)])
    split = assemble(dataset, np.array(["train"] * 3 + ["warm_test"] * 2), Cold.none, threshold=4)
    like_N = train_view(dataset, split, {}, {}).like_N
    assert like_N is not None
    assert like_N.tolist() == [True, False, True]
