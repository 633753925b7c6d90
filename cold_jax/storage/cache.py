"""The content-addressed cache on disk: tokens, vectors, prefix states.

An entry is a pure function of its key, so no lock is needed: whoever builds it writes into a private folder and renames, and who
comes second replaces it by the same bytes. Nothing here can stop a run: what cannot be read is built again, what cannot be
written is done without.
"""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cold_jax.storage.files import digest, private_folder, write_synced

_log = logging.getLogger(__name__)


def root() -> Path:
    """The folder of the cache: $COLD_JAX_CACHE, else $XDG_CACHE_HOME/cold_jax, else ~/.cache/cold_jax."""
    if own := os.environ.get("COLD_JAX_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cold_jax"


def arrays(kind: str, key: Mapping[str, object], build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of one entry: read from root()/kind, or built and kept there.

    Args:
      kind: the sub-folder, a word of the code such as "tokens".
      key: all that the arrays depend on, as JSON values.
      build: makes the arrays; called only if there is no whole entry of this key.
    """
    text = json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)
    path = root() / kind / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"
    try:
        return _read(path, text)
    except FileNotFoundError:
        pass
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s: a broken cache entry (%s); it is built again", path, error)
    # C order, because safetensors 0.8 writes the values of other arrays in a wrong order, without a word
    entry = {name: np.asarray(array, order="C") for name, array in build().items()}
    try:
        with private_folder(path.parent) as folder:
            write_synced(folder / path.name, save(entry, {"key": text, "sha256": _digest(entry)}))
            os.replace(folder / path.name, path)
    except OSError as error:
        _warn_once(
            f"{root()}: the cache cannot be written ({error}); going on without it, or set COLD_JAX_CACHE=DIR to another folder"
        )
    return entry


def _read(path: Path, key: str) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        entry = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    if metadata["key"] != key:
        raise ValueError("it belongs to another key")
    if metadata["sha256"] != (found := _digest(entry)):
        raise ValueError(f"sha256 {found} where {metadata['sha256']} was written")
    return entry


def _digest(entry: Mapping[str, np.ndarray]) -> str:
    return digest(*(part for name in sorted(entry) for part in (name, entry[name])))


@functools.cache
def _warn_once(message: str) -> None:
    _log.warning(message)
