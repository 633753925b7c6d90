"""Llama, Qwen2 and Qwen3 against torch's."""

import json
from pathlib import Path

import numpy as np
import pytest
import states
from safetensors.numpy import load_file
from states import PARITY

from cold_jax.encoders import llama, weights
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("name", ["llama", "llama_bias", "qwen2", "qwen2_bidirectional", "qwen3"])
@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(name: str, texts_per_row: int) -> None:
    state, vector = states.parity(name, texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


@pytest.mark.parametrize(("one", "other"), [("self_attn.k_proj", "self_attn.v_proj"), ("mlp.gate_proj", "mlp.up_proj")])
def test_parity_notices_swapped_parameters(one: str, other: str) -> None:
    names = (f"layers.{{layer}}.{one}.weight", f"layers.{{layer}}.{other}.weight")
    assert states.parity("llama", 8, names)[0] > 1e-2


def test_what_was_loaded_is_saved_again() -> None:
    original = load_file(PARITY / "llama_bias/model.safetensors")
    backbone = states.load(PARITY / "llama_bias")
    saved = weights.save(backbone, llama.ARCHITECTURE.table(backbone.config))
    assert set(saved) == set(original)
    for name, array in saved.items():
        np.testing.assert_array_equal(array, original[name], strict=True)


def test_older_configs_say_the_same(tmp_path: Path) -> None:
    values = json.loads((PARITY / "llama_bias/config.json").read_text())
    older = {key: value for key, value in values.items() if key != "rope_parameters"} | {
        "rope_theta": 500.0,
        "rope_scaling": None,
    }
    (tmp_path / "config.json").write_text(json.dumps(older))
    read = llama.LlamaConfig.from_json
    assert read(tmp_path / "config.json") == read(PARITY / "llama_bias/config.json")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1.0}, "rope_type 'yarn' is not supported; supported: 'default'"),
        ("use_sliding_window", True, "use_sliding_window True is not supported; supported: False"),
    ],
)
def test_config_refuses_what_it_is_not(tmp_path: Path, key: str, value: object, message: str) -> None:
    values = json.loads((PARITY / "qwen3/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, key: value}))
    with pytest.raises(WeightsError, match=message):
        llama.LlamaConfig.from_json(tmp_path / "config.json")


def test_is_causal_is_read() -> None:
    """gte-Qwen2 says that it is not."""
    assert states.load(PARITY / "qwen2").causal
    assert not states.load(PARITY / "qwen2_bidirectional").causal
