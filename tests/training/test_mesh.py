"""A mesh of data × fsdp × tensor devices: where arrays lie, what each device holds of them, and that it changes no loss."""

import json
import shutil
from pathlib import Path
from typing import Any

import eight
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax.sharding import PartitionSpec as P

from cold_jax import experiment
from cold_jax.adapters.merge import parameters
from cold_jax.config import compose, settings
from cold_jax.encoders.sharding import dotted, spec
from cold_jax.errors import ConfigError
from cold_jax.training.mesh import FrozenDtype
from cold_jax.training.parallel import Pmap

SIZES = {"data": 1, "fsdp": 4, "tensor": 2}


@pytest.fixture(scope="module")
def told(eight_devices: Path) -> dict[str, Any]:
    return json.loads((eight_devices / "told.json").read_text())


@pytest.mark.parametrize(
    ("path", "shape", "where"),
    [
        ("encoder.backbone.layers.attention.query.kernel", (2, 16, 16), P(None, "fsdp", "tensor")),
        ("encoder.backbone.layers.attention.value.linear.kernel", (2, 16, 16), P(None, "fsdp", "tensor")),
        ("encoder.backbone.layers.mlp.gate.kernel", (2, 16, 24), P(None, "fsdp", "tensor")),
        ("encoder.backbone.layers.attention.output.kernel", (2, 16, 16), P(None, "tensor", "fsdp")),
        ("inner[1].mu.encoder.backbone.layers.mlp.down.kernel", (2, 24, 16), P(None, "tensor", "fsdp")),
        ("encoder.backbone.layers.mlp.up.bias", (2, 24), P(None, "tensor")),
        ("encoder.backbone.layers.attention.query.A", (2, 16, 3), P(None, "fsdp", None)),  # no rule: the longest axis
        ("encoder.backbone.layers.attention.query.B", (2, 3, 16), P(None, None, "tensor")),
        ("encoder.backbone.embeddings.word.embedding", (109, 16), P(None, "fsdp")),  # 109 words are odd
        ("encoder.backbone.embeddings.word.embedding", (110, 18), P("tensor", None)),
        ("source_FV", (28, 4), P("fsdp", None)),
        ("item_bias_I", (30,), P()),  # 4 does not divide it
        ("log_scale", (), P()),
        ("my_query.kernel", (16, 32), P(None, "fsdp")),  # another name that ends alike
    ],
)
def test_where_an_array_lies(path: str, shape: tuple[int, ...], where: P) -> None:
    assert spec(SIZES, path, shape) == where


def test_every_matrix_of_attention_and_mlp_has_a_rule(prepared: experiment.Prepared) -> None:
    """Of the encoder with LoRA in it, and of its moments: the names are those that the model has."""
    le = small.train_setup(prepared, small.LORA_ALL, small.TWO_TOWER)
    _, state = small.step_of(le, small.SOFTMAX, eight.ADAMW(10, 1.0))
    found = [dotted(path) for path, _ in jax.tree_util.tree_leaves_with_path((le.partition.frozen, state))]
    inside = [path for path in found if ".layers." in path and path.endswith("kernel")]
    assert len(inside) == 6
    assert all("tensor" in spec(SIZES, path, (2, 8, 8)) for path in inside)
    halves = [path for path in found if path.endswith((".up.B", ".down.A"))]
    assert len(halves) == 8  # parameters, two moments, an accumulated gradient
    assert all("tensor" in spec(SIZES, path, (2, 8, 8)) for path in halves)


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_each_device_holds_what_the_arithmetic_says(told: dict[str, Any], adapter: str) -> None:
    """By hand: the bytes of an array over the devices that divide it; the same on every device, and the sum is what is logged."""
    found = told[adapter]
    width, ffn, floats = 16, 24, 4
    matrix, stem = 2 * width * width * floats // 8, "['encoder']['backbone']['layers']"
    if adapter == "full":
        assert found["first"][f"['state'].trainable{stem}['attention']['query']['kernel'].value"] == matrix
        moments = [size for name, size in found["first"].items() if "u" + stem in name and "['up']['kernel']" in name]
        assert moments == [2 * width * ffn * floats // 8] * 2
    else:
        assert found["first"][f"['frozen']{stem}['attention']['query']['linear']['kernel'].value"] == matrix // 2  # bfloat16
        assert found["first"][f"['frozen']{stem}['attention_norm']['scale'].value"] == 2 * width * floats // 4
        assert found["first"][f"['state'].trainable{stem}['attention']['query']['A'].value"] == 2 * width * 3 * floats // 4
    assert sum(found["first"].values()) == found["told"]
    assert found["held"] == [found["told"]] * 8


def test_a_checkpoint_goes_on_over_other_devices(told: dict[str, Any], eight_devices: Path, tmp_path: Path) -> None:
    """AdamW in the middle of an accumulation, saved over data=8: the same losses over fsdp=4 × tensor=2, and on one device."""
    assert told["wide"] == pytest.approx(told["losses"][eight.SAVED :], rel=1e-5)
    shutil.copytree(eight_devices / "data_8", tmp_path / "data_8")
    one = eight.go_on(Pmap(1), tmp_path / "data_8", eight.SAVED)
    assert one == pytest.approx(told["losses"][eight.SAVED :], rel=1e-5)
    alone = eight.go_on(Pmap(1), tmp_path / "alone")
    assert alone == pytest.approx(told["losses"], rel=1e-5)
    assert min(np.abs(np.diff(alone))) > 1e-3  # the losses of two steps differ by more


@pytest.mark.parametrize("adapter", [small.LORA, small.FULL], ids=["lora", "full"])
def test_only_what_does_not_learn_is_rounded(adapter: Any) -> None:
    exact, loaded = (small.ENCODER() for _ in range(2))
    rounded = small.mesh(1, frozen_dtype=FrozenDtype.bfloat16).place(loaded, adapter.trainable_filter)
    before, after = (parameters(each.encoder, ...) for each in (exact, rounded))
    other = {name for name, array in before.items() if not np.array_equal(array, after[name])}
    matrices = {name for name in before if name.endswith(("kernel", "embedding"))}
    assert other == (set() if adapter is small.FULL else matrices)
    assert all(np.array_equal(after[name], before[name].astype(jnp.bfloat16)) for name in other)
    assert (rounded.digest != exact.digest) == bool(other)  # vectors in the cache are of the one or of the other


def test_a_bfloat16_encoder_of_rounded_parameters_gives_the_same_vectors() -> None:
    """The products are of bfloat16 in either case."""
    from dataclasses import replace

    from cold_jax.encoders.precomputed import encode

    config = replace(small.ENCODER, dtype="bfloat16")
    rounded = small.mesh(1, frozen_dtype=FrozenDtype.bfloat16).place(config(), small.LORA.trainable_filter)
    texts = ["a hammer", "robots and planets"]
    np.testing.assert_array_equal(encode(rounded, texts, "items"), encode(config(), texts, "items"))


def test_meshes_that_cannot_be_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"parallel.fsdp: 2 × parallel.tensor=2 does not divide 2 devices"):
        _ = small.mesh(fsdp=2, tensor=2).shards
    with pytest.raises(ConfigError, match=r"parallel.fsdp: 2 × parallel.tensor=1 does not divide 1 devices"):
        small.mesh(1, fsdp=2).place(small.ENCODER(), small.LORA.trainable_filter)
    with pytest.raises(ValueError, match="parallel.tensor: 0 must be 1 or more"):
        small.mesh(tensor=0)
    assert (small.mesh(2, tensor=2).shards, small.mesh(2, fsdp=2).shards) == (1, 2)
    assert small.mesh(8, fsdp=4, tensor=2).here() == small.mesh(1)  # a finished run is read where there are fewer devices
    assert small.mesh(2, tensor=2).here() == small.mesh(2, tensor=2)


def test_conf_has_it() -> None:
    chosen = settings(compose(["+experiment=smoke", "parallel=mesh", "parallel.tensor=2", "parallel.frozen_dtype=bfloat16"]))
    assert chosen.parallel == small.mesh(tensor=2, frozen_dtype=FrozenDtype.bfloat16)
