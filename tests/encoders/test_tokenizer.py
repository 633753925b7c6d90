"""The tokenizer that a folder's files mean together."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from states import PARITY
from tokenizers import Tokenizer

from cold_jax.encoders import CHARACTERS
from cold_jax.encoders.tokenizer import model_max_length, prompt_length, special_tokens, tokenizer_file
from cold_jax.errors import WeightsError
from cold_jax.text.tokens import tokenize

BERT = PARITY / "pipelines/bert/tokenizer.json"


def folder(tmp_path: Path, config: dict[str, Any] | None, tokenizer: Path = BERT) -> Path:
    shutil.copy(tokenizer, tmp_path / "tokenizer.json")
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def tokens(file: Path, text: str) -> list[str]:
    return Tokenizer.from_file(str(file)).encode(text).tokens


def test_a_folder_without_more_has_its_tokenizer_as_it_is(tmp_path: Path) -> None:
    at = folder(tmp_path, {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 10**30})
    assert tokenizer_file(at, False) == at / "tokenizer.json"
    assert model_max_length(at) is None


def test_lower_case(tmp_path: Path) -> None:
    at = folder(tmp_path, None)
    assert tokens(tokenizer_file(at, False), "Ab") == ["[CLS]", "[UNK]", "[SEP]"]
    assert tokens(tokenizer_file(at, True), "Ab") == ["[CLS]", "a", "##b", "[SEP]"]
    again = folder(tmp_path, None, tokenizer_file(at, True))
    assert tokenizer_file(again, True) == again / "tokenizer.json"  # it lowers case already


@pytest.mark.parametrize(
    ("kind", "lowered"), [("BertTokenizer", True), ("MPNetTokenizerFast", True), ("PreTrainedTokenizerFast", False)]
)
def test_do_lower_case_of_a_class_that_sets_it(tmp_path: Path, kind: str, lowered: bool) -> None:
    """As transformers: BERT's own classes set up their normaliser from it, the general one reads tokenizer.json alone."""
    at = folder(tmp_path, {"tokenizer_class": kind, "do_lower_case": True})
    assert ("a" in tokens(tokenizer_file(at, False), "Ab")) == lowered


@pytest.mark.parametrize(("side", "kept"), [("left", ["[CLS]", "c", "##d", "[SEP]"]), ("right", ["[CLS]", "a", "b", "[SEP]"])])
def test_truncation_side(tmp_path: Path, side: str, kept: list[str]) -> None:
    """Also beside the truncation of an older tokenizer.json, which names no side."""
    own = folder(tmp_path, {"truncation_side": side})
    old = json.loads((own / "tokenizer.json").read_text()) | {
        "truncation": {"max_length": 128, "strategy": "LongestFirst", "stride": 0}
    }
    for content in (None, json.dumps(old)):
        if content is not None:
            (own / "tokenizer.json").write_text(content)
        at = tokenizer_file(own, False)
        reader = Tokenizer.from_file(str(at))
        assert [reader.id_to_token(n) for n in tokenize(at, ["a b cd"], 4).token_N] == kept


def test_an_unknown_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"truncation_side 'middle' is not supported; supported: 'left', 'right'"):
        tokenizer_file(folder(tmp_path, {"truncation_side": "middle"}), False)


def test_a_token_that_would_be_added_only_by_another_file_is_refused(tmp_path: Path) -> None:
    config = {"add_eos_token": True, "eos_token": "[SEP]", "add_bos_token": True, "bos_token": {"content": "[CLS]"}}
    assert tokenizer_file(folder(tmp_path, config), False)
    with pytest.raises(WeightsError, match=r"add_eos_token is true, but the post_processor of tokenizer.json adds no '\[MASK\]'"):
        tokenizer_file(folder(tmp_path, {**config, "eos_token": "[MASK]"}), False)
    with pytest.raises(WeightsError, match=r"split_special_tokens true is not supported"):
        tokenizer_file(folder(tmp_path, {"split_special_tokens": True}), False)


def test_a_prompt_s_length_leaves_out_a_special_token_at_its_end(tmp_path: Path) -> None:
    at = folder(tmp_path, {"sep_token": "[SEP]"})
    assert prompt_length(at, BERT, "ab: ", 64) == 4  # [CLS] a ##b :
    assert prompt_length(folder(tmp_path, {}), BERT, "ab: ", 64) == 5  # [SEP] is not named special
    (tmp_path / "tokenizer_config.json").unlink()
    assert prompt_length(tmp_path, BERT, "ab: ", 64) == 4


def test_special_tokens() -> None:
    config = {
        "pad_token": "p",
        "eos_token": {"content": "e"},
        "unk_token": None,
        "additional_special_tokens": ["x"],
        "add_eos_token": True,
    }
    assert special_tokens({**config, "extra_special_tokens": {"image": "i"}}) == {"p", "e", "x", "i"}


@pytest.mark.parametrize(
    ("value", "length"), [("512", 512), ("1e30", None), ("1000000000000000019884624838656", None), ("null", None), ("64.0", 64)]
)
def test_a_length_of_texts(tmp_path: Path, value: str, length: int | None) -> None:
    (tmp_path / "tokenizer_config.json").write_text(f'{{"model_max_length": {value}}}')
    assert model_max_length(tmp_path) == length


@pytest.mark.parametrize("value", ["true", '"512"', "0", "-1", "[]", "NaN"])
def test_a_length_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text(f'{{"model_max_length": {value}}}')
    with pytest.raises(WeightsError, match=r"tokenizer_config.json: model_max_length .* is not a positive number"):
        model_max_length(tmp_path)


def test_no_tokenizer_json(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no tokenizer.json in this folder; transformers can write it: python -c"):
        tokenizer_file(tmp_path, False)
    assert CHARACTERS.is_file()
