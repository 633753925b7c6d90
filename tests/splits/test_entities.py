"""Recipes by their counts, files by the splits that wrote them, planted leaks, and what training must not depend on."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.matrices import first_seen, order
from cold_jax.errors import DataError, LeakError
from cold_jax.runs.folder import Run
from cold_jax.splits.assemble import assemble, assert_no_leak, split_digest, train_view
from cold_jax.splits.entities import BothCold, ItemCold, UserCold, Warm
from cold_jax.splits.files import FromFile, SplitRows
from cold_jax.splits.labels import KNOWN, Cold
from cold_jax.splits.next_item import NextItem
from cold_jax.splits.tasks import TrainView

USER_COLD = UserCold(
    seed=42, cold_fraction=0.2, validation_fraction=0.5, holdout_fraction=0.2, support=[0, 1, 5], use_first_seen=False
)
ITEM_COLD = ItemCold(seed=42, cold_fraction=0.2, validation_fraction=0.5, holdout_fraction=0.2, threshold=None)
BOTH_COLD = BothCold(seed=42, cold_fraction=0.3, validation_fraction=0.5, holdout_fraction=0.2, both_support=2)
WARM = Warm(seed=42, holdout_fraction=0.2, threshold=4, ranked=True)
KINDS = {"user_cold": USER_COLD, "item_cold": ITEM_COLD, "both_cold": BOTH_COLD, "warm": WARM}


def make_dataset(users: int = 60, items: int = 45, interactions: int = 1200, seed: int = 0) -> Dataset:
    """Some pairs occur twice, many times are equal, and the last user and item have no interaction."""
    generator = np.random.default_rng(seed)
    return Dataset(
        "random",
        generator.integers(0, users - 1, interactions).astype(np.int32),
        (generator.beta(1, 2, interactions) * (items - 1)).astype(np.int32),
        generator.integers(1, 6, interactions).astype(np.float32),
        generator.integers(0, 50, interactions).astype(np.float64),
        Entities(tuple(f"u{n}" for n in range(users)), {}, {}),
        Entities(tuple(f"0{n}\n," for n in range(items)), {}, {}),  # line breaks and commas are an id's right
    )


def write(path: Path, dataset: Dataset, part_N: np.ndarray) -> Path:
    rows = SplitRows(
        [dataset.users.ids[u] for u in dataset.user_N], [dataset.items.ids[i] for i in dataset.item_N], part_N.tolist()
    )
    Run(path).write_split(rows, order(dataset.user_N, dataset.time_N))
    return path / "split.csv"


def from_file(path: Path, support: list[int] | None = None) -> FromFile:
    return FromFile(
        path=str(path), support=support or [0, 1, 5], both_support=2, threshold=4, ranked=True, history=None, use_first_seen=False
    )


@pytest.mark.parametrize("side", ["user", "item"])
def test_the_recipe_is_coldrecs(side: str):
    dataset = make_dataset(users=300, items=200)  # some occur once or twice
    split = dataclasses.replace(USER_COLD, support=[0])(dataset) if side == "user" else ITEM_COLD(dataset)
    entity_N = getattr(dataset, f"{side}_N")
    entities = {part: set(entity_N[split.part_N == part]) for part in ("train", "warm_val", "warm_test", "cold_val", "cold_test")}
    count = len(set(entity_N))
    warm = entities["train"] | entities["warm_val"] | entities["warm_test"]
    assert len(warm) == int(0.8 * count)
    assert len(entities["cold_val"]) == (count - len(warm)) // 2
    assert len(entities["cold_test"]) == count - len(warm) - len(entities["cold_val"])
    assert not warm & (entities["cold_val"] | entities["cold_test"])
    assert not entities["cold_val"] & entities["cold_test"]

    rows = Counter(split.part_N.tolist())
    tenth = (rows["train"] + rows["warm_val"] + rows["warm_test"]) // 10
    assert 0.7 * tenth <= rows["warm_val"] < tenth  # some moved back, so that
    assert 0.7 * tenth <= rows["warm_test"] < tenth
    for known_N in (dataset.user_N, dataset.item_N):  # what is warm occurs in training
        held_out_N = np.isin(split.part_N, ["warm_val", "warm_test"])
        assert set(known_N[held_out_N]) <= set(known_N[split.part_N == "train"])


def test_both_cold_keeps_validation_and_test_apart_on_both_sides():
    dataset, split = make_dataset(), BOTH_COLD(make_dataset())
    for entity_N, kinds in ((dataset.user_N, ("users", "both")), (dataset.item_N, ("items", "both"))):
        val, test = (set(entity_N[np.isin(split.part_N, [f"cold_{kind}_{of}" for kind in kinds])]) for of in ("val", "test"))
        assert val
        assert test
        assert not val & test
        assert not (val | test) & set(entity_N[np.isin(split.part_N, KNOWN)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_is_a_function_of_data_and_seed(kind: str):
    dataset = make_dataset()
    digest = split_digest(KINDS[kind](dataset))
    assert split_digest(KINDS[kind](make_dataset())) == digest
    assert split_digest(dataclasses.replace(KINDS[kind], seed=43)(dataset)) != digest


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_the_split_that_wrote_it(kind: str, tmp_path: Path):
    dataset = make_dataset()
    split = KINDS[kind](dataset)
    read = from_file(write(tmp_path, dataset, split.part_N))(dataset)
    assert split_digest(read) == split_digest(split)
    assert [*read.test] == [*split.test]
    assert [*read.validation] == [*split.validation]


def test_three_columns_are_enough_and_unlisted_interactions_are_unused(tmp_path: Path):
    dataset = hand_dataset()
    path = tmp_path / "split.csv"
    path.write_text("user_id,item_id,part\na,x,train\nb,x,train\nb,y,train\nc,x,cold_val\nc,y,cold_val\nd,y,cold_test\n")
    split = from_file(path, [0])(dataset)
    assert split.part_N.tolist() == ["train", "", "train", "train", "cold_val", "cold_val", "", "cold_test"]
    assert split.cold_U.tolist() == [False, False, True, True]
    assert not split.cold_I.any()
    assert [*split.test] == ["support_0"]  # nothing of warm users is held out


def hand_dataset() -> Dataset:
    pairs = ["ax", "ay", "bx", "by", "cx", "cy", "dx", "dy"]
    user_N, item_N = (np.array(["abcd".index(p[0]) for p in pairs]), np.array(["xy".index(p[1]) for p in pairs]))
    flat = (user_N.astype(np.int32), item_N.astype(np.int32), np.ones(8, np.float32), np.zeros(8))
    return Dataset("hand", *flat, Entities(tuple("abcd"), {}, {}), Entities(tuple("xy"), {}, {}))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nobody,x,train", r"split.csv:3: 'nobody' is not a user of the data"),
        ("b,nothing,train", r"split.csv:3: 'nothing' is not an item of the data"),
        ("a,x,train", r"split.csv:3: \('a', 'x'\) is not in the data, or is here more often than there"),
        ("b,x,test", r"split.csv:3: 'test' is not a part; known are train, warm_val, warm_test, cold_val"),
        ("b,x", r"split.csv:3: .*2 fields"),
        ("d,x,cold_both_test\nd,y,cold_test", r"split.csv: cold_val or cold_test stands beside"),
        ("a,y,cold_test", r"split.csv: it is not plain which side is cold"),
    ],
)
def test_a_wrong_line_is_an_error_that_says_where(line: str, message: str, tmp_path: Path):
    path = tmp_path / "split.csv"
    path.write_text(f"user_id,item_id,part\na,x,train\n{line}\nb,y,train\n")
    with pytest.raises(ValueError, match=message):
        from_file(path)(hand_dataset())


def test_lines_are_counted_over_ids_with_line_breaks(tmp_path: Path):
    dataset = make_dataset()
    part_N = USER_COLD(dataset).part_N.astype("<U20")
    part_N[3] = "nonsense"
    path = write(tmp_path, dataset, part_N)
    with pytest.raises(DataError, match=r"split.csv:8: 'nonsense'"):  # a header, then lines of two
        from_file(path)(dataset)


def test_an_absent_file_is_named():
    with pytest.raises(DataError, match=r"split.path: there is no file no/such.csv"):
        from_file(Path("no/such.csv"))(hand_dataset())


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


def test_the_guard_looks_at_what_is_trained_on_and_at_what_is_asked():
    dataset = make_dataset()
    split = ITEM_COLD(dataset)
    assert_no_leak(dataset, split)
    cold_N = np.flatnonzero(split.part_N == "cold_test")[:2]
    with pytest.raises(LeakError, match=r"is cold, but"):
        assert_no_leak(dataset, dataclasses.replace(split, train_N=np.concatenate([split.train_N, cold_N])))
    part = split.test["warm"]
    asks_known = dataclasses.replace(part, target_UI=part.history_UI)
    with pytest.raises(LeakError, match=r"the part 'warm' asks for .* in training"):
        assert_no_leak(dataset, dataclasses.replace(split, test={"warm": asks_known}))
    shows_answers = dataclasses.replace(part, history_UI=part.target_UI)
    with pytest.raises(LeakError, match=r"the part 'warm' asks for .* shown to the method"):
        assert_no_leak(dataset, dataclasses.replace(split, test={"warm": shows_answers}))


COLD_SIDE = {"user_cold": Cold.users, "item_cold": Cold.items, "both_cold": Cold.both, "warm": Cold.none}
VECTORS = {"title": np.zeros((45, 2))}, {"profile": np.zeros((60, 2))}


def bits(train: TrainView) -> list[tuple[str, bytes]]:
    matrix = train.interaction_UI
    arrays = (matrix.indptr, matrix.indices, matrix.data, train.warm_U, train.warm_I, train.user_N, train.item_N, train.value_N)
    return [(array.dtype.name, array.tobytes()) for array in arrays]


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


def test_a_support_that_leaves_nothing_is_an_error():
    dataset = make_dataset()
    split = USER_COLD(dataset)
    longest = max(Counter(dataset.user_N[split.part_N == "cold_test"].tolist()).values())
    with pytest.raises(
        DataError, match=rf"^split.support: 500 is larger than the history of every cold test user \(longest {longest}\)"
    ):
        dataclasses.replace(USER_COLD, support=[0, 500])(dataset)
    with pytest.raises(DataError, match=rf"^split.support: {longest} is all of the history of every cold test user"):
        dataclasses.replace(USER_COLD, support=[longest])(dataset)


def test_empty_training_and_empty_parts_are_errors():
    dataset, cold = hand_dataset(), Cold.users
    with pytest.raises(DataError, match=r"training is empty: none of the 8 interactions"):
        assemble(dataset, np.full(8, "warm_test"), Cold.none)
    labels = ["train", "train", "train", "warm_val", "cold_val", "cold_val", "cold_test", "cold_test"]
    with pytest.raises(DataError, match=r"the test part 'warm' asks for the interactions in warm_test, but there is none"):
        assemble(dataset, np.array(labels), cold, [0])
    twice = dataclasses.replace(
        dataset, item_N=np.array([0, 1, 0, 0, 0, 1, 0, 1], np.int32)
    )  # b's second interaction repeats his first
    labels[3] = "warm_test"
    with pytest.raises(DataError, match=r"'warm' asks for the interactions in warm_test, but all 1 of them are shown"):
        assemble(twice, np.array(labels), cold, [0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cold": 1.5}, "split.cold: 1.5 is not a share"),
        ({"holdout_fraction": -0.1}, "split.holdout_fraction: -0.1 is not a share"),
        ({"support": []}, "split.support"),
        ({"support": [1, 1]}, "split.support"),
        ({"support": [-1]}, "split.support"),
    ],
)
def test_settings_are_checked_by_name(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(USER_COLD, **change)


def test_a_file_of_sequences_is_the_split_that_was_written(tmp_path: Path):
    dataset = make_dataset()
    split = NextItem(exclude_seen=True, cold_window=None)(dataset)
    again = from_file(write(tmp_path, dataset, split.part_N))(dataset)
    assert split_digest(again) == split_digest(split)
    assert split_digest(again) != split_digest(NextItem(exclude_seen=False, cold_window=None)(dataset))


def test_when_a_user_came_is_told_of_all_or_of_none():
    dataset = make_dataset()
    assert train_view(dataset, USER_COLD(dataset), *VECTORS).first_seen_U is None
    told = dataclasses.replace(USER_COLD, use_first_seen=True)(dataset)
    first_seen_U = train_view(dataset, told, *VECTORS).first_seen_U
    assert first_seen_U is not None
    assert first_seen_U.tolist() == [dataset.time_N[dataset.user_N == user].min(initial=np.inf) for user in range(60)]
    assert first_seen_U[-1] == np.inf  # who has no interaction
    assert split_digest(told) != split_digest(USER_COLD(dataset))


def test_the_first_time_of_an_entity():
    first_X = first_seen(np.array([2, 0, 2]), np.array([5.0, 7.0, 3.0]))
    assert first_X.tolist() == [7.0, np.inf, 3.0]
