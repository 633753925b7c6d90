"""The state of training on disk: written by orbax, verified by digests of our own.

Orbax restores flipped bits without a word, so each leaf's sha256 is in the step's metadata and is compared on reading; a step that
fails is set aside by name and the one before it is taken. A reader changes nothing in the folder, where a training may be at work.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from cold_jax import processes
from cold_jax.errors import CheckpointError
from cold_jax.storage.files import array_digest, room
from cold_jax.storage.limits import MiB, read_json

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

log = logging.getLogger(__name__)

Tree = Any
KEPT = 4  # at once: the newest two, the best one, and the one that is being written
META_LARGEST = 64 * MiB  # bytes of a step's metadata


class Checkpoints:
    """Keeps the newest two steps and the best one. Saves are synchronous: when `save` returns, the step is on disk or has raised.

    read_only: nothing in the folder is made, moved or removed; for those who do not hold the run's lock.
    """

    def __init__(self, folder: Path, read_only: bool):
        self.folder = folder.resolve()  # orbax fails in the background on a relative path
        self.read_only = read_only
        if not read_only and processes.first():
            for left in self.folder.glob("*.orbax-checkpoint-tmp*"):  # by a save that was killed; orbax does it in the background
                shutil.rmtree(left, ignore_errors=True)

    @cached_property
    def _manager(self) -> ocp.CheckpointManager:
        import orbax.checkpoint as ocp  # heavy

        # orbax's own choice of the best takes NaN for it, and a damaged metric of one step makes all of them unreadable
        try:
            return ocp.CheckpointManager(self.folder, options=ocp.CheckpointManagerOptions(enable_async_checkpointing=False))
        except Exception as error:  # orbax raises what it likes on metadata that is no metadata
            raise CheckpointError(
                f"{self.folder}: orbax cannot open it ({_one_line(error)}); remove the step that is damaged"
            ) from error

    def save(self, step: int, state: Tree, fingerprint: Mapping[str, Any], progress: Mapping[str, Any], best: int) -> None:
        """Saves a step, and deletes all before it but the newest and the `best`.

        Args:
          fingerprint: what may not differ between two runs that share a checkpoint, as JSON values.
          progress: what else has to be restored, as JSON values.

        Raises:
          CheckpointError: the disk takes no more, or, before the first step, has no room for as many as are kept at once.
        """
        import orbax.checkpoint as ocp

        arrays = _flat(state) if processes.count() == 1 else _by_name(state)
        if not self.steps():
            self._require_room(sum(array.nbytes for array in arrays.values()))
        record = {"step": step, "fingerprint": dict(fingerprint), "progress": dict(progress)}
        record["leaves"] = {name: array_digest(processes.to_host(array)) for name, array in arrays.items()}
        record["shapes"] = {name: list(array.shape) for name, array in arrays.items()}
        meta = {"record": json.dumps(record, sort_keys=True)}
        meta["digest"] = hashlib.sha256(meta["record"].encode()).hexdigest()
        saved = ocp.args.Composite(
            state=ocp.args.StandardSave({f"{i:04d}": array for i, array in enumerate(arrays[name] for name in sorted(arrays))}),
            meta=ocp.args.JsonSave(meta),
        )
        try:
            self._manager.save(step, args=saved, force=True)
            self._manager.wait_until_finished()
        except Exception as error:  # orbax and tensorstore raise what they like on a full disk
            why = _one_line(error)
            raise CheckpointError(
                f"{self.folder / str(step)}: step {step} could not be saved: {why}; {room(self.folder)}; the steps before it are whole"
            ) from error
        for old in self.steps()[2:]:
            if old != best:
                self._manager.delete(old)

    def _require_room(self, size: int) -> None:
        free, needed = shutil.disk_usage(next(path for path in self.folder.parents if path.exists())).free, size * KEPT
        if free < needed:
            raise CheckpointError(
                f"{self.folder}: {KEPT} checkpoints of {size:,} bytes need {needed:,}, and {free:,} bytes are free on the disk; "
                "make room, or choose another hydra.run.dir"
            )

    def steps(self) -> list[int]:
        """Steps on disk, newest first. A save takes its name when it is whole."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(
            (int(path.name) for path in found if path.name.isascii() and path.name.isdecimal() and path.is_dir()), reverse=True
        )

    def restore(self, like: Tree, fingerprint: Mapping[str, Any], step: int | None = None) -> tuple[int, Tree, dict[str, Any]]:
        """The newest whole step, or exactly `step`: (step, state shaped as `like`, its progress).

        Raises CheckpointError where none is whole, or where the run that saved it differs in a key of `fingerprint` or in a leaf's shape.
        """
        for candidate in [step] if step is not None else self._candidates():
            try:
                arrays, record = self._read(candidate, like, fingerprint)
            except _Mismatch as error:
                raise CheckpointError(str(error)) from None
            except Exception as error:  # orbax and tensorstore raise what they like on broken files
                log.warning("checkpoint %s: step %s is broken and set aside: %s", self.folder, candidate, _one_line(error))
                if step is None and not self.read_only:
                    self._set_aside(candidate)
                continue
            leaves = [arrays[name] for name in _flat(like)]
            return candidate, jax.tree.unflatten(jax.tree.structure(like), leaves), record["progress"]
        what = f"step {step} cannot" if step is not None else "no step can"
        raise CheckpointError(f"{self.folder}: {what} be restored; start the run anew (leave resume out)")

    def _candidates(self) -> Iterator[int]:
        """Steps, newest first. A training that is at work may delete old ones and add new ones meanwhile."""
        tried: set[int] = set()
        while untried := [step for step in self.steps() if step not in tried]:
            tried.add(untried[0])
            yield untried[0]

    def _read(self, step: int, like: Tree, fingerprint: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """A step's leaves by name, and its record. `like` decides what is read: a file from elsewhere allocates nothing beyond it."""
        import orbax.checkpoint as ocp

        folder = self.folder / str(step)
        meta = read_json(folder / "meta" / "metadata", META_LARGEST, CheckpointError)
        if hashlib.sha256(meta["record"].encode()).hexdigest() != meta["digest"]:
            raise CheckpointError("its metadata was altered")
        record = json.loads(meta["record"])
        if record["step"] != step:
            raise CheckpointError(f"it is a copy of step {record['step']}")
        _check_same(self.folder, record, like, fingerprint)
        here = _flat(like)
        shapes = {
            f"{i:04d}": np.broadcast_to(np.zeros((), here[name].dtype), here[name].shape) for i, name in enumerate(sorted(here))
        }
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            state = reader.restore(folder / "state", args=ocp.args.StandardRestore(shapes))
        arrays = {name: np.asarray(state[f"{i:04d}"]) for i, name in enumerate(sorted(record["leaves"]))}
        for name, array in arrays.items():
            if array_digest(array) != record["leaves"][name]:
                raise CheckpointError(f"leaf {name} was altered")
        return arrays, record

    def _set_aside(self, step: int) -> None:
        """Renames a step, so that nobody takes it for whole; what is in it stays."""
        broken = self.folder / str(step)
        if broken.is_dir() and processes.first():
            broken.rename(self.folder / f"broken-{step}-{len(list(self.folder.glob('broken-*')))}")
        self.__dict__.pop("_manager", None)  # it knows of the step


class _Mismatch(Exception):
    """The step is whole, and another run's."""


def _one_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]


def _flat(tree: Tree) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in _by_name(tree).items()}


def _by_name(tree: Tree) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _check_same(folder: Path, record: Mapping[str, Any], like: Tree, fingerprint: Mapping[str, Any]) -> None:
    """Raises _Mismatch for the first key of the fingerprint, or leaf's shape, that differs."""
    for key, value in fingerprint.items():
        if record["fingerprint"].get(key) != value:
            raise _Mismatch(
                f"{folder}: saved with {key}={record['fingerprint'].get(key)}, this run has {key}={value}; resume with the saved config, or start anew"
            )
    ours = {name: list(array.shape) for name, array in _flat(like).items()}
    for name in [*ours, *record["shapes"]]:
        if ours.get(name) != record["shapes"].get(name):
            raise _Mismatch(
                f"{folder}: parameter {name} has shape {record['shapes'].get(name)} there and {ours.get(name)} here; "
                "resume with the saved config, or start anew"
            )
