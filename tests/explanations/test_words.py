"""Tokens belong to words; special tokens and prompts to none."""

from dataclasses import replace

import numpy as np
import small

from cold_jax.explanations.words import mask_token, split_words, sum_by_word

LOADED = small.ENCODER()


def test_each_character_is_of_its_word() -> None:
    [text] = split_words(LOADED, ["ab  c"], "items")
    assert text.words == ["ab", "c"]
    assert len(text.word_L) == len(LOADED.tokenize(["ab  c"], "items", keep=False).token_N)
    assert text.word_L.tolist() == [-1, 0, 0, 1, -1]
    assert sum_by_word(text, np.array([9.0, 1, 2, 4, 9])) == [("ab", 3.0), ("c", 4.0)]


def test_a_prompt_is_no_word() -> None:
    [text] = split_words(replace(LOADED, prompts={"items": "xy "}), ["ab c"], "items")
    assert text.words == ["ab", "c"]
    assert text.word_L.tolist() == [-1, -1, -1, 0, 0, 1, -1]


def test_what_is_cut_has_nothing() -> None:
    [text] = split_words(replace(LOADED, max_length=4), ["ab cd"], "items")
    assert text.word_L.tolist() == [-1, 0, 0, -1]
    assert sum_by_word(text, np.ones(4)) == [("ab", 2.0), ("cd", 0.0)]


def test_an_empty_text_has_no_words() -> None:
    [text] = split_words(LOADED, [""], "users")
    assert text.words == []
    assert (text.word_L == -1).all()


def test_the_mask_is_a_token_of_its_own() -> None:
    assert mask_token(LOADED.tokenizer) not in LOADED.tokenize(["abc def"], "items", keep=False).token_N
