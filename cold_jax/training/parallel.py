"""Data parallelism: one step on several devices. Besides this module only training/mesh.py knows of devices.

A batch's examples and packed rows are sharded, all else is replicated. Each device encodes its rows; the vectors are gathered, so that
in-batch negatives are the whole batch's; losses and gradients are summed. N devices train on one device's loss.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding, PartitionSpec

from cold_jax import processes
from cold_jax.batching.batch import Batch
from cold_jax.encoders import Loaded
from cold_jax.errors import ConfigError
from cold_jax.ranges import require

Tree = Any


class Collectives(NamedTuple):
    """How a step communicates with the other devices; on one device, and where the compiler does it, by nothing."""

    gather: Callable[[jax.Array], jax.Array]  # all devices' rows, in order
    psum: Callable[[Tree], Tree]  # the sum over devices
    rows: int  # how many devices' rows the step sees


single_device = Collectives(gather=lambda x: x, psum=lambda tree: tree, rows=1)


Step = Callable[[Tree, Tree, Batch, Collectives], tuple[Tree, Tree]]  # (constants, state, batch, collectives) -> (state, record)


@dataclass(frozen=True)
class Parallel:
    """A compiled step, and how values reach its devices and come back. A step's state is donated: use the one it returns."""

    devices: int
    replicate: Callable[[Tree], Tree]  # constants, to the devices
    replicate_state: Callable[[Tree], Tree]  # a copy of the state, which may be donated, to the devices
    unreplicate: Callable[[Tree], Tree]  # the one copy back, on this process's devices
    to_save: Callable[[Tree], Tree]  # the state as a checkpoint takes it: each process has its part
    shard_batch: Callable[[Batch], Batch]
    step: Callable[[Tree, Tree, Batch], tuple[Tree, Tree]]
    # bytes that a step takes on a device besides; compiles it, and `step` no more
    temporaries: Callable[[Tree, Tree, Batch], int | None]


@dataclass(frozen=True)
class DataParallel:
    """A step over `devices` (null: all). On one device every choice of conf/parallel is plain jit."""

    devices: int | None

    def __post_init__(self) -> None:
        require("parallel", self, at_least_1=["devices"])

    @property
    def count(self) -> int:
        return len(find_devices(self.devices))

    @property
    def shards(self) -> int:
        """How many parts a batch has, each with rows of its own."""
        return self.count

    @property
    def rounds(self) -> bool:
        """Whether `place` changes numbers of θ."""
        return False

    def place(self, loaded: Loaded, learns: nnx.filterlib.Filter) -> Loaded:
        """θ where its devices want it; `learns` picks the parameters that Δθ is added to."""
        return loaded

    def here(self) -> Self:
        """For reading a run that was trained elsewhere: on one device, where this machine has fewer than the run had."""
        try:
            _ = self.shards
        except ConfigError:
            return self.on_one_device()
        return self

    def on_one_device(self) -> Self:
        return replace(self, devices=1)

    def __call__(self, step: Step) -> Parallel:
        devices = find_devices(self.devices)
        return _single(step) if len(devices) == 1 else self.over(devices, step)

    def over(self, devices: list[Any], step: Step) -> Parallel:
        """The step on several devices."""
        raise NotImplementedError


@dataclass(frozen=True)
class Pmap(DataParallel):
    """jax.pmap over `devices`."""

    def over(self, devices: list[Any], step: Step) -> Parallel:
        n = len(devices)
        along = NamedSharding(DeviceMesh(np.array(devices), ("devices",)), PartitionSpec("devices"))
        collectives = Collectives(
            gather=lambda x: jax.lax.all_gather(x, "devices", tiled=True),
            psum=lambda tree: jax.lax.psum(tree, "devices"),
            rows=1,
        )

        def replicate(tree: Tree) -> Tree:
            stacked = lambda x: np.broadcast_to(np.asarray(x)[None], (n, *np.shape(x)))  # noqa: E731
            return jax.tree.map(lambda x: jax.device_put(stacked(x), along), tree)

        def first(tree: Tree) -> Tree:
            return jax.tree.map(lambda x: x[0], tree)

        def shard(tree: Tree) -> Tree:
            return jax.tree.map(lambda x: jax.device_put(x.reshape(n, -1, *x.shape[1:]), along), tree)

        mapped = jax.pmap(
            lambda constants, state, batch: step(constants, state, batch, collectives),
            "devices",
            donate_argnums=1,
            devices=devices,
        )
        return Parallel(
            devices=n,
            replicate=replicate,
            replicate_state=replicate,
            unreplicate=first,
            to_save=first,
            shard_batch=lambda batch: Batch(shard(batch.rows), shard(batch.examples), replicate(batch.items)),
            step=mapped,
            temporaries=lambda *inputs: temporary_bytes(mapped.lower(*inputs)),
        )


def _single(step: Step) -> Parallel:
    compiled = jax.jit(lambda constants, state, batch: step(constants, state, batch, single_device), donate_argnums=1)
    return on_single_device(compiled, jax.device_put, lambda *inputs: temporary_bytes(compiled.lower(*inputs)))


def on_single_device(
    step: Callable[[Tree, Tree, Batch], tuple[Tree, Tree]],
    shard: Callable[[Batch], Batch],
    temporaries: Callable[[Tree, Tree, Batch], int | None],
) -> Parallel:
    """Parallel of an already compiled step, on one device."""
    same, copy = lambda tree: tree, jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))  # one program, not one for each shape
    return Parallel(1, jax.device_put, copy, same, same, shard, step, temporaries)


def find_devices(count: int | None) -> list[Any]:
    """Raises ConfigError where there are fewer than `count`."""
    devices = jax.devices()
    if processes.count() > 1 and count is not None:
        raise ConfigError("parallel.devices: a run of many processes takes all their devices; leave it null")
    if count is not None and not 1 <= count <= len(devices):
        raise ConfigError(
            f"parallel.devices: {count} is not possible with {len(devices)} {devices[0].platform} devices; give 1 to {len(devices)}, or null"
        )
    return devices[:count]


def bytes_per_device(tree: Tree) -> int:
    """What a tree of arrays holds on each of its devices."""
    held = lambda x: np.prod(x.sharding.shard_shape(x.shape), dtype=np.int64) * x.dtype.itemsize  # noqa: E731
    return int(sum(held(leaf) for leaf in jax.tree.leaves(tree)))


def temporary_bytes(lowered: jax.stages.Lowered) -> int | None:
    """What a program takes on each device besides arguments and results: activations, gradients. None where XLA does not tell."""
    memory = lowered.compile().memory_analysis()
    return None if memory is None else memory.temp_size_in_bytes


def device_info(count: int) -> dict[str, Any]:
    """What the last bits of a run's figures depend on."""
    cpu = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
        if cpu.exists()
        else []
    )
    device = jax.local_devices()[0]
    precision: str | None = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return {
        "platform": device.platform,
        "kind": device.device_kind,
        "count": count,
        **({"processes": processes.count()} if processes.count() > 1 else {}),
        "cpu": names[0] if names else platform.processor(),
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "matmul_precision": precision or "default",  # of float32: a GPU's default is TF32
    }
