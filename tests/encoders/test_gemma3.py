"""Gemma 3's text model against torch's."""

import json
from pathlib import Path

import numpy as np
import pytest
import states
from safetensors.numpy import load_file
from states import PARITY

from cold_jax.encoders import gemma3, weights
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("name", ["gemma3", "gemma3_bidirectional"])
@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(name: str, texts_per_row: int) -> None:
    state, vector = states.parity(name, texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


@pytest.mark.parametrize("name", ["gemma3", "gemma3_bidirectional"])
def test_what_was_loaded_is_saved_again(name: str) -> None:
    original = load_file(PARITY / name / "model.safetensors")
    backbone = states.load(PARITY / name)
    saved = weights.save(backbone, gemma3.ARCHITECTURE.table(backbone.config))
    for key, array in saved.items():
        found = original[key] if key in original else original[f"model.{key}"]
        np.testing.assert_array_equal(array, found, strict=True)
    assert len(original) - len(saved) == sum(name in original for name in ("encoder.embed_tokens.weight", "lm_head.weight"))


def test_older_configs_say_the_same(tmp_path: Path) -> None:
    values = json.loads((PARITY / "gemma3/config.json").read_text())
    older = {key: value for key, value in values.items() if key not in ("rope_parameters", "layer_types")}
    older |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window_pattern": 2}
    (tmp_path / "config.json").write_text(json.dumps(older))
    read = gemma3.Gemma3Config.from_json
    assert read(tmp_path / "config.json") == read(PARITY / "gemma3/config.json")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attn_logit_softcapping", 50.0, "attn_logit_softcapping 50.0 is not supported"),
        ("layer_types", ["full_attention", "chunked"], "layer_types .* is not supported"),
        (
            "rope_parameters",
            {"full_attention": {"rope_type": "yarn"}},
            "rope_type 'yarn' is not supported; supported: 'default', 'linear'",
        ),
        ("rope_parameters", {"full_attention": {"rope_theta": None}}, "rope_theta of full_attention null is no finite number"),
    ],
)
def test_config_refuses_what_it_is_not(tmp_path: Path, key: str, value: object, message: str) -> None:
    values = json.loads((PARITY / "gemma3/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, key: value}))
    with pytest.raises(WeightsError, match=message):
        gemma3.Gemma3Config.from_json(tmp_path / "config.json")
