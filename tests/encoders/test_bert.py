"""BERT against torch's (tests/parity, by scripts/make_goldens.py): each text alone, and packed into rows with others."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import states
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from states import PARITY

from cold_jax.encoders import TextEncoder, bert
from cold_jax.encoders.pooling import Pooling
from cold_jax.text.packing import fit_row_length, pack
from cold_jax.text.tokens import Tokens, tokenize


@pytest.mark.parametrize(("name", "texts_per_row"), [("bert_small", 1), ("bert_small", 8), ("bert_long", 8), ("bert_legacy", 8)])
def test_parity(name: str, texts_per_row: int) -> None:
    golden = load_file(PARITY / name / "golden.safetensors")
    state, vector = states.errors(states.load(PARITY / name), golden, golden["token_TL"].shape[1], texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


@pytest.mark.parametrize("name", ["bert_small", "bert_long"])
def test_parity_in_bfloat16(name: str) -> None:
    """A product in bfloat16 keeps 8 bits (0.4 %); layers of wild random weights make 0.1 of it, for states of size 1."""
    golden = load_file(PARITY / name / "golden.safetensors")
    state, vector = states.errors(states.load(PARITY / name, "bfloat16"), golden, golden["token_TL"].shape[1], 8)
    assert 1e-4 < state < 0.2  # above the lower bound: products were in bfloat16
    assert vector < 0.02


@pytest.mark.parametrize(("one", "other"), [("query", "key"), ("key", "value"), ("query", "output.dense")])
def test_parity_notices_swapped_parameters(one: str, other: str) -> None:
    names = (f"encoder.layer.{{layer}}.attention.{name if '.' in name else 'self.' + name}.weight" for name in (one, other))
    assert states.parity("bert_small", 8, tuple(names))[0] > 1e-2


@pytest.mark.assets
def test_parity_of_minilm(minilm) -> None:
    golden = load_file(PARITY / "minilm.safetensors")
    state, vector = states.errors(minilm.encoder.backbone, golden, 512, 16)
    assert state < 1e-5
    assert vector < 1e-5


@pytest.mark.assets
def test_minilm_from_texts(minilm) -> None:
    """Tokens, too, are those of the golden file: the whole way from a text to its vector."""
    golden, texts = load_file(PARITY / "minilm.safetensors"), json.loads((PARITY / "minilm.json").read_text())["texts"]
    tokens = tokenize(minilm.tokenizer, texts, minilm.max_length)
    rows, slot_T = pack(tokens, np.arange(len(texts)), fit_row_length(tokens, 64), 16, 1)
    _, vector_TD = states.both(minilm.encoder, rows)
    np.testing.assert_allclose(np.asarray(vector_TD)[slot_T], golden["vector_TD"][: len(texts)], atol=1e-5)


@pytest.fixture(scope="module")
def minilm():
    return states.MINILM()


@functools.cache
def small_encoder() -> TextEncoder:
    return TextEncoder(states.load(PARITY / "bert_small"), Pooling.mean, 4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 16), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_packing_does_not_change_a_text(lengths: list[int], seed: int) -> None:
    encoder = small_encoder()
    token_N = np.random.default_rng(seed).integers(0, 120, sum(lengths), np.int32)
    tokens = Tokens(token_N, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    together, slot_T = pack(tokens, np.arange(len(lengths)), 32, 4, 20)
    alone_TD = [states.both(encoder, pack(tokens, np.array([t]), 32, 4, 20)[0])[1][0] for t in range(len(lengths))]
    np.testing.assert_allclose(np.asarray(states.both(encoder, together)[1])[slot_T], np.stack(alone_TD), atol=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "supported"),
    [
        ("model_type", "roberta", "'bert'"),
        ("model_type", None, "'bert'"),
        ("position_embedding_type", "relative_key", "'absolute'"),
        ("hidden_act", "mish", "'gelu', 'gelu_new', 'gelu_pytorch_tanh', 'relu', 'silu'"),
        ("is_decoder", True, "False"),
    ],
)
def test_config_refuses_what_it_is_not(tmp_path: Path, key: str, value: object, supported: str) -> None:
    values = json.loads((PARITY / "bert_small/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, key: value}))
    with pytest.raises(ValueError, match=rf"config.json: {key} {value!r} is not supported; supported: {supported}"):
        bert.BertConfig.from_json(tmp_path / "config.json")


def test_config_names_missing_keys_and_odd_heads(tmp_path: Path) -> None:
    values = json.loads((PARITY / "bert_small/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in values.items() if k != "hidden_size"}))
    with pytest.raises(ValueError, match=r"config.json: hidden_size missing"):
        bert.BertConfig.from_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text(json.dumps({**values, "num_attention_heads": 5}))
    with pytest.raises(ValueError, match="32 cannot be shared by 5 heads"):
        bert.BertConfig.from_json(tmp_path / "config.json")
