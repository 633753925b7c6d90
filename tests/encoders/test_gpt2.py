"""GPT-2 against torch's."""

import json
from pathlib import Path

import numpy as np
import pytest
import states
from safetensors.numpy import load_file
from states import PARITY

from cold_jax.encoders import gpt2, weights
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(texts_per_row: int) -> None:
    state, vector = states.parity("gpt2", texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


def test_parity_notices_swapped_parameters() -> None:
    assert states.parity("gpt2", 8, ("h.{layer}.ln_1.weight", "h.{layer}.ln_2.weight"))[0] > 1e-2


def test_what_was_split_is_saved_in_one() -> None:
    original = load_file(PARITY / "gpt2/model.safetensors")
    saved = weights.save(states.load(PARITY / "gpt2"), gpt2.CHECKPOINT)
    assert {f"transformer.{name}" for name in saved} == set(original) - {"lm_head.weight"}
    for name, array in saved.items():
        np.testing.assert_array_equal(array, original[f"transformer.{name}"], strict=True)


def test_config_refuses_what_it_is_not(tmp_path: Path) -> None:
    values = json.loads((PARITY / "gpt2/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "scale_attn_by_inverse_layer_idx": True}))
    with pytest.raises(WeightsError, match="scale_attn_by_inverse_layer_idx True is not supported; supported: False"):
        gpt2.Gpt2Config.from_json(tmp_path / "config.json")
