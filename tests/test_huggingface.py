"""What other libraries read: PEFT's own names and numbers (tests/parity, by scripts/make_goldens.py), and a folder that is read back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
import states
from safetensors.numpy import load_file
from states import PARITY

from cold_jax import adapters, huggingface
from cold_jax.adapters import Lora
from cold_jax.encoders import CHARACTERS, Loaded, Pooling, TextEncoder


@pytest.fixture
def loaded() -> Loaded:
    config = json.loads((PARITY / "bert_small/config.json").read_text())
    return Loaded(TextEncoder(states.load(PARITY / "bert_small"), Pooling.mean, 8), CHARACTERS, 64, 64, "", config)


@pytest.mark.parametrize("name", ["peft_lora", "peft_lora_all"])
def test_delta_goes_to_peft_and_into_phi(loaded: Loaded, tmp_path: Path, name: str) -> None:
    about, golden = json.loads((PARITY / f"{name}.json").read_text()), load_file(PARITY / f"{name}.safetensors")
    ours = {"attention.self": "attention", "attention.output.dense": "attention.output", "intermediate.dense": "mlp.up"}
    ours |= {"output.dense": "mlp.down"}
    delta = {}
    for key in (key for key in golden if "lora_" in key and ".layer.0." in key):
        path, part = key.removeprefix("encoder.layer.0.").split(".lora_")
        own = next(path.replace(theirs, mine) for theirs, mine in ours.items() if path.startswith(theirs))
        layers = [golden[key.replace(".layer.0.", f".layer.{layer}.")].T for layer in range(2)]
        delta[f"encoder.backbone.layers.{own}.{part}"] = np.stack(layers)
    lora = Lora(
        rate=1.0, layers="all", rank=about["rank"], alpha=about["alpha"], dropout=0.0, rslora=about["rslora"], targets=[".*"]
    )

    huggingface.write_peft(tmp_path / "peft", loaded, lora, delta, "some/bert")
    written = load_file(tmp_path / "peft/adapter_model.safetensors")
    expected = {f"base_model.model.{key}.weight": value for key, value in golden.items() if "lora_" in key}
    assert set(written) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(written[key], value)
    config = json.loads((tmp_path / "peft/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["use_rslora"]) == (about["rank"], about["alpha"], about["rslora"])
    assert {f"base_model.model.{module}.lora_A.weight" for module in config["target_modules"]} <= set(expected)

    phi = adapters.add(lora, loaded.encoder, delta)
    tokens = load_file(PARITY / "bert_small/golden.safetensors")
    golden |= {key: tokens[key] for key in ("token_TL", "type_TL", "length_T")}
    assert states.errors(phi.backbone, golden, 64, 8)[1] < 1e-5
    assert states.errors(loaded.encoder.backbone, golden, 64, 8)[1] > 1e-2


def test_a_written_checkpoint_is_read_again(tmp_path: Path) -> None:
    tiny = replace(small.ENCODER, pooling=Pooling.weighted_mean)()
    huggingface.write_encoder(tmp_path / "hf", tiny, tiny.encoder)
    again = states.load(tmp_path / "hf").layers.mlp.up.kernel[...]
    np.testing.assert_array_equal(again, tiny.encoder.backbone.layers.mlp.up.kernel[...])  # type: ignore[attr-defined]
    pooling = json.loads((tmp_path / "hf/1_Pooling/config.json").read_text())
    assert [name for name, chosen in pooling.items() if chosen is True] == ["pooling_mode_weightedmean_tokens"]
