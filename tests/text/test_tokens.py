"""Tokens of a tokenizer whose vocabulary is a handful of words."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from cold_jax.errors import WeightsError
from cold_jax.text import tokens
from cold_jax.text.tokens import Tokens, _tokenize, join_tokens, tokenize, without_repetitions


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


def test_texts_that_are_cut_are_counted(tokenizer_file: Path) -> None:
    texts = ["red green", "red green blue", "", "blue pink red red", "red " * 1000]  # 4, 5, 2, 6 and 1,002 tokens
    assert [tokenize(tokenizer_file, texts, length).cut for length in (4, 5, 6, 2000)] == [3, 2, 1, 0]
    assert tokenize(tokenizer_file, texts, 4).cut == 3  # from the cache too
    assert join_tokens([tokenize(tokenizer_file, texts, length) for length in (4, 5)]).cut == 5


def test_texts_that_repeat_have_the_tokens_of_each_alone(tokenizer_file: Path) -> None:
    texts = ["red green", "blue", "red green", "", "red " * 9, "blue", "red " * 9]
    found = tokenize(tokenizer_file, texts, 6)
    alone = join_tokens([tokenize(tokenizer_file, [text], 6) for text in texts])
    assert found.token_N.tolist() == alone.token_N.tolist()
    assert found.offset_T.tolist() == alone.offset_T.tolist()
    assert (found.cut, found.token_N.dtype) == (2, np.int32)


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=3), st.integers(0, 1)), max_size=20), st.booleans())
def test_without_repetitions_each_text_is_there_once(made: list[tuple[list[int], int]], prompts: bool) -> None:
    """A text with another prompt is another text."""
    offset_T = np.cumsum([0, *(len(ids) for ids, _ in made)])
    prompt_T = np.array([prompt for _, prompt in made], np.int32) if prompts else np.zeros(0, np.int32)
    given_ = Tokens(np.array([token for ids, _ in made for token in ids], np.int32), offset_T, 0, prompt_T)
    once, at_T = without_repetitions(given_)

    def texts(tokens: Tokens) -> list[tuple[list[int], int]]:
        prompt_T = tokens.prompt_T.tolist() or [0] * len(tokens.length_T)
        ends = zip(tokens.offset_T[:-1], tokens.offset_T[1:], prompt_T, strict=True)
        return [(tokens.token_N[start:end].tolist(), prompt) for start, end, prompt in ends]

    unique = texts(once)
    assert [unique[t] for t in at_T] == texts(given_)
    assert len(unique) == len({(tuple(ids), prompt) for ids, prompt in unique})
    assert sorted(set(at_T.tolist())) == list(range(len(unique)))


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
    return Tokens(np.arange(1, sum(length_T) + 1, dtype=np.int32), np.concatenate([[0], np.cumsum(length_T)]).astype(np.int64))


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


@pytest.mark.parametrize("nested", [False, True])
def test_a_template_that_names_what_it_lacks_is_refused(tokenizer_file: Path, nested: bool) -> None:
    """The library panics when it is used."""
    content = json.loads(tokenizer_file.read_text())
    del content["post_processor"]["special_tokens"]["[SEP]"]
    if nested:
        content["post_processor"] = {"type": "Sequence", "processors": [content["post_processor"]]}
    tokenizer_file.write_text(json.dumps(content))
    with pytest.raises(
        WeightsError, match=r"tokenizer.json: its post_processor adds '\[SEP\]', which is none of its special_tokens"
    ):
        tokenize(tokenizer_file, ["a"], 16)
