"""GTE against torch's."""

import json
from pathlib import Path

import numpy as np
import pytest
import states
from safetensors.numpy import load_file
from states import PARITY

from cold_jax.encoders import gte, weights
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("name", ["gte", "gte_types"])
@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(name: str, texts_per_row: int) -> None:
    state, vector = states.parity(name, texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


@pytest.mark.parametrize("name", ["gte", "gte_types"])
def test_what_was_loaded_is_saved_again(name: str) -> None:
    original = load_file(PARITY / name / "model.safetensors")
    backbone = states.load(PARITY / name)
    saved = weights.save(backbone, gte.ARCHITECTURE.table(backbone.config))
    for key, array in saved.items():
        found = original[key] if key in original else original[f"model.{key}"]
        np.testing.assert_array_equal(array, found, strict=True)
    assert len(original) - len(saved) == sum(name in original for name in ("encoder.embed_tokens.weight", "lm_head.weight"))


def test_the_checkpoints_own_configs_say_the_same(tmp_path: Path) -> None:
    """With the NTK scaling of their own code: base · f, and frequencies over f^(2 / C)."""
    values = json.loads((PARITY / "gte/config.json").read_text())
    del values["rope_parameters"]
    older = {**values, "model_type": "new", "rope_theta": 250.0, "rope_scaling": {"type": "ntk", "factor": 2.0}}
    (tmp_path / "config.json").write_text(json.dumps(older))
    config = gte.config(tmp_path / "config.json")
    assert (config.rope_theta, config.rope_factor) == (500.0, 2.0**0.5)
    (tmp_path / "config.json").write_text(json.dumps(gte.exported(older)))
    assert gte.config(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("key", "value"),
    [("logn_attention_scale", True), ("position_embedding_type", "absolute"), ("rope_scaling", {"type": "dynamic"})],
)
def test_config_refuses_what_it_is_not(tmp_path: Path, key: str, value: object) -> None:
    values = {name: v for name, v in json.loads((PARITY / "gte/config.json").read_text()).items() if name != "rope_parameters"}
    (tmp_path / "config.json").write_text(json.dumps({**values, key: value}))
    with pytest.raises(WeightsError, match=f"{key} .* is not supported"):
        gte.config(tmp_path / "config.json")
