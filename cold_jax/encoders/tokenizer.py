"""The tokenizer.json that a folder means, once its other files have been read: tokenizer_config.json and do_lower_case."""

import json
import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from cold_jax.encoders.weights import read_json
from cold_jax.errors import WeightsError
from cold_jax.storage import cache
from cold_jax.storage.files import digest, private_folder, write_synced
from cold_jax.text.tokens import read_tokenizer, tokenize

# classes of transformers that set up BERT's normaliser from tokenizer_config.json, whatever tokenizer.json says
_BERT_LIKE = ("Bert", "DistilBert", "Electra", "MPNet", "MobileBert")
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def model_max_length(folder: Path) -> int | None:
    """Tokens of the longest text by tokenizer_config.json; None where it sets no limit. Raises WeightsError where that is no number."""
    file = folder / "tokenizer_config.json"
    length = read_json(file).get("model_max_length") if file.exists() else None
    if length is None:
        return None
    if isinstance(length, bool) or not isinstance(length, int | float) or not length > 0:
        raise WeightsError(f"{file}: model_max_length {str(length)[:80]!r} is not a positive number")
    return int(length) if length < 10**9 else None  # 10^30: no limit


def prompt_length(folder: Path, tokenizer: Path, prompt: str, max_length: int) -> int:
    """Tokens of a prompt, less a special one at the end, as sentence-transformers counts: special are those that tokenizer_config.json names."""
    reader, config_file = read_tokenizer(tokenizer), folder / "tokenizer_config.json"
    tokens = tokenize(tokenizer, [prompt], max_length).token_N
    named = special_tokens(read_json(config_file)) if config_file.exists() else _added(reader)
    return len(tokens) - (len(tokens) > 0 and reader.id_to_token(int(tokens[-1])) in named)


def special_tokens(config: dict[str, Any]) -> set[str]:
    """The special tokens that a tokenizer_config.json names. Raises WeightsError where one is none."""
    given = [value for key, value in config.items() if key.endswith("_token")]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = config.get(key) or []
        given += list(more.values()) if isinstance(more, dict) else list(more)
    if odd := [token for token in given if isinstance(token, dict) and not isinstance(token.get("content"), str)]:
        raise WeightsError(f"tokenizer_config.json: {str(odd[0])[:80]} is no token, which is text, or an object with its content")
    return {str(token["content"] if isinstance(token, dict) else token) for token in given if isinstance(token, str | dict)}


def _added(tokenizer: Tokenizer) -> set[str]:
    return {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}


def tokenizer_file(folder: Path, lower_case: bool) -> Path:
    """The folder's tokenizer.json, or a changed copy in the cache where the folder's other files change it.

    Args:
      lower_case: do_lower_case of sentence_bert_config.json.

    Raises:
      WeightsError: there is none, or tokenizer_config.json contradicts it.
    """
    file, config_file = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if not file.exists():
        load = f"from transformers import AutoTokenizer as A; A.from_pretrained('{folder}').save_pretrained('{folder}')"
        raise WeightsError(f'{folder}: no tokenizer.json in this folder; transformers can write it: python -c "{load}"')
    config = read_json(config_file) if config_file.exists() else {}
    if not lower_case and not config:
        return file
    content = read_json(file)
    before = json.dumps(content)
    try:
        _set_normalizer(content, config)
        if lower_case:
            _lower_case(content)
    except (AttributeError, KeyError, TypeError):
        raise WeightsError(f"{file}: not a tokenizer.json (its normalizer is none that tokenizers reads)") from None
    if (side := config.get("truncation_side")) is not None:
        _set_truncation(content, str(side), config_file)
    if config.get("split_special_tokens"):
        raise WeightsError(f"{config_file}: split_special_tokens true is not supported")
    if json.dumps(content) != before:
        file = _keep(json.dumps(content, ensure_ascii=False))
    _check_added(file, config, config_file)
    return file


def _set_normalizer(content: dict[str, Any], config: dict[str, Any]) -> None:
    normalizer = content.get("normalizer") or {}
    if normalizer.get("type") != "BertNormalizer" or not str(config.get("tokenizer_class")).startswith(_BERT_LIKE):
        return
    for theirs, own in _NORMALIZER.items():
        if theirs in config:
            normalizer[own] = config[theirs]


def _lower_case(content: dict[str, Any]) -> None:
    """Puts Lowercase before all else, where the normaliser has none."""
    normalizer = content.get("normalizer")
    steps = normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else [normalizer] if normalizer else []
    if not any(step["type"] == "Lowercase" for step in steps):
        content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *steps]}


def _set_truncation(content: dict[str, Any], side: str, config_file: Path) -> None:
    if side not in ("left", "right"):
        raise WeightsError(f"{config_file}: truncation_side {side!r} is not supported; supported: 'left', 'right'")
    own = content.get("truncation") or {"max_length": 512, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    if own.get("direction", "Right").lower() != side:  # files of older tokenizers have none
        content["truncation"] = {**own, "direction": side.capitalize()}  # the length is set anew in each use


def _keep(text: str) -> Path:
    folder = cache.root() / "tokenizers" / digest(text)[:16]
    if not (folder / "tokenizer.json").is_file():
        with private_folder(folder) as own:
            write_synced(own / "tokenizer.json", text.encode())
            os.replace(own / "tokenizer.json", folder / "tokenizer.json")
    return folder / "tokenizer.json"


def _check_added(file: Path, config: dict[str, Any], config_file: Path) -> None:
    """Refuses add_bos_token or add_eos_token true where tokenizer.json doesn't add the token: versions of transformers differ on which holds."""
    if not config.get("add_bos_token") and not config.get("add_eos_token"):
        return
    tokenizer = read_tokenizer(file)
    tokenizer.no_truncation()
    ids = tokenizer.encode("a").ids
    for key, at in (("bos", 0), ("eos", -1)):
        token = config.get(f"{key}_token")
        name = token.get("content") if isinstance(token, dict) else token
        if config.get(f"add_{key}_token") and name is not None and (not ids or ids[at] != tokenizer.token_to_id(str(name))):
            raise WeightsError(
                f"{config_file}: add_{key}_token is true, but the post_processor of {file.name} adds no {name!r}, and that file is what "
                f"is used; add it there, or set add_{key}_token to false"
            )
