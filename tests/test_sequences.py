"""Sequences and items of a folder become a data set whose order is the files'; what is not there or malformed is named."""

import dataclasses
from pathlib import Path

import pytest

from cold_jax.data import DataError, Dataset
from cold_jax.data.sequences import Sequences

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
    assert made.items.texts["line"] == ("Nail lacquer. Beauty > Nails", "Soap. Beauty > Bath > Home", ". ")
    assert made.items.indicators["categories"].tolist() == [[0, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]]  # Bath, Beauty, Home, Nails


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("7 x 0\n8\n", "sequences.txt:2: user '8' has no items"),
        ("7 x 0\n8 2\n7 2\n", "sequences.txt:3: user '7' stands in line 1 already"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, sequences: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, sequences)
    assert message in str(raised.value)


def test_what_is_not_there_is_said_how_to_get(tmp_path: Path) -> None:
    read(tmp_path, "7 x 0 2\n")
    (tmp_path / "items.jsonl").unlink()
    for root, message in ((None, "data.root: give the folder"), (tmp_path, "items.jsonl. Both files come from")):
        made = dataclasses.replace(Sequences(**SETTINGS, root=None), root=None if root is None else str(root))
        with pytest.raises(DataError) as raised:
            made()
        assert message in str(raised.value)
        assert "sequential_data.txt" in str(raised.value)
