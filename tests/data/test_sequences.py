"""Sequences and items of a folder become a data set whose order is the files'."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_jax.data.dataset import Dataset
from cold_jax.data.sequences import Sequences
from cold_jax.errors import DataError

SETTINGS = {
    "name": "made",
    "item_texts": {"line": "{title}. {categories}", "title": "{title}"},
    "item_sets": {"categories": " > "},
    "user_texts": {},
    "user_sets": {},
    "item_bins": {},
    "user_bins": {},
    "words": {},
    "unknown": [],
    "unescape_html": False,
    "positive": None,
}
ITEMS = """{"item": 0, "title": "Nail lacquer", "categories": ["Beauty > Nails"]}
{"item": "x", "title": "Soap", "categories": ["Beauty > Bath", "Home"]}
{"item": 2, "title": "", "categories": []}
"""


def read(folder: Path, sequences: str, items: str = ITEMS) -> Dataset:
    (folder / "sequences.txt").write_text(sequences)
    (folder / "items.jsonl").write_text(items)
    return Sequences(**SETTINGS, root=str(folder))()


def test_a_folder_becomes_a_data_set(tmp_path: Path) -> None:
    made = read(tmp_path, "7 x 0 2\n007\t2 x\n\n")
    assert made.users.ids == ("7", "007")
    assert made.items.ids == ("0", "x", "2")
    assert made.user_N.tolist() == [0, 0, 0, 1, 1]
    assert made.item_N.tolist() == [1, 0, 2, 2, 1]
    assert made.items.texts["line"] == ("Nail lacquer. Beauty > Nails", "Soap. Beauty > Bath > Home", "")
    assert made.items.indicators["categories"].tolist() == [[0, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]]  # Bath, Beauty, Home, Nails


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("7 x 0\n8\n", "sequences.txt:2: user '8' has no items"),
        ("7 x 0\n8 2\n7 2\n", "sequences.txt:3: user '7' is in line 1 already"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, sequences: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, sequences)
    assert message in str(raised.value)


def test_a_missing_column_is_named_by_its_setting_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt").write_text("7 x 0\n")
    (tmp_path / "items.jsonl").write_text('{"item_id": "x", "titel": "Soap"}\n')
    with pytest.raises(DataError, match=r"items\.jsonl:1: no column 'item', which this format needs; did you mean item_id\?"):
        Sequences(**SETTINGS, root=str(tmp_path))()
    (tmp_path / "items.jsonl").write_text('{"item": "x", "titel": "Soap"}\n')
    with pytest.raises(DataError, match=r"no column 'title' \(for data\.item_texts\.title\); did you mean titel\?"):
        Sequences(**SETTINGS, root=str(tmp_path))()


def test_an_id_that_is_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items\.jsonl:1: item .*is neither text nor number"):
        read(tmp_path, "7 x 0\n", '{"item": ["x", "y"], "title": "Soap", "categories": []}\n')


def test_a_missing_folder_or_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path, "7 x 0 2\n")
    (tmp_path / "items.jsonl").unlink()
    with pytest.raises(DataError, match=r"data\.root: give the folder of sequences\.txt \(a line a user: .* and items\.jsonl"):
        Sequences(**SETTINGS, root=None)()
    with pytest.raises(DataError, match=r"items\.jsonl: there is no such file; give data\.root=FOLDER"):
        Sequences(**SETTINGS, root=str(tmp_path))()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=rf"films/sequences\.txt: there is no such file; data\.root='films' is relative to {tmp_path}"
    ):
        Sequences(**SETTINGS, root="films")()


def test_items_without_a_row_are_refused_or_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        DataError,
        match=r"items\.jsonl: no item of .*sequences\.txt has a row here: '2\.0' occurs there, and its ids are such as '2'",
    ):
        read(tmp_path, "7 a 2.0\n")
    assert read(tmp_path, "7 a 2\n").items.without_row == 1
    assert caplog.messages[0].startswith(f"{tmp_path}/items.jsonl: 1 of the 2 items of {tmp_path}/sequences.txt have no row here")


@pytest.mark.parametrize(
    ("ours", "theirs"), [("1.0", "1"), ("1", "1.0"), ("01", '"1"'), ("1", '"01"'), ("1", '" 1"'), ("1\u00a0", "1")]
)
def test_ids_that_never_meet_are_refused(ours: str, theirs: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, f"7 {ours}\n", f'{{"item": {theirs}, "title": "T", "categories": []}}\n')
    assert f"{ours!r} occurs there, and its ids are such as {theirs.strip(chr(34))!r}" in str(raised.value)


def test_positives_need_values(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt").write_text("7 x\n")
    (tmp_path / "items.jsonl").write_text(ITEMS)
    with pytest.raises(DataError, match=r"data\.positive: '>=4' compares values, but data\.value names no column"):
        Sequences(**SETTINGS | {"positive": ">=4"}, root=str(tmp_path))()


ID = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=4)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(
    sequences=st.dictionaries(ID, st.lists(ID, min_size=1, max_size=5), min_size=1, max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_is_read_two_thousand_times(
    tmp_path_factory: pytest.TempPathFactory, sequences: dict[str, list[str]], end: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    items = list(dict.fromkeys(item for own in sequences.values() for item in own))
    lines = "".join(json.dumps({"item": item, "title": item, "categories": [item]}) + "\n" for item in items)
    data = read(folder, "".join(" ".join([user, *own]) + end for user, own in sequences.items()), lines)
    found = {user: [data.items.ids[i] for i in data.item_N[data.user_N == n]] for n, user in enumerate(data.users.ids)}
    assert found == sequences
    assert data.items.texts["title"] == tuple(items)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    name=st.sampled_from(["sequences.txt", "items.jsonl"]),
)
def test_of_mutated_bytes_comes_a_data_set_or_a_data_error_two_thousand_times(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], name: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    read(folder, "7 x 0 2\n007\t2 x\n")
    data = bytearray((folder / name).read_bytes())
    for at, byte in changes:
        data[at % len(data)] = byte
    (folder / name).write_bytes(data)
    try:
        made = Sequences(**SETTINGS, root=str(folder))()
    except DataError as error:
        assert re.search(r"(sequences\.txt|items\.jsonl):", str(error))  # noqa: PT017
    else:
        assert 0 < len(made) == len(made.user_N)
