"""Templates put values in and nothing else; rows hold every token of every text."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from cold_jax.text import templates, tokens
from cold_jax.text.packing import fit_row_length, pack
from cold_jax.text.tokens import Tokens, _tokenize, join_tokens, tokenize

PAYLOADS = [
    "{0.__class__}",
    "{a}",
    "{b.__init__.__globals__}",
    "${oc.env:HOME}",
    "{{7*7}}",
    "%s",
    "\\1",
    "\\g<0>",
    "{",
    "}",
    "",
    "é\n\x00'\"",
]


@settings(deadline=None)
@given(st.lists(st.tuples(st.text() | st.sampled_from(PAYLOADS), st.text() | st.sampled_from(PAYLOADS)), max_size=5))
def test_values_are_put_in_and_never_read(rows: list[tuple[str, str]]) -> None:
    columns = {"a": [a for a, _ in rows], "b c": [b for _, b in rows]}
    assert templates.render_template("{b c}: {a} {a}%s", columns, {}) == tuple(b + ": " + a + " " + a + "%s" for a, b in rows)


def test_words_replace_whole_values_of_their_own_column() -> None:
    columns = {"gender": ["M", "F", "MF", ""], "code": ["M", "M", "M", "M"]}
    made = templates.render_template("{gender}/{code}", columns, {"gender": {"M": "man", "F": "{code}"}, "other": {"M": "x"}})
    assert made == ("man/M", "{code}/M", "MF/M", "/M")


@pytest.mark.parametrize(
    ("template", "says"),
    [("{titel}", "nearest is 'title'"), ("{title.__class__}", "title.__class__"), ("{}", "''"), ("{0}", "'year'")],
)
def test_an_unknown_column_is_named(template: str, says: str) -> None:
    with pytest.raises(ValueError, match="no column") as raised:
        templates.render_template(template, {"title": ["a"], "year": ["1"]}, {})
    assert says in str(raised.value)


def test_a_template_without_columns_is_the_same_for_all() -> None:
    assert templates.render_template("a }{ b", {"x": ["1", "2"]}, {}) == ("a }{ b", "a }{ b")
    assert templates.columns_of("{a} {b.c}{a}") == ("a", "b.c", "a")


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "red": 3, "green": 4, "blue": 5}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])  # pyright: ignore
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_tokens_are_cut_and_not_padded(tokenizer_file: Path) -> None:
    tokens = tokenize(tokenizer_file, ["red green", "", "blue pink red red"], 5)
    assert tokens.token_N.tolist() == [1, 3, 4, 2, 1, 2, 1, 5, 0, 3, 2]
    assert tokens.offset_T.tolist() == [0, 4, 6, 11]
    assert (tokens.token_N.dtype, tokens.offset_T.dtype) == (np.int32, np.int64)
    assert tokenize(tokenizer_file, [], 5).offset_T.tolist() == [0]


def test_tokens_are_kept_by_tokenizer_texts_and_length(tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(tokens, "_tokenize", lambda *a, original=_tokenize: made.append(a) or original(*a))
    first = tokenize(tokenizer_file, ["red", "blue"], 5)
    again = tokenize(tokenizer_file, ("red", "blue"), 5)
    assert len(made) == 1
    np.testing.assert_array_equal(first.token_N, again.token_N)
    for texts, length in ((["red", "blue"], 4), (["red blue"], 5), (["redblue", ""], 5)):
        tokenize(tokenizer_file, texts, length)
    tokenizer_file.write_text(tokenizer_file.read_text().replace('"red": 3', '"red": 9'))
    tokenize(tokenizer_file, ["red", "blue"], 5)
    assert len(made) == 5


def test_a_tokenizer_that_is_not_there_or_broken_is_named(tokenizer_file: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.json: no such tokenizer"):
        tokenize(tokenizer_file.parent / "nowhere.json", ["a"], 5)
    tokenizer_file.write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json: not a tokenizer\.json"):
        tokenize(tokenizer_file, ["a"], 5)


def corpus(length_T: list[int]) -> Tokens:
    """Texts whose every token is another number, none of them 0."""
    return Tokens(np.arange(1, sum(length_T) + 1, dtype=np.int32), np.concatenate([[0], np.cumsum(length_T)]).astype(np.int64))


@pytest.mark.parametrize(("longest", "length"), [(0, 8), (1, 8), (8, 8), (9, 16), (16, 16), (33, 64)])
def test_a_row_is_as_long_as_it_must(longest: int, length: int) -> None:
    assert fit_row_length(corpus([longest, 0]), 8) == length
    assert fit_row_length(corpus([]), 8) == 8


def first_fit_decreasing(length_T: list[int], row_length: int, texts_per_row: int) -> list[int]:
    """The textbook's: one text after the other, each into the first row that still holds it."""
    room, row_T = [], [0] * len(length_T)
    for t in sorted(range(len(length_T)), key=lambda t: -length_T[t]):
        row = next((r for r, (places, texts) in enumerate(room) if places >= length_T[t] and texts), len(room))
        if row == len(room):
            room.append((row_length, texts_per_row))
        room[row] = room[row][0] - length_T[t], room[row][1] - 1
        row_T[t] = row
    return row_T


@settings(deadline=None)
@given(st.lists(st.integers(1, 16), max_size=60), st.integers(1, 5), st.integers(1, 4), st.randoms())
def test_every_token_stands_in_its_row_once(length_T: list[int], texts_per_row: int, multiple: int, random) -> None:
    tokens = corpus(length_T)
    text_T = np.array(random.sample(range(len(length_T)), random.randint(0, len(length_T))), np.int64)
    rows, slot_T = pack(tokens, text_T, 16, texts_per_row, multiple)
    for value_RL in rows:
        assert value_RL.dtype == np.int32
        assert value_RL.shape == rows.token_RL.shape
    assert rows.token_RL.shape[1] == 16
    assert len(rows.token_RL) % multiple == 0
    for t, slot in zip(text_T, slot_T, strict=True):
        row, segment = slot // texts_per_row, slot % texts_per_row + 1
        (at,) = np.nonzero(rows.segment_RL[row] == segment)
        assert at.tolist() == list(range(at[0], at[0] + length_T[t]))
        assert rows.token_RL[row, at].tolist() == list(range(tokens.offset_T[t] + 1, tokens.offset_T[t + 1] + 1))
        assert rows.position_RL[row, at].tolist() == list(range(length_T[t]))
        assert (rows.text_RL[row, at] == t).all()
    assert len(set(slot_T.tolist())) == len(text_T)
    empty_RL = rows.segment_RL == 0
    assert (~empty_RL).sum() == sum(length_T[t] for t in text_T)
    for value_RL in rows:
        assert not value_RL[empty_RL].any()
    assert (slot_T // texts_per_row).tolist() == first_fit_decreasing([length_T[t] for t in text_T], 16, texts_per_row)


def test_a_text_of_no_token_has_a_slot() -> None:
    rows, slot_T = pack(corpus([2, 0, 0]), np.arange(3), 4, 3, 1)
    assert sorted(slot_T.tolist()) == [0, 1, 2]
    assert rows.segment_RL.tolist() == [[1, 1, 0, 0]]


def test_no_text_makes_rows_all_the_same() -> None:
    rows, slot_T = pack(corpus([]), np.zeros(0, np.int64), 4, 3, 2)
    assert rows.token_RL.shape == (2, 4)
    assert slot_T.shape == (0,)


def test_a_text_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="text 1 has 5 tokens, a row holds 4"):
        pack(corpus([2, 5]), np.arange(2), 4, 3, 1)


@given(st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=4))
@settings(deadline=None)
def test_joined_texts_are_those_of_the_parts(parts: list[list[int]]) -> None:
    joined = join_tokens([corpus(part) for part in parts])
    wanted = [
        list(text_N)
        for part in map(corpus, parts)
        for text_N in np.split(part.token_N, part.offset_T[1:-1])[: len(part.length_T)]
    ]
    assert [list(text_N) for text_N in np.split(joined.token_N, joined.offset_T[1:-1])][: len(wanted)] == wanted
    assert len(joined.length_T) == len(wanted)
