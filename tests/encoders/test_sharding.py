"""Which axis of a parameter lies along which axis of a mesh."""

import eight
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax.sharding import PartitionSpec as P

from cold_jax import experiment
from cold_jax.encoders.sharding import AXES, divide_rows, dotted, gather, shardings, spec

SIZES = {"data": 1, "fsdp": 4, "tensor": 2}


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


def test_gathered_parameters_are_whole_and_their_gradients_divided() -> None:
    """On two devices along fsdp: a device has half of a kernel, all of it in a product, and half of its gradient."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(1, 2, 1), AXES)
    tree = {"layers": {"up": {"kernel": jnp.arange(32.0).reshape(4, 8)}}, "head": jnp.arange(4.0)}
    placed = jax.device_put(tree, shardings(mesh, tree))
    x_RD = jnp.ones((2, 4))

    def product(tree: dict) -> jax.Array:
        whole = gather(tree, but=("layers",))
        inside = jax.tree.map(lambda leaf: leaf, gather(whole["layers"]))
        return (divide_rows(x_RD) @ inside["up"]["kernel"]).sum() + whole["head"].sum()

    with jax.set_mesh(mesh):
        gradient = jax.jit(jax.grad(product))(placed)
        read = jax.jit(lambda tree: gather(tree, but=("layers",)))(placed)
    assert {shard.data.shape for shard in gradient["layers"]["up"]["kernel"].addressable_shards} == {(2, 8)}
    assert {shard.data.shape for shard in gradient["head"].addressable_shards} == {(2,)}
    assert {shard.data.shape for shard in read["layers"]["up"]["kernel"].addressable_shards} == {(2, 8)}
    assert {shard.data.shape for shard in read["head"].addressable_shards} == {(4,)}
    np.testing.assert_array_equal(gradient["layers"]["up"]["kernel"], np.full((4, 8), 2.0))
    assert gather(tree) is tree  # no mesh is set
