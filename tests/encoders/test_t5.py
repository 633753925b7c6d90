"""T5's encoder against torch's."""

import json
from pathlib import Path

import numpy as np
import pytest
import states
from safetensors.numpy import load_file
from states import PARITY

from cold_jax.encoders import t5, weights
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("name", ["t5", "t5_gated"])
@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(name: str, texts_per_row: int) -> None:
    state, vector = states.parity(name, texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


@pytest.mark.parametrize("name", ["t5", "t5_gated"])
def test_what_was_loaded_is_saved_again(name: str) -> None:
    original = load_file(PARITY / name / "model.safetensors")
    backbone = states.load(PARITY / name)
    saved = weights.save(backbone, t5.ARCHITECTURE.table(backbone.config))
    for key, array in saved.items():
        found = original[key] if key in original else original[f"model.{key}"]
        np.testing.assert_array_equal(array, found, strict=True)
    assert len(original) - len(saved) == sum(name in original for name in ("encoder.embed_tokens.weight", "lm_head.weight"))


def test_parity_notices_swapped_parameters() -> None:
    names = (f"encoder.block.{{layer}}.layer.1.DenseReluDense.wi_{n}.weight" for n in (0, 1))
    assert states.parity("t5_gated", 8, tuple(names))[0] > 1e-2


@pytest.mark.parametrize(("key", "value"), [("feed_forward_proj", "gated-tanh"), ("is_decoder", True), ("model_type", "umt5")])
def test_config_refuses_what_it_is_not(tmp_path: Path, key: str, value: object) -> None:
    values = json.loads((PARITY / "t5/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, key: value}))
    with pytest.raises(WeightsError, match=f"{key} {value!r} is not supported"):
        t5.T5Config.from_json(tmp_path / "config.json")
