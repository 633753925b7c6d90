"""NomicBERT against torch's."""

import json
from pathlib import Path

import numpy as np
import pytest
import states
from safetensors.numpy import load_file
from states import PARITY

from cold_jax.encoders import nomic_bert, weights
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("name", ["nomic_bert"])
@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(name: str, texts_per_row: int) -> None:
    state, vector = states.parity(name, texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


@pytest.mark.parametrize("name", ["nomic_bert"])
def test_what_was_loaded_is_saved_again(name: str) -> None:
    original = load_file(PARITY / name / "model.safetensors")
    backbone = states.load(PARITY / name)
    saved = weights.save(backbone, nomic_bert.ARCHITECTURE.table(backbone.config))
    for key, array in saved.items():
        found = original[key] if key in original else original[f"model.{key}"]
        np.testing.assert_array_equal(array, found, strict=True)
    assert len(original) - len(saved) == sum(name in original for name in ("encoder.embed_tokens.weight", "lm_head.weight"))


OLDER = {
    "model_type": "nomic_bert",
    "vocab_size": 70,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 24,
    "n_positions": 64,
    "type_vocab_size": 2,
    "layer_norm_epsilon": 1e-12,
    "rotary_emb_base": 1000.0,
    "rotary_emb_fraction": 1.0,
    "activation_function": "swiglu",
    "qkv_proj_bias": False,
    "prenorm": False,
    "rotary_scaling_factor": None,
    "max_trained_positions": 2048,
}


def test_the_checkpoints_own_configs_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(OLDER))
    assert nomic_bert.config(tmp_path / "config.json") == nomic_bert.config(PARITY / "nomic_bert/config.json")
    (tmp_path / "config.json").write_text(json.dumps(nomic_bert.exported(OLDER)))
    assert nomic_bert.config(tmp_path / "config.json") == nomic_bert.config(PARITY / "nomic_bert/config.json")


@pytest.mark.parametrize(
    ("key", "value"), [("prenorm", True), ("qkv_proj_bias", True), ("moe_every_n_layers", 2), ("activation_function", "gelu")]
)
def test_config_refuses_what_it_is_not(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**OLDER, key: value}))
    with pytest.raises(WeightsError, match=f"{key} {value!r} is not supported"):
        nomic_bert.config(tmp_path / "config.json")
