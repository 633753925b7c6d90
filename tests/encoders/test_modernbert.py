"""ModernBERT against torch's: near and far layers in turn, and with biases in an order of its own."""

import json
from pathlib import Path

import numpy as np
import pytest
import states
from safetensors.numpy import load_file
from states import PARITY

from cold_jax.encoders import modernbert, weights
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("name", ["modernbert", "modernbert_bias"])
@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(name: str, texts_per_row: int) -> None:
    state, vector = states.parity(name, texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


def test_what_was_loaded_is_saved_again() -> None:
    """The norm that the first layer lacks is lacking again."""
    original = load_file(PARITY / "modernbert_bias/model.safetensors")
    backbone = states.load(PARITY / "modernbert_bias")
    saved = weights.save(backbone, modernbert.ARCHITECTURE.table(backbone.config), modernbert.GIVEN)
    assert set(saved) == set(original)
    for name, array in saved.items():
        np.testing.assert_array_equal(array, original[name], strict=True)


def test_older_configs_say_the_same(tmp_path: Path) -> None:
    values = json.loads((PARITY / "modernbert/config.json").read_text())
    del values["layer_types"], values["rope_parameters"]
    older = {**values, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0}
    (tmp_path / "config.json").write_text(json.dumps(older))
    read = modernbert.ModernBertConfig.from_json
    assert read(tmp_path / "config.json") == read(PARITY / "modernbert/config.json")


def test_config_refuses_what_it_is_not(tmp_path: Path) -> None:
    values = json.loads((PARITY / "modernbert/config.json").read_text())
    values["rope_parameters"]["full_attention"]["rope_type"] = "yarn"
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match="rope_type 'yarn' is not supported; supported: 'default'"):
        modernbert.ModernBertConfig.from_json(tmp_path / "config.json")


@pytest.mark.parametrize("value", [None, float("nan"), "10000"])
def test_a_base_of_rotary_frequencies_that_is_no_number_is_named(tmp_path: Path, value: object) -> None:
    values = json.loads((PARITY / "modernbert/config.json").read_text())
    for changed in (
        {"rope_parameters": None, "local_rope_theta": value},
        {"rope_parameters": {"sliding_attention": {"rope_theta": value}}},
    ):
        (tmp_path / "config.json").write_text(json.dumps({**values, **changed}))
        with pytest.raises(WeightsError, match=r"config.json: .*rope_theta.* is no finite number"):
            modernbert.ModernBertConfig.from_json(tmp_path / "config.json")
