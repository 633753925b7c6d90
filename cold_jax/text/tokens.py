"""Texts to tokens, end to end in one array."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from cold_jax.errors import WeightsError
from cold_jax.storage import cache
from cold_jax.storage.files import digest


class Tokens(NamedTuple):
    """The tokens of all texts, end to end: those of text t are `token_N[offset_T[t]:offset_T[t + 1]]`."""

    token_N: np.ndarray  # int32
    offset_T: np.ndarray  # int64, one more than there are texts
    cut: int = 0  # how many texts were longer than max_length
    prompt_T: np.ndarray = np.zeros(0, np.int32)  # first tokens of each text that pooling leaves out; empty where it takes all

    @property
    def digest(self) -> str:
        """sha256 of all that an encoder reads of the tokens."""
        return digest(self.token_N, self.offset_T, self.prompt_T)

    @property
    def length_T(self) -> np.ndarray:
        return np.diff(self.offset_T)


def without_repetitions(tokens: Tokens) -> tuple[Tokens, np.ndarray]:
    """(each text once, in the order in which they first occur; at_T, their places there)."""
    places: dict[tuple[bytes, int], int] = {}
    prompt_T = tokens.prompt_T if len(tokens.prompt_T) else np.zeros(len(tokens.length_T), np.int32)
    data, size = tokens.token_N.tobytes(), tokens.token_N.itemsize
    ends = (size * tokens.offset_T).tolist()
    keys = [(data[start:end], prompt) for start, end, prompt in zip(ends[:-1], ends[1:], prompt_T.tolist(), strict=True)]
    at_T = np.array([places.setdefault(key, len(places)) for key in keys], np.int64)
    first_T = np.unique(at_T, return_index=True)[1]
    parts = [tokens.token_N[tokens.offset_T[t] : tokens.offset_T[t + 1]] for t in first_T]
    offset_T = np.concatenate([[0], np.cumsum(tokens.length_T[first_T])]).astype(np.int64)
    token_N = np.concatenate(parts) if parts else tokens.token_N
    return Tokens(token_N, offset_T, tokens.cut, prompt_T[first_T] if len(tokens.prompt_T) else tokens.prompt_T), at_T


def join_tokens(parts: Sequence[Tokens]) -> Tokens:
    """The texts of all parts, one part after the other."""
    ends = np.cumsum([0, *(len(part.token_N) for part in parts)])
    offset_T = np.concatenate([[0], *(end + part.offset_T[1:] for end, part in zip(ends[:-1], parts, strict=True))])
    prompts = [part.prompt_T if len(part.prompt_T) else np.zeros(len(part.length_T), np.int32) for part in parts]
    prompt_T = np.concatenate(prompts) if any(len(part.prompt_T) for part in parts) else Tokens._field_defaults["prompt_T"]
    return Tokens(np.concatenate([part.token_N for part in parts]), offset_T, sum(part.cut for part in parts), prompt_T)


def tokenize(tokenizer_file: Path, texts: Sequence[str], max_length: int, *, keep: bool = True) -> Tokens:
    """Tokens of each text with the tokenizer's own special tokens, cut to `max_length` at the tokenizer's side; kept in the cache if `keep`.

    Raises:
      ValueError: `tokenizer_file` does not exist or is not a tokenizer.json.
    """
    if not tokenizer_file.is_file():
        raise WeightsError(f"{tokenizer_file}: no such tokenizer file; an encoder's folder needs its tokenizer.json")
    if not keep:
        made = _tokenize(tokenizer_file, texts, max_length)
        return Tokens(made["token_N"], made["offset_T"], int(made["cut_T"].sum()))
    key = {"tokenizer": digest(tokenizer_file.read_bytes()), "max_length": max_length, "texts": digest(*texts), "cut": True}
    made = cache.arrays("tokens", key, lambda: _tokenize(tokenizer_file, texts, max_length))
    return Tokens(made["token_N"], made["offset_T"], int(made["cut_T"].sum()))


def encodings(tokenizer_file: Path, texts: Sequence[str], max_length: int) -> list[Encoding]:
    """What `tokenize` makes of the texts, with the characters that each token stands for, and which tokens are special."""
    return _truncating(tokenizer_file, max_length, tokenizer_file.stat().st_mtime_ns).encode_batch(list(texts))


def _tokenize(tokenizer_file: Path, texts: Sequence[str], max_length: int) -> dict[str, np.ndarray]:
    once = list(dict.fromkeys(texts))  # profiles of an age and a job repeat
    encodings = _truncating(tokenizer_file, max_length, tokenizer_file.stat().st_mtime_ns).encode_batch_fast(once)
    ids = [np.asarray(encoding.ids, np.int32) for encoding in encodings]
    cut = [bool(encoding.overflowing) for encoding in encodings]
    at = {text: n for n, text in enumerate(once)}
    at_T = [at[text] for text in texts]
    return {
        "cut_T": np.array([cut[n] for n in at_T], bool),
        "token_N": np.concatenate([ids[n] for n in at_T]) if at_T else np.zeros(0, np.int32),
        "offset_T": np.concatenate([[0], np.cumsum([len(ids[n]) for n in at_T], dtype=np.int64)]).astype(np.int64),
    }


def read_tokenizer(file: Path) -> Tokenizer:
    """Raises WeightsError where the file is no tokenizer.json."""
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise WeightsError(f"{file}: not a tokenizer.json ({' '.join(str(error).split())[:200]})") from error
    if tokenizer.post_processor is not None:
        _check_template(file, json.loads(tokenizer.post_processor.__getstate__()))
    return tokenizer


def _check_template(file: Path, processor: dict[str, Any]) -> None:
    """Raises WeightsError where a template names a special token that it does not define: the library would panic."""
    for inner in processor.get("processors", ()):
        _check_template(file, inner)
    for piece in (*processor.get("single", ()), *processor.get("pair", ())):
        name = piece.get("SpecialToken", {}).get("id")
        if name is not None and name not in processor.get("special_tokens", {}):
            raise WeightsError(f"{file}: its post_processor adds {name!r}, which is none of its special_tokens")


@lru_cache(maxsize=4)  # who answers requests tokenises one text after the other
def _truncating(tokenizer_file: Path, max_length: int, changed: int) -> Tokenizer:
    """A tokenizer that cuts texts at its own side and doesn't pad them; `changed` is the time of the file's last change."""
    tokenizer = read_tokenizer(tokenizer_file)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, direction=(tokenizer.truncation or {}).get("direction", "right").lower())
    return tokenizer
