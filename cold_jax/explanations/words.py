"""Tokens and their words: which tokens of a text may be masked, and sums over a word's tokens."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cold_jax.encoders import Loaded
from cold_jax.text.tokens import encodings, read_tokenizer

# what stands for a word that is not known, the first of them that a tokenizer has
MASKS = ("[MASK]", "<mask>", "[PAD]", "<pad>", "[UNK]", "<unk>", "<|endoftext|>")


class TextWords(NamedTuple):
    """One text, with L tokens."""

    words: list[str]  # what blanks separate
    word_L: np.ndarray  # position of each token's word; -1 for special tokens and the prompt, which stay


def split_words(loaded: Loaded, texts: Sequence[str], side: str) -> list[TextWords]:
    """Words of a side's texts, by the tokens that `loaded.tokenize` makes of them."""
    prompt = loaded.prompts.get(side, "")
    found = []
    for text, encoding in zip(texts, encodings(loaded.tokenizer, [prompt + t for t in texts], loaded.max_length), strict=True):
        spans = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
        word_L = np.full(len(encoding.ids), -1)
        for at, ((start, end), special) in enumerate(zip(encoding.offsets, encoding.special_tokens_mask, strict=True)):
            if not special and end > len(prompt) and spans:
                middle = (max(start - len(prompt), 0) + end - len(prompt)) / 2
                word_L[at] = min(range(len(spans)), key=lambda n: max(spans[n][0] - middle, middle - spans[n][1]))
        found.append(TextWords([text[start:end] for start, end in spans], word_L))
    return found


def mask_token(tokenizer: Path) -> int:
    """The token that a word is replaced by."""
    reader = read_tokenizer(tokenizer)
    return next((token for name in MASKS if (token := reader.token_to_id(name)) is not None), 0)


def sum_by_word(of_text: TextWords, value_L: np.ndarray) -> list[tuple[str, float]]:
    """(word, sum of its tokens' values), in the order of the text; words without a token, beyond the encoder's length, have 0."""
    inside_L = of_text.word_L >= 0
    sum_W = np.bincount(of_text.word_L[inside_L], value_L[inside_L], minlength=len(of_text.words))
    return [(word, float(value)) for word, value in zip(of_text.words, sum_W, strict=True)]
