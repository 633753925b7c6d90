"""The state of training on disk: orbax for the writing, digests of our own for the trust.

Orbax restores flipped bits without a word, so each leaf's sha256 stands in the step's metadata and is compared on reading; a step that
fails is set aside by name and the one before it is taken.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from cold_jax.errors import CheckpointError
from cold_jax.storage.files import array_digest, room

log = logging.getLogger(__name__)


Tree = Any


class Checkpoints:
    """Keeps the newest two steps and the best one. Saves are synchronous: when `save` returns, the step is on disk or has raised."""

    def __init__(self, folder: Path):
        self.folder = folder.resolve()  # orbax fails in the background on a relative path
        # orbax's own choice of the best takes NaN for it, and a damaged metric of one step makes all of them unreadable
        options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, cleanup_tmp_directories=True)
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, state: Tree, fingerprint: Mapping[str, Any], progress: Mapping[str, Any], best: int) -> None:
        """`fingerprint` tells the runs apart that may not share a checkpoint; `progress` is what else must be restored; both are JSON.

        Of the steps before, the newest and the `best` are kept. Raises CheckpointError where the disk takes no more.
        """
        arrays = _flat(state)
        record = {"step": step, "fingerprint": dict(fingerprint), "progress": dict(progress)}
        record["leaves"] = {name: array_digest(array) for name, array in arrays.items()}
        record["shapes"] = {name: list(array.shape) for name, array in arrays.items()}
        meta = {"record": json.dumps(record, sort_keys=True)}
        meta["digest"] = hashlib.sha256(meta["record"].encode()).hexdigest()
        saved = ocp.args.Composite(
            state=ocp.args.StandardSave({f"{i:04d}": array for i, array in enumerate(arrays[name] for name in sorted(arrays))}),
            meta=ocp.args.JsonSave(meta),
        )
        try:
            self.manager.save(step, args=saved, force=True)
            self.manager.wait_until_finished()
        except Exception as error:  # orbax and tensorstore raise what they like on a full disk
            why = str(error).split("\n")[0][:200]
            raise CheckpointError(
                f"{self.folder / str(step)}: step {step} could not be saved: {why}; {room(self.folder)}; the steps before it are whole"
            ) from error
        for old in self.steps()[2:]:
            if old != best:
                self.manager.delete(old)

    def steps(self) -> list[int]:
        """Steps on disk, newest first."""
        self.manager.reload()
        return sorted(self.manager.all_steps(), reverse=True)

    def restore(self, like: Tree, fingerprint: Mapping[str, Any], step: int | None = None) -> tuple[int, Tree, dict[str, Any]]:
        """The newest whole step, or exactly `step`: (step, state shaped as `like`, its progress).

        Raises CheckpointError where none is whole, or where the run that saved it differs in a key of `fingerprint` or in a leaf's shape.
        """
        for candidate in [step] if step is not None else self.steps():
            try:
                arrays, record = self._read(candidate)
            except Exception as error:  # orbax and tensorstore raise what they like on broken files
                log.warning(
                    "checkpoint %s: step %s is broken and set aside: %s", self.folder, candidate, str(error).split("\n")[0][:200]
                )
                if step is None:
                    self._set_aside(candidate)
                continue
            _check_same(self.folder, record, like, fingerprint)
            leaves = [arrays[name] for name in _flat(like)]
            return candidate, jax.tree.unflatten(jax.tree.structure(like), leaves), record["progress"]
        what = f"step {step} cannot" if step is not None else "no step can"
        raise CheckpointError(f"{self.folder}: {what} be restored; start the run anew (leave resume out)")

    def _read(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        meta = self.manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
        if hashlib.sha256(meta["record"].encode()).hexdigest() != meta["digest"]:
            raise CheckpointError("its metadata was altered")
        record = json.loads(meta["record"])
        if record["step"] != step:
            raise CheckpointError(f"it is a copy of step {record['step']}")
        state = self.manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]
        arrays = {name: np.asarray(state[f"{i:04d}"]) for i, name in enumerate(sorted(record["leaves"]))}
        for name, array in arrays.items():
            if array_digest(array) != record["leaves"][name]:
                raise CheckpointError(f"leaf {name} was altered")
        return arrays, record

    def _set_aside(self, step: int) -> None:
        broken = self.folder / str(step)
        if broken.is_dir():
            broken.rename(self.folder / f"broken-{step}-{len(list(self.folder.glob('broken-*')))}")
        self.manager.reload()


def _flat(tree: Tree) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _check_same(folder: Path, record: Mapping[str, Any], like: Tree, fingerprint: Mapping[str, Any]) -> None:
    for key, value in fingerprint.items():
        if record["fingerprint"].get(key) != value:
            raise CheckpointError(
                f"{folder}: saved with {key}={record['fingerprint'].get(key)}, this run has {key}={value}; resume with the saved config, or start anew"
            )
    ours = {name: list(array.shape) for name, array in _flat(like).items()}
    for name in [*ours, *record["shapes"]]:
        if ours.get(name) != record["shapes"].get(name):
            raise CheckpointError(
                f"{folder}: parameter {name} has shape {record['shapes'].get(name)} there and {ours.get(name)} here; "
                "resume with the saved config, or start anew"
            )
