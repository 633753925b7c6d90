"""A mesh of data × fsdp × tensor devices: where arrays lie, what each device holds of them, and that it changes no loss."""

import json
import shutil
from pathlib import Path
from typing import Any

import eight
import jax.numpy as jnp
import numpy as np
import pytest
import small

from cold_jax.adapters.merge import parameters
from cold_jax.config import compose, settings
from cold_jax.errors import ConfigError
from cold_jax.training.mesh import FrozenDtype
from cold_jax.training.parallel import Pmap


@pytest.fixture(scope="module")
def report(eight_devices: Path) -> dict[str, Any]:
    return json.loads((eight_devices / "report.json").read_text())


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_each_device_holds_what_the_arithmetic_says(report: dict[str, Any], adapter: str) -> None:
    """By hand: the bytes of an array over the devices that divide it; the same on every device, and the sum is what is logged."""
    found = report[adapter]
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
    assert sum(found["first"].values()) == found["logged"]
    assert found["held"] == [found["logged"]] * 8


def test_what_a_step_takes_is_known_before_it(report: dict[str, Any]) -> None:
    """By hand, at least: of each position of a device's rows and each layer its input and six products, with LoRA's two; compiled once."""
    rows, length = report["taken"]["rows"]
    width, ffn, rank, layers, floats = 16, 24, 3, 2, 4
    kept = layers * (rows // 8) * length * (width + 5 * width + ffn + 2 * rank) * floats
    assert kept < report["taken"]["temporaries"] < 6 * kept
    assert report["taken"]["compiled"] == [1, 0]


def test_a_checkpoint_goes_on_over_other_devices(report: dict[str, Any], eight_devices: Path, tmp_path: Path) -> None:
    """AdamW in the middle of an accumulation, saved over data=8: the same losses over fsdp=4 × tensor=2, and on one device."""
    assert report["wide"] == pytest.approx(report["losses"][eight.SAVED :], rel=1e-5)
    shutil.copytree(eight_devices / "data_8", tmp_path / "data_8")
    one = eight.go_on(Pmap(1), tmp_path / "data_8", eight.SAVED)
    assert one == pytest.approx(report["losses"][eight.SAVED :], rel=1e-5)
    alone = eight.go_on(Pmap(1), tmp_path / "alone")
    assert alone == pytest.approx(report["losses"], rel=1e-5)
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
