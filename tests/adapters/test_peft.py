"""PEFT's own names and numbers (tests/parity, by scripts/make_goldens.py), and what of its settings is refused."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
import small
import states
from flax import nnx
from safetensors.numpy import load_file, save_file
from states import PARITY

from cold_jax.adapters import merge, peft
from cold_jax.encoders import CHARACTERS, EncoderShape, Loaded, TextEncoder
from cold_jax.encoders.pooling import Pooling
from cold_jax.errors import WeightsError


@pytest.fixture
def loaded() -> Loaded:
    config = json.loads((PARITY / "bert_small/config.json").read_text())
    encoder = TextEncoder(states.load(PARITY / "bert_small"), Pooling.mean, 8)
    return Loaded(lambda: encoder, EncoderShape.of(encoder), CHARACTERS, 64, 64, "", config)


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
    lora = replace(small.LORA, rank=about["rank"], alpha=about["alpha"], rslora=about["rslora"], dora=False, targets=[".*"])

    peft.write_peft(tmp_path / "peft", loaded, lora, delta)
    written = load_file(tmp_path / "peft/adapter_model.safetensors")
    expected = {f"base_model.model.{key}.weight": value for key, value in golden.items() if "lora_" in key}
    assert set(written) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(written[key], value)
    config = json.loads((tmp_path / "peft/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["use_rslora"]) == (about["rank"], about["alpha"], about["rslora"])
    assert {f"base_model.model.{module}.lora_A.weight" for module in config["target_modules"]} <= set(expected)

    targets = [re.escape(key.removeprefix("encoder.").removesuffix(".A")) for key in delta if key.endswith(".A")]
    adapted = replace(lora, targets=targets, init_from=str(tmp_path / "peft"))
    begun = adapted(loaded.encoder, 0)
    peft.init_from_peft(begun, loaded, adapted)
    read = merge.parameters(begun, nnx.LoRAParam)
    assert {f"encoder.{name}" for name in read} == set(delta)
    for key, value in read.items():
        np.testing.assert_array_equal(value, delta[f"encoder.{key}"])

    phi = merge.merge(lora, loaded.encoder, delta)
    tokens = load_file(PARITY / "bert_small/golden.safetensors")
    golden |= {key: tokens[key] for key in ("token_TL", "type_TL", "length_T")}
    assert states.errors(phi.backbone, golden, 64, 8)[1] < 1e-5
    assert states.errors(loaded.encoder.backbone, golden, 64, 8)[1] > 1e-2


@pytest.mark.parametrize("name", ["gpt2", "qwen3"])
@pytest.mark.parametrize("layers", ["all", "last_1"])
@pytest.mark.parametrize("dora", [False, True])
def test_what_peft_gave_is_begun_at(tmp_path: Path, name: str, layers: str, dora: bool) -> None:
    """As Δθ, also where the checkpoint keeps several linear maps in one."""
    config = json.loads((PARITY / name / "config.json").read_text())
    encoder = TextEncoder(states.load(PARITY / name), Pooling.mean, 8)
    loaded = Loaded(lambda: encoder, EncoderShape.of(encoder), CHARACTERS, 64, 64, "", config)
    lora = replace(small.LORA, layers=layers, rslora=True, dora=dora)
    shape, draw = merge.parameters(lora(loaded.encoder, 0), nnx.LoRAParam), np.random.default_rng(0)
    given = {f"encoder.{key}": draw.uniform(0.5, 1, a.shape).astype(np.float32)[-(lora.last or 9) :] for key, a in shape.items()}
    peft.write_peft(tmp_path / "peft", loaded, lora, given)
    written = json.loads((tmp_path / "peft/adapter_config.json").read_text())
    fused = bool(written["rank_pattern"])
    assert fused == (name == "gpt2")
    if fused:  # one module of twice the rank, as PEFT itself would have it
        written |= {"r": 2 * lora.rank, "lora_alpha": next(iter(written["alpha_pattern"].values()))}
        written |= {"rank_pattern": {}, "alpha_pattern": {}}
        (tmp_path / "peft/adapter_config.json").write_text(json.dumps(written))
        targets = [r".*attention\.(query|key|value)"]
        again = replace(lora, rank=written["r"], alpha=written["lora_alpha"], targets=targets, init_from=str(tmp_path / "peft"))
    else:
        again = replace(lora, init_from=str(tmp_path / "peft"))
    theta = loaded.encoder
    if lora.last:
        theta = nnx.clone(theta)
        theta.backbone.layers = jax.tree.map(lambda stacked: stacked[-lora.last :], theta.backbone.layers)
    begun = again(theta, 0)
    peft.init_from_peft(begun, loaded, again)
    read = {f"encoder.{key}": a for key, a in merge.parameters(begun, nnx.LoRAParam).items()}
    one, other = (merge.parameters(merge.merge(*of), nnx.Param) for of in ((lora, theta, given), (again, theta, read)))
    for key, value in one.items():
        np.testing.assert_allclose(other[key], value, atol=1e-5, err_msg=key)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 5}, r"has r 3, here it is 5; give adapter.rank=3"),
        ({"rslora": True}, r"has use_rslora False, here it is True; give adapter.rslora=false"),
        (
            {"targets": [".*key"]},
            r"adapts backbone.layers.attention.query, .*value; adapter.targets .* choose backbone.layers.attention.key",
        ),
        ({"init_from": "nowhere"}, r"adapter.init_from: nowhere is no folder of a PEFT adapter"),
    ],
)
def test_another_adapter_is_refused_by_name(loaded: Loaded, tmp_path: Path, changes: dict, message: str) -> None:
    delta = merge.parameters(small.LORA(loaded.encoder, 0), nnx.LoRAParam)
    peft.write_peft(tmp_path / "peft", loaded, small.LORA, {f"encoder.{key}": a for key, a in delta.items()})
    lora = replace(small.LORA, **{"init_from": str(tmp_path / "peft"), **changes})
    with pytest.raises(WeightsError, match=message):
        peft.init_from_peft(lora(loaded.encoder, 0), loaded, lora)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_lora_weights": "pissa"}, r"has init_lora_weights 'pissa', which is not supported"),
        ({"init_lora_weights": "olora"}, r"has init_lora_weights 'olora'"),
        ({"init_lora_weights": "pissa_niter_4"}, r"has init_lora_weights 'pissa_niter_4'"),
        ({"lora_bias": True}, r"has lora_bias True, which is not supported"),
        ({"layer_replication": [[0, 1]]}, r"has layer_replication \[\[0, 1\]\]"),
        ({"use_qalora": True}, r"has use_qalora True"),
        ({"alora_invocation_tokens": [1, 2]}, r"has alora_invocation_tokens \[1, 2\]"),
        ({"rank_pattern": {"query": 2}}, r"has rank_pattern"),
        ({"modules_to_save": ["pooler"]}, r"has modules_to_save"),
        ({"bias": "all"}, r"has bias 'all'"),
        ({"peft_type": "LOHA"}, r"has peft_type 'LOHA'"),
        ({"of_next_year": True}, r"has of_next_year True, which is not supported; supported: None"),
        ({"of_next_year": 0.5}, r"has of_next_year 0.5"),
    ],
)
def test_a_setting_that_may_change_the_result_is_refused(loaded: Loaded, tmp_path: Path, changes: dict, message: str) -> None:
    delta = merge.parameters(small.LORA(loaded.encoder, 0), nnx.LoRAParam)
    peft.write_peft(tmp_path / "peft", loaded, small.LORA, {f"encoder.{key}": a for key, a in delta.items()})
    file = tmp_path / "peft/adapter_config.json"
    lora = replace(small.LORA, init_from=str(tmp_path / "peft"))
    harmless = {
        "init_lora_weights": "gaussian",
        "lora_bias": False,
        "peft_version": "1",
        "layer_replication": None,
        "of_next_year": None,
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | harmless))
    peft.init_from_peft(lora(loaded.encoder, 0), loaded, lora)
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(WeightsError, match=message):
        peft.init_from_peft(lora(loaded.encoder, 0), loaded, lora)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("peft_type", "has peft_type None"),
        ("use_rslora", "has use_rslora False, here it is True"),
        ("lora_alpha", "has lora_alpha 8, here it is"),
    ],
)
def test_what_a_config_leaves_out_has_peft_s_value(loaded: Loaded, tmp_path: Path, key: str, message: str) -> None:
    delta = merge.parameters(small.LORA(loaded.encoder, 0), nnx.LoRAParam)
    own = replace(small.LORA, rslora=True, alpha=5.0)
    peft.write_peft(tmp_path / "peft", loaded, own, {f"encoder.{name}": a for name, a in delta.items()})
    file, lora = tmp_path / "peft/adapter_config.json", replace(own, init_from=str(tmp_path / "peft"))
    peft.init_from_peft(lora(loaded.encoder, 0), loaded, lora)
    file.write_text(json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != key}))
    with pytest.raises(WeightsError, match=message):
        peft.init_from_peft(lora(loaded.encoder, 0), loaded, lora)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("nan", r"lora_A.weight: 1 of \d+ values are NaN"),
        ("twice", r"holds A of .* twice"),
        ("fp8", "is of type F8_E4M3, which is not supported"),
        ("pipe", "is no plain file"),
    ],
)
def test_tensors_that_are_none_of_an_adapter_are_named(loaded: Loaded, tmp_path: Path, damage: str, message: str) -> None:
    delta = merge.parameters(small.LORA(loaded.encoder, 0), nnx.LoRAParam)
    peft.write_peft(tmp_path / "peft", loaded, small.LORA, {f"encoder.{key}": a for key, a in delta.items()})
    file = tmp_path / "peft/adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    tensors[name].reshape(-1)[0] = np.nan if damage == "nan" else 0
    if damage == "twice":
        tensors[name.removeprefix("base_model.model.")] = tensors[name]
    if damage == "fp8":
        tensors[name] = tensors[name].astype(ml_dtypes.float8_e4m3fn)
    save_file(tensors, file)
    if damage == "pipe":
        file.unlink()
        os.mkfifo(file)
    lora = replace(small.LORA, init_from=str(tmp_path / "peft"))
    with pytest.raises(WeightsError, match=message):
        peft.init_from_peft(lora(loaded.encoder, 0), loaded, lora)


def test_a_bias_of_an_adapter_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    delta = merge.parameters(small.LORA(loaded.encoder, 0), nnx.LoRAParam)
    peft.write_peft(tmp_path / "peft", loaded, small.LORA, {f"encoder.{key}": a for key, a in delta.items()})
    file = tmp_path / "peft/adapter_model.safetensors"
    name = "base_model.model.encoder.layer.0.attention.self.query.lora_B.bias"
    save_file(load_file(file) | {name: np.ones(32, np.float32)}, file)
    lora = replace(small.LORA, init_from=str(tmp_path / "peft"))
    with pytest.raises(WeightsError, match=r"holds .*lora_B.bias, which is no A, B or magnitude of a LoRA"):
        peft.init_from_peft(lora(loaded.encoder, 0), loaded, lora)


def test_an_adapter_that_is_not_safetensors_gets_the_command_that_converts_it(loaded: Loaded, tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    (tmp_path / "adapter_config.json").write_text("{}")
    lora = replace(small.LORA, init_from=str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"adapter_model.bin alone; weights are read .*adapter_model.bin'.*adapter_model.safetensors'"
    ):
        peft.init_from_peft(lora(loaded.encoder, 0), loaded, lora)


def test_the_base_model_is_named_or_written_beside(loaded: Loaded, tmp_path: Path) -> None:
    delta = {f"encoder.{key}": a for key, a in merge.parameters(small.LORA(loaded.encoder, 0), nnx.LoRAParam).items()}
    peft.write_peft(tmp_path / "named", replace(loaded, name="some/bert"), small.LORA, delta)
    assert json.loads((tmp_path / "named/adapter_config.json").read_text())["base_model_name_or_path"] == "some/bert"
    peft.write_peft(tmp_path / "beside", loaded, small.LORA, delta)
    base = Path(json.loads((tmp_path / "beside/adapter_config.json").read_text())["base_model_name_or_path"])
    np.testing.assert_array_equal(
        states.load(base).embeddings.word.embedding[...], loaded.encoder.backbone.embeddings.word.embedding[...]
    )
