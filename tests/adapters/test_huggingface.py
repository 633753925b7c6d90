"""A folder for other libraries, read back here; tests/test_peers.py reads it with them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
import states
from folders import CASES, HUB, TEXTS, vectors, write
from states import PARITY

from cold_jax.adapters import huggingface
from cold_jax.encoders import CHARACTERS, EncoderShape, Loaded, TextEncoder
from cold_jax.encoders.pooling import Pooling


def test_a_written_checkpoint_is_read_again(tmp_path: Path) -> None:
    tiny = replace(small.ENCODER, pooling=Pooling.weighted_mean)()
    huggingface.write_encoder(tmp_path / "hf", tiny, tiny.encoder)
    again = states.load(tmp_path / "hf").layers.mlp.up.kernel[...]
    np.testing.assert_array_equal(again, tiny.encoder.backbone.layers.mlp.up.kernel[...])  # type: ignore[attr-defined]
    pooling = json.loads((tmp_path / "hf/1_Pooling/config.json").read_text())
    assert [name for name, chosen in pooling.items() if chosen is True] == ["pooling_mode_weightedmean_tokens", "include_prompt"]


@pytest.mark.parametrize("name", CASES)
def test_an_exported_folder_has_the_vectors_of_the_one_that_was_read(tmp_path: Path, name: str) -> None:
    loaded = replace(HUB, id=str(write(tmp_path / "read", name)))()
    huggingface.write_encoder(tmp_path / "written", loaded, loaded.encoder)
    again = replace(HUB, id=str(tmp_path / "written"))()
    for side in CASES[name]["sides"]:
        np.testing.assert_allclose(vectors(again, TEXTS, side), vectors(loaded, TEXTS, side), atol=1e-6)


def test_a_tokenizer_without_a_token_for_padding_gets_one(tmp_path: Path) -> None:
    """Of its own id, in a row more of the embedding; no text is split on it."""
    content = CHARACTERS.read_text().replace("[PAD]", "[NIL]")
    (tmp_path / "tokenizer.json").write_text(content)
    backbone = states.load(PARITY / "bert_small")
    config = json.loads((PARITY / "bert_small/config.json").read_text())
    vocabulary = len(json.loads(content)["model"]["vocab"])
    encoder = TextEncoder(backbone, Pooling.mean, 8)
    loaded = Loaded(lambda: encoder, EncoderShape.of(encoder), tmp_path / "tokenizer.json", 64, 64, "", config)
    huggingface.write_encoder(tmp_path / "hf", loaded, loaded.encoder)
    written = json.loads((tmp_path / "hf/tokenizer_config.json").read_text())
    assert written["pad_token"] == "[PAD]"
    tokens = {token["content"]: token["id"] for token in json.loads((tmp_path / "hf/tokenizer.json").read_text())["added_tokens"]}
    assert tokens["[PAD]"] == vocabulary
    assert json.loads((tmp_path / "hf/config.json").read_text())["vocab_size"] == max(120, vocabulary + 1)
    again = states.load(tmp_path / "hf")
    assert again.embeddings.word.embedding.shape[0] == max(120, vocabulary + 1)


def test_a_token_for_padding_gets_a_row_where_there_is_none(tmp_path: Path) -> None:
    """Of an embedding that has a row for each token, and no more."""
    folder = tmp_path / "read"
    folder.mkdir()
    states.write(folder, "bert_small")
    content = (folder / "tokenizer.json").read_text().replace("[PAD]", "[NIL]")
    (folder / "tokenizer.json").write_text(content)
    loaded = replace(HUB, id=str(folder))()
    huggingface.write_encoder(tmp_path / "hf", loaded, loaded.encoder)
    rows = len(json.loads(content)["model"]["vocab"])
    before, after = (states.load(at).embeddings.word.embedding[...] for at in (folder, tmp_path / "hf"))
    assert before.shape[0] == rows
    np.testing.assert_array_equal(after, np.pad(before, ((0, 1), (0, 0))))
    added = json.loads((tmp_path / "hf/tokenizer.json").read_text())["added_tokens"][-1]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    assert added == {"id": rows, "content": "[PAD]", "special": True, **flags}
