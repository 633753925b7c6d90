"""Files by the splits that wrote them, and wrong lines by their number."""

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_data import KINDS, USER_COLD, from_file, hand_dataset, make_dataset, write

from cold_jax.errors import DataError, LeakError
from cold_jax.splits.assemble import split_digest
from cold_jax.splits.files import read_split_rows
from cold_jax.splits.next_item import NextItem


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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nobody,x,train", r"split.csv:3: 'nobody' is not a user of the data"),
        ("b,nothing,train", r"split.csv:3: 'nothing' is not an item of the data"),
        ("a,x,train", r"split.csv:3: \('a', 'x'\) is not in the data, or is here more often than there"),
        ("b,x,test", r"split.csv:3: 'test' is not a label; the labels are train, warm_val, warm_test, cold_val"),
        ("b,x", r"split.csv:3: .*2 fields"),
        ("d,x,cold_both_test\nd,y,cold_test", r"split.csv: cold_val or cold_test is used beside"),
        ("a,y,cold_test", r"split.csv: it is unclear which side is cold"),
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


def test_a_byte_that_is_no_utf_8_is_found_in_its_line(tmp_path: Path):
    (tmp_path / "split.csv").write_bytes("user_id,item_id,part\na,b,train\nc,é,train\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"split\.csv:3: byte 0xe9 is not UTF-8; save the file as UTF-8"):
        read_split_rows(tmp_path / "split.csv")


def test_an_absent_file_is_named():
    with pytest.raises(
        DataError,
        match=r"no/such.csv: there is no such file; split.path='no/such.csv' is relative to /.*, where this command was started",
    ):
        from_file(Path("no/such.csv"))(hand_dataset())


def test_a_file_of_sequences_is_the_split_that_was_written(tmp_path: Path):
    dataset = make_dataset()
    split = NextItem(exclude_seen=True, cold_window=None)(dataset)
    again = from_file(write(tmp_path, dataset, split.part_N))(dataset)
    assert split_digest(again) == split_digest(split)
    assert split_digest(again) != split_digest(NextItem(exclude_seen=False, cold_window=None)(dataset))


LABEL = st.sampled_from(["train", "warm_val", "warm_test", "cold_test", "", "test", "next_test"])
CELL = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(rows=st.lists(st.tuples(CELL, CELL, LABEL), min_size=1, max_size=8))
def test_rows_that_are_written_are_read_two_thousand_times(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
):
    path = tmp_path_factory.getbasetemp() / "split.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("user_id", "item_id", "part"), *rows])
    assert list(zip(*read_split_rows(path), strict=True)) == rows


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4), cut=st.none() | st.integers(0, 10**6))
def test_of_mutated_bytes_comes_a_split_or_an_error_of_the_file_two_thousand_times(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int | None
):
    path = tmp_path_factory.getbasetemp() / "split.csv"
    data = bytearray(b"user_id,item_id,part\na,x,train\nb,y,train\nc,x,cold_val\nd,y,cold_test\nb,x,warm_test\n")
    for at, byte in changes:
        data[at % len(data)] = byte
    path.write_bytes(data if cut is None else data[: cut % len(data)])
    try:
        split = from_file(path, [0])(hand_dataset())
    except (DataError, LeakError) as error:
        assert re.search(r"split\.csv|^split", str(error))  # noqa: PT017
    else:
        assert len(split.train_N)
