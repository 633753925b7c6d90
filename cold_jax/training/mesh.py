"""One step over a mesh of devices, for models and encoders that one device cannot hold.

encoders/sharding.py says which axis of a parameter lies along which axis of the mesh; what a device computes follows from that, by jax.jit
alone. N devices train on one device's loss.
"""

import dataclasses
import re
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from cold_jax import processes
from cold_jax.batching.batch import Batch
from cold_jax.encoders import Loaded
from cold_jax.encoders.int8 import INPUTS, to_int8
from cold_jax.encoders.layers import Remat
from cold_jax.encoders.sharding import AXES, ROWS, dotted, gather, shardings, spec
from cold_jax.errors import ConfigError
from cold_jax.ranges import require
from cold_jax.storage.files import digest
from cold_jax.training.parallel import Collectives, DataParallel, Parallel, Step, find_devices, temporary_bytes

Tree = Any


class FrozenDtype(Enum):
    """Of θ's matrices that do not learn. With encoder.dtype=bfloat16 the first two give the same products; int8: see encoders/int8.py."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


@dataclass(frozen=True)
class Mesh(DataParallel):
    """jax.jit over a mesh of data × fsdp × tensor devices, of which `fsdp` and `tensor` are given and `data` is what is left.

    frozen_dtype: see FrozenDtype. remat: what the backward pass finds in memory, and what it computes again; see Remat. coordinator: HOST:PORT of
    process 0, in a run of many processes, of which this one is `process`; null: one process, or as srun has it.
    """

    fsdp: int
    tensor: int
    frozen_dtype: FrozenDtype
    remat: Remat
    coordinator: str | None
    processes: int | None
    process: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        require("parallel", self, at_least_1=["fsdp", "tensor", "processes"], at_least_0=["process"])
        given = (self.coordinator, self.processes, self.process)
        if None in given and given != (None, None, None):
            raise ValueError("parallel.coordinator: give it with parallel.processes and parallel.process, or none of them")
        if self.coordinator is not None and not re.fullmatch(r".+:[0-9]{1,5}", self.coordinator):
            raise ValueError(f"parallel.coordinator: {self.coordinator!r} is not HOST:PORT, as in node1:9876")
        if self.process is not None and self.processes is not None and self.process >= self.processes:
            raise ValueError(f"parallel.process: {self.process} of {self.processes} processes; they are numbered from 0")

    @property
    def shards(self) -> int:
        return self._mesh(find_devices(self.devices)).size // self.tensor

    def on_one_device(self) -> Self:
        return dataclasses.replace(self, devices=1, fsdp=1, tensor=1)

    @property
    def rounds(self) -> bool:
        return self.frozen_dtype is not FrozenDtype.float32

    def place(self, loaded: Loaded, learns: nnx.filterlib.Filter) -> Loaded:
        """θ in parts on the devices, and its matrices in frozen_dtype, but for the parameters that the filter `learns` picks."""
        mesh = self._home()
        with jax.default_device(jax.local_devices(backend="cpu")[0]):  # θ is not read onto one device as a whole
            encoder = loaded.encoder
        encoder.backbone.remat = self.remat
        frozen = nnx.to_flat_state(nnx.state(encoder.backbone, nnx.All(nnx.Param, nnx.Not(learns))))
        rounded = [(path, parameter) for path, parameter in frozen if self.rounds and path[-1] in INPUTS]
        for path, parameter in rounded:
            if self.frozen_dtype is FrozenDtype.int8:
                to_int8(encoder.backbone, path)
            else:
                parameter.set_value(parameter[...].astype(jnp.bfloat16))

        def put(name: str, x: jax.Array) -> jax.Array:
            return jax.device_put(
                x, NamedSharding(mesh, spec(mesh.shape, name, x.shape)) if mesh.size > 1 else mesh.devices.flat[0]
            )

        for path, variable in nnx.to_flat_state(nnx.state(encoder)):  # one by one: never two copies of θ
            variable.set_value(jax.tree.map(partial(put, ".".join(map(str, path))), variable.get_value()))
        return loaded.with_encoder(encoder, digest(loaded.digest, self.frozen_dtype.value)) if rounded else loaded

    def _mesh(self, devices: list[Any]) -> jax.sharding.Mesh:
        """Raises ConfigError where the devices cannot be arranged so."""
        if len(devices) % (self.fsdp * self.tensor):
            raise ConfigError(
                f"parallel.fsdp: {self.fsdp} × parallel.tensor={self.tensor} does not divide {len(devices)} devices; give numbers whose "
                "product does, or parallel.devices"
            )
        return jax.sharding.Mesh(np.array(devices).reshape(-1, self.fsdp, self.tensor), AXES)

    def over(self, devices: list[Any], step: Step) -> Parallel:
        mesh = self._mesh(devices)
        along, everywhere = NamedSharding(mesh, ROWS), NamedSharding(mesh, P())
        collectives = Collectives(gather=lambda x: x, psum=lambda tree: tree, rows=self.shards)

        @partial(jax.jit, donate_argnums=1)
        def sharded_step(constants: Tree, state: Tree, batch: Batch) -> tuple[Tree, Tree]:
            new, record = step(*gather((constants, state), but=("layers", "optimizer", "average")), batch, collectives)
            where = shardings(mesh, state), jax.tree.map(lambda _: everywhere, record)
            return jax.lax.with_sharding_constraint((new, record), where)

        def on_mesh(constants: Tree, state: Tree, batch: Batch) -> tuple[Tree, Tree]:
            with jax.set_mesh(mesh):
                return sharded_step(constants, state, batch)

        def temporaries(constants: Tree, state: Tree, batch: Batch) -> int | None:
            with jax.set_mesh(mesh):
                return temporary_bytes(sharded_step.lower(constants, state, batch))

        def put(part: Tree, where: NamedSharding) -> Tree:
            return _put(part, jax.tree.map(lambda _: where, part))

        return Parallel(
            devices=len(devices),
            replicate=lambda tree: _put(tree, shardings(mesh, tree)),
            replicate_state=lambda tree: _put(_of_first(tree), shardings(mesh, tree)),
            unreplicate=self._to_home,
            to_save=lambda tree: tree,
            shard_batch=lambda batch: Batch(put(batch.rows, along), put(batch.examples, along), put(batch.items, everywhere)),
            step=on_mesh,
            temporaries=temporaries,
        )

    def _home(self) -> jax.sharding.Mesh:
        """Of this process's own devices, for θ and what is validated: the run's mesh, where the run has one process."""
        devices, both = (find_devices(self.devices) if processes.count() == 1 else jax.local_devices()), self.fsdp * self.tensor
        if processes.count() > 1 and len(devices) % both:
            return jax.sharding.Mesh(np.array(devices).reshape(1, -1, 1), AXES)
        return self._mesh(devices)

    def _to_home(self, tree: Tree) -> Tree:
        if processes.count() == 1:
            return tree
        home = self._home()
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.device_put(
                processes.to_host(leaf), NamedSharding(home, spec(home.shape, dotted(path), leaf.shape))
            ),
            tree,
        )


def _put(tree: Tree, where: Tree) -> Tree:
    """Arrays that each process has whole, its part of them on its devices."""
    if processes.count() == 1:
        return jax.device_put(tree, where)

    def parts(x: jax.Array | np.ndarray, sharding: NamedSharding) -> jax.Array:
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(parts, tree, where)


def _of_first(tree: Tree) -> Tree:
    """A copy of the first process's numbers: another kind of CPU may have computed other last bits."""
    return jax.tree.map(jnp.copy if processes.count() == 1 else processes.from_first, tree)
