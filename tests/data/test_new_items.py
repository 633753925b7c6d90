"""New items get the texts and the indicators of the data's settings."""

from pathlib import Path

import numpy as np
import pytest

from cold_jax.data.new_items import NewItem, new_entities, read_items, require_new
from cold_jax.data.synthetic import Synthetic
from cold_jax.errors import DataError

DATA = Synthetic(name="x", users=5, items=40, interactions_per_user=3, seed=0, positive=None)
ITEMS = DATA().items
HEADER = "item_id,title,genre,words,year\n"


def test_an_item_s_own_columns_make_the_same_item() -> None:
    """The columns behind a text of the data give its text and indicators again."""
    text = ITEMS.texts["line"][3]
    title, rest = text.split(" (")
    year, words = rest.split(") with ")
    genre = ITEMS.values["genre"][int(ITEMS.indicators["genre"][3].argmax())]
    made = new_entities([NewItem("n", {"title": title, "year": year, "words": words, "genre": genre})], DATA.attributes, ITEMS)
    assert {name: texts[0] for name, texts in made.texts.items()} == {name: texts[3] for name, texts in ITEMS.texts.items()}
    for name, indicator in ITEMS.indicators.items():
        assert np.array_equal(made.indicators[name][0], indicator[3])


def test_an_unknown_value_counts_as_none(caplog: pytest.LogCaptureFixture) -> None:
    made = new_entities([NewItem("n", {"title": "t", "genre": "spice"})], DATA.attributes, ITEMS)
    assert not made.indicators["genre"].any()
    assert "did you mean space" in caplog.text


def test_a_text_stands_for_all_texts() -> None:
    made = new_entities([NewItem("n", {"genre": "war"}, "a text")], DATA.attributes, ITEMS)
    assert {texts for texts in made.texts.values()} == {("a text",)}
    assert made.indicators["genre"].sum() == 1


def test_rows_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text(HEADER + "007,A,war,b,\n07,B,,,1999\n")
    first, second = read_items(file, DATA.attributes, "item_id")
    assert (first.id, second.id, second.place) == ("007", "07", f"{file}:3")
    assert second.columns["year"] == "1999"
    with pytest.raises(DataError, match=r"new\.csv:3: item '07' exists already, in the data"):
        require_new([first, second], {"07": "the data"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "1,A,war,b,\n1,B,war,b,\n", r"new\.csv:3: item '1' occurs before, in .*new\.csv:2"),
        (HEADER + ",A,war,b,\n", r"new\.csv:2: "),
        ("item_id,titel,genre,words,year\n1,A,war,b,\n", "did you mean titel"),
        ("id,title,genre,words,year\n1,A,war,b,\n", r"new\.csv:1: no column 'item_id', which this format needs"),
        (HEADER + f"1,{'A' * 2**21},war,b,\n", r"new\.csv:2: title of item '1' has more than"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "new.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_items(file, DATA.attributes, "item_id")
