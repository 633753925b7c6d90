"""Where parameters lie on a mesh of devices with the axes data × fsdp × tensor.

    data     each device has its rows of the batch, and all parameters
    fsdp     so too, but parameters and optimizer state are divided, and gathered layer by layer where a product needs them (Rajbhandari
             et al. 2020, arXiv 1910.02054)
    tensor   the devices share the rows, and each has some columns, then some rows, of the weights of an attention or MLP (Shoeybi et al.
             2019, arXiv 1909.08053)

`gather` and `divide_rows` do nothing where no such mesh is set (jax.set_mesh): on one device, under pmap, in a validation.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

AXES = ("data", "fsdp", "tensor")
ROWS = P(("data", "fsdp"))  # of a batch

# how a path ends → the mesh's axes of the last axes of that parameter, its moments and its accumulated gradient. An axis whose length the
# devices do not divide stays whole; what matches no rule has its longest axis that they divide along fsdp.
RULES = (
    (r"(query|key|value|gate|up)(\.linear)?\.kernel", P("fsdp", "tensor")),
    (r"(query|key|value|gate|up)(\.linear)?\.bias", P("tensor")),
    (r"(query|key|value|gate|up)\.B", P(None, "tensor")),
    (r"(output|down)(\.linear)?\.kernel", P("tensor", "fsdp")),
    (r"(output|down)\.A", P("tensor", None)),
    (r"word\.embedding", P("tensor", "fsdp")),
)

Tree = TypeVar("Tree")


def spec(sizes: Mapping[str, int], path: str, shape: tuple[int, ...]) -> P:
    """The axes of a mesh of these sizes along which an array of this path and shape lies."""
    for pattern, last in RULES:
        if re.search(rf"(^|\.){pattern}$", path) and len(shape) >= len(last):
            axes = (*[None] * (len(shape) - len(last)), *last)
            return P(*(axis if axis and length % sizes[axis] == 0 else None for axis, length in zip(axes, shape, strict=True)))
    longest = max((length for length in shape if length % sizes["fsdp"] == 0), default=0)
    return P(*("fsdp" if n == shape.index(longest) else None for n in range(len(shape)))) if longest else P()


def dotted(path: Any) -> str:
    """The path of a leaf without the attributes of flax's variables that hold its arrays: encoder.backbone.layers.mlp.up.kernel."""
    return re.sub(r"\.value(\.qvalue|\.scale)?$", "", jax.tree_util.keystr(path, simple=True, separator="."))


def shardings(mesh: jax.sharding.Mesh, tree: Any) -> Any:
    """Where each array of a tree lies, by RULES."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: NamedSharding(mesh, spec(mesh.shape, dotted(path), np.shape(leaf))), tree
    )


def gather(tree: Tree, but: Collection[str] = ()) -> Tree:
    """Parameters as a product wants them: whole but for tensor's parts. Their gradients are divided again at once.

    Left to itself the compiler moves activations instead, which are larger. `but`: not those whose path has one of these words: the layers
    are gathered one by one as they come, and of moments a device needs its own alone.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if "fsdp" not in mesh.axis_names:
        return tree

    def whole(path: Any, leaf: jax.Array) -> jax.Array:
        if not set(but).isdisjoint(dotted(path).split(".")):
            return leaf
        where = spec(mesh.shape, dotted(path), leaf.shape)
        divided = jax.lax.with_sharding_constraint(leaf, where)
        return jax.lax.with_sharding_constraint(divided, P(*(axis if axis == "tensor" else None for axis in where)))

    return jax.tree_util.tree_map_with_path(whole, tree)


def divide_rows(x: jax.Array) -> jax.Array:
    """Activations whose first axis is of a batch's rows: each device has its own, and all of their width."""
    return jax.lax.with_sharding_constraint(x, ROWS) if "fsdp" in jax.sharding.get_abstract_mesh().axis_names else x
