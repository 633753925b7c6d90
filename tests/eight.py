"""What a process with eight devices does for test_parallel.py and test_mesh.py: python eight.py FOLDER."""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import small
from safetensors.numpy import save_file

from cold_jax import experiment
from cold_jax.training.checkpoints import Checkpoints
from cold_jax.training.mesh import FrozenDtype
from cold_jax.training.optimizers import AdamW, Schedule
from cold_jax.training.parallel import Pmap, bytes_per_device

SAVED = 3  # steps before the checkpoint
ADAMW = AdamW(0.02, Schedule.constant, warmup=0, weight_decay=0.01, b1=0.9, b2=0.99, clip=1.0, accumulate=2, ema=0.0)
WIDE = small.mesh(fsdp=4, tensor=2)
ABOUT = {"data": "small"}


def trained(losses: np.ndarray, states: list[Any]) -> dict[str, np.ndarray]:
    """Losses, and what is kept of the parameters before the first step, after it and after the last."""
    return {"losses": losses} | {f"{n} {name}": x for n in (0, 1, -1) for name, x in small.leaves(states[n].kept).items()}


def set_up(parallel: Any, adapter: Any) -> experiment.TrainSetup:
    """As a run does it, with θ placed on the devices."""
    chosen = small.SETTINGS._replace(parallel=parallel, adapter=adapter, model=small.TWO_TOWER)
    return small.perturbed(experiment.setup(chosen, experiment.prepare(chosen)))


def go_on(parallel: Any, folder: Path, first: int = 0, taken: dict[str, Any] | None = None) -> list[float]:
    """The losses of LoRA by AdamW from step `first`, which a checkpoint has; step SAVED is left in one.

    taken: gets what the first step takes on each device, the shape of its rows, and the programs that are compiled for both.
    """
    le = set_up(parallel, small.LORA)
    optimizer = ADAMW(10, 0.5)
    step, state = small.step_of(le, small.SOFTMAX, optimizer)
    checkpoints = Checkpoints(folder, read_only=False)
    if first:
        _, state, _ = checkpoints.restore(state, ABOUT, first)
    many, losses = parallel(step), []
    frozen, state = many.replicate(le.partition.frozen), many.replicate_state(state)
    for n in range(first, small.STEPS):
        batch = many.shard_batch(le.batches(n))
        if taken is not None and n == first:
            with small.compilations() as before:
                taken |= {"temporaries": many.temporaries(frozen, state, batch), "rows": batch.rows.token_RL.shape}
            with small.compilations() as after:
                state, record = many.step(frozen, state, batch)
            taken |= {"compiled": [len(before), len(after)]}
        else:
            state, record = many.step(frozen, state, batch)
        losses.append(float(many.unreplicate(record)["loss"]))
        if n + 1 == SAVED:
            checkpoints.save(SAVED, many.unreplicate(state), ABOUT, {}, SAVED)
    return losses


def memory(adapter: Any, dtype: FrozenDtype) -> dict[str, Any]:
    """Bytes of each array on the first device, of all of them on each device, and what `bytes_per_device` gives."""
    parallel = small.mesh(fsdp=4, tensor=2, frozen_dtype=dtype)
    le = set_up(parallel, adapter)
    step, state = small.step_of(le, small.SOFTMAX, ADAMW(10, 0.5))
    many = parallel(step)
    tree = {"frozen": many.replicate(le.partition.frozen), "state": many.replicate_state(state)}
    shards = [(name, shard) for name, leaf in leaves(tree).items() for shard in leaf.addressable_shards]
    held = {device.id: sum(shard.data.nbytes for _, shard in shards if shard.device == device) for device in jax.devices()}
    first = {name: shard.data.nbytes for name, shard in shards if shard.device.id == 0}
    return {"held": sorted(held.values()), "logged": bytes_per_device(tree), "first": first}


def leaves(tree: Any) -> dict[str, jax.Array]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def main(folder: Path) -> None:
    for name, parallel in {"pmap": Pmap(8), "mesh": WIDE}.items():
        le = set_up(parallel, small.DROPOUT)
        save_file(trained(*small.fit(le, small.SOFTMAX, small.DESCENT, small.STEPS, parallel)), folder / f"{name}.safetensors")
    taken: dict[str, Any] = {}
    report = {
        "devices": small.mesh().count,
        "losses": go_on(small.mesh(), folder / "data_8", taken=taken),
        "taken": taken,
        "wide": go_on(WIDE, folder / "data_8", SAVED),
        "full": memory(small.FULL, FrozenDtype.float32),
        "lora": memory(small.LORA, FrozenDtype.bfloat16),
    }
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
