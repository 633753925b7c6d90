"""Frozen matrices in int8: what is rounded and by how much, and that a training, its export and a mesh of devices take it."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from flax import nnx

from cold_jax import experiment
from cold_jax.adapters import merge
from cold_jax.adapters.base import Adapter
from cold_jax.encoders import Loaded
from cold_jax.encoders.precomputed import encode
from cold_jax.encoders.sharding import dotted
from cold_jax.errors import ConfigError
from cold_jax.training.mesh import FrozenDtype

TEXTS = ["a hammer", "robots and planets"]


int8 = partial(small.mesh, frozen_dtype=FrozenDtype.int8)


def placed(adapter: Adapter = small.LORA) -> Loaded:
    return int8(1).place(small.ENCODER(), adapter.trainable_filter)


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qwix", None)
    with pytest.raises(ConfigError, match=r"parallel.frozen_dtype: int8 needs the package qwix: pip install 'cold_jax\[int8\]'"):
        placed()


def test_each_output_of_a_frozen_matrix_is_rounded_to_255_levels() -> None:
    pytest.importorskip("qwix")
    exact, rounded = small.ENCODER(), placed()
    before, after = (merge.parameters(each.encoder, ...) for each in (exact, rounded))
    matrices = {name for name in before if name.endswith(("kernel", "embedding"))}
    assert {name for name in before if not np.array_equal(before[name], after[name])} == matrices
    for name in matrices:
        most = np.abs(before[name]).max(axis=-1 if name.endswith("embedding") else -2, keepdims=True)
        assert (np.abs(after[name] - before[name]) <= 0.51 * most / 127).all(), name
    kernel = rounded.encoder.backbone.layers.mlp.up.kernel.get_value()
    assert {str(leaf.dtype): leaf.size for leaf in jax.tree.leaves(kernel)} == {"int8": 2 * 16 * 24, "float32": 2 * 24}
    other = small.mesh(1, frozen_dtype=FrozenDtype.bfloat16).place(small.ENCODER(), small.LORA.trainable_filter)
    assert rounded.digest not in (exact.digest, other.digest)
    names = [
        {dotted(path) for path, _ in jax.tree_util.tree_leaves_with_path(nnx.state(each.encoder))} for each in (exact, rounded)
    ]
    assert names[0] == names[1]  # by which rules divide parameters among devices
    cosine = (encode(exact, TEXTS, "items") * encode(rounded, TEXTS, "items")).sum(1)
    assert (cosine > 0.999).all()
    assert (cosine < 1 - 1e-7).all()
    assert placed(small.FULL).digest == small.ENCODER().digest  # all of it learns


def test_it_trains_on_one_device_and_on_two_and_is_exported(prepared: experiment.Prepared) -> None:
    """Losses of the same numbers in float32; φ is W + Δθ of the rounded W."""
    pytest.importorskip("qwix")
    losses = []
    for parallel in (int8(1), int8(2, fsdp=2)):
        chosen = small.SETTINGS._replace(parallel=parallel, adapter=small.LORA, model=small.TWO_TOWER)
        loaded = parallel.place(small.ENCODER(), small.LORA.trainable_filter)
        le = small.perturbed(experiment.setup(chosen, prepared._replace(loaded=loaded)))
        losses.append(small.fit(le, small.SOFTMAX, optax.sgd(0.3), 2, parallel)[0])
    dense = placed()
    theta = merge.parameters(dense.encoder, ...)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    assert np.ptp(losses[0]) > 1e-3
    name = "backbone.layers.attention.query"
    delta = {f"encoder.{name}.{part}": jnp.ones(shape) for part, shape in (("A", (2, 16, 3)), ("B", (2, 3, 16)))}
    phi = merge.parameters(merge.merge(small.LORA, dense.encoder, delta), ...)
    np.testing.assert_allclose(phi[f"{name}.kernel"], theta[f"{name}.kernel"] + 3 * small.LORA.scale, rtol=1e-6)
