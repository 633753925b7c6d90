"""GGUF: a Llama written as llama.cpp writes it is read as it was; SmolLM2 against transformers' own reading of the same file."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from omegaconf import OmegaConf
from safetensors.numpy import load_file
from states import PARITY
from tokenizers import Tokenizer

from cold_jax import CONF, config
from cold_jax.encoders.gguf import unpacked
from cold_jax.errors import WeightsError
from cold_jax.text.packing import pack
from cold_jax.text.tokens import tokenize

WORDS = ["<s>", "</s>", *"abc0123 ", "Ġ", "ab", "Ġab"]
WORDS += [f"<{n}>" for n in range(70 - len(WORDS))]


def as_llama_cpp(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head, 0 … h, in the order 0, h/2, 1, h/2 + 1, …"""
    width = len(array) // heads
    order = [head * width + half * width // 2 + j for head in range(heads) for j in range(width // 2) for half in range(2)]
    return array[order]


def write(path: Path, architecture: str = "llama", split: str = "smollm", odd: bool = False) -> dict[str, np.ndarray]:
    """tests/parity/llama as a GGUF file; its tensors by transformers' names."""
    from gguf import GGUFWriter

    config = json.loads((PARITY / "llama/config.json").read_text())
    tensors = load_file(PARITY / "llama/model.safetensors")
    tensors.pop("lm_head.weight", None)
    file = GGUFWriter(path, architecture)
    file.add_vocab_size(config["vocab_size"])
    file.add_embedding_length(config["hidden_size"])
    file.add_block_count(config["num_hidden_layers"])
    file.add_head_count(config["num_attention_heads"])
    file.add_head_count_kv(config["num_key_value_heads"])
    file.add_feed_forward_length(config["intermediate_size"])
    file.add_context_length(config["max_position_embeddings"])
    file.add_layer_norm_rms_eps(config["rms_norm_eps"])
    file.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre(split)
    file.add_token_list(WORDS)
    file.add_token_types([3, 3, *[1] * (len(WORDS) - 2)])
    file.add_token_merges(["a b", "Ġ ab"])
    file.add_bos_token_id(0)
    file.add_eos_token_id(1)
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for name, array in tensors.items():
        theirs = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}.get(name)
        if theirs is None:
            _, _, layer, *rest, _ = name.split(".")
            theirs = f"blk.{layer}.{names['.'.join(rest)]}.weight"
        heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(theirs.split(".")[-2])
        file.add_tensor(theirs, as_llama_cpp(array, config[heads]) if heads else array)
    if odd:
        file.add_tensor("blk.0.attn_sinks.weight", np.ones(4, np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return tensors


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLD_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_llama_is_read_as_it_was(tmp_path: Path, cache: Path) -> None:
    tensors = write(tmp_path / "x.gguf")
    folder = unpacked(tmp_path / "x.gguf")
    found = load_file(folder / "model.safetensors")
    assert set(found) == set(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array, strict=True, err_msg=name)
    config, before = (json.loads((of / "config.json").read_text()) for of in (folder, PARITY / "llama"))
    same = ("vocab_size", "hidden_size", "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "hidden_act")
    assert {key: config[key] for key in same} == {key: before[key] for key in same}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("<s>ab 12").tokens == ["<s>", "ab", "Ġ", "1", "2"]
    # once: a second look writes nothing
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert unpacked(tmp_path / "x.gguf") == folder
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "gemma"}, "the architecture 'gemma' is not supported; supported: 'llama'"),
        ({"split": "llama-bpe"}, r"the tokenizer \('gpt2', 'llama-bpe'\) is not supported"),
        ({"odd": True}, "blk.0.attn_sinks.weight: tensors that no Llama of ours has"),
    ],
)
def test_what_is_no_such_llama_is_refused(tmp_path: Path, cache: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path / "x.gguf", **changes)
    with pytest.raises(WeightsError, match=message):
        unpacked(tmp_path / "x.gguf")
    assert not list(cache.rglob("*.json"))


def test_without_the_package_it_says_what_to_install(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.gguf")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip install 'cold_jax\[gguf\]'"):
        unpacked(tmp_path / "x.gguf")


@pytest.mark.assets
@pytest.mark.slow  # 90 MB
def test_smollm2_is_transformers() -> None:
    golden = load_file(PARITY / "smollm2.safetensors")
    loaded = replace(config.make(OmegaConf.load(Path(CONF, "encoder/smollm2.yaml")), "encoder"), texts_per_row=1)()  # pyright: ignore
    texts = [x for x in json.loads((PARITY / "minilm.json").read_text())["texts"] if 0 < len(x) < 100]
    tokens = tokenize(loaded.tokenizer, texts, loaded.max_length)
    np.testing.assert_array_equal(tokens.token_N, golden["token_N"])
    np.testing.assert_array_equal(tokens.length_T, golden["length_T"])
    rows, _ = pack(tokens, np.arange(len(texts)), 64, 1, 1)
    state_RLD = np.asarray(jax.jit(lambda encoder, rows: encoder.states(rows))(loaded.encoder, rows))
    last_TD = np.stack([state_RLD[rows.text_RL[:, 0] == t][0, n - 1] for t, n in enumerate(golden["length_T"])])
    largest = np.abs(golden["last_TD"]).max()
    assert largest > 30
    assert np.abs(last_TD - golden["last_TD"]).max() < 1e-5 * largest
