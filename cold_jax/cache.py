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
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

_log = logging.getLogger(__name__)
_DAY = 86_400.0


def root() -> Path:
    """The folder of the cache: $COLD_JAX_CACHE, else $XDG_CACHE_HOME/cold_jax, else ~/.cache/cold_jax."""
    if own := os.environ.get("COLD_JAX_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cold_jax"


def digest(*parts: str | bytes | np.ndarray) -> str:
    """sha256 of a sequence of texts and arrays; each goes in with its kind and length, so no two sequences read the same."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            kind, data = f"{part.dtype.name}{part.shape}", np.asarray(part, order="C").tobytes()
        else:
            kind, data = type(part).__name__, part.encode() if isinstance(part, str) else part
        sha.update(f"{kind} {len(data)}\n".encode())
        sha.update(data)
    return sha.hexdigest()


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
        with private(path.parent) as folder:
            write(folder / path.name, save(entry, {"key": text, "sha256": _digest(entry)}))
            os.replace(folder / path.name, path)
    except OSError as error:
        _warn_once(
            f"{root()}: the cache cannot be written ({error}); going on without it, or set COLD_JAX_CACHE=DIR to another folder"
        )
    return entry


@contextmanager
def private(folder: Path) -> Iterator[Path]:
    """A new folder inside `folder`, for this process alone, removed at the end; what killed processes left goes at the start.

    Its files are on the file system of `folder`, so os.replace moves them out in one step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.tmp"):
        if _left_over(left):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{os.getpid()}-{socket.gethostname()}-", suffix=".tmp") as own:
        yield Path(own)


def write(path: Path, data: bytes) -> None:
    """Writes and waits for the disk, so that an error of the disk is raised here and not lost."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


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


def _left_over(folder: Path) -> bool:
    match = re.fullmatch(r"\.(\d+)-(.*)-[^-]*\.tmp", folder.name)
    try:
        if match and match[2] == socket.gethostname():
            os.kill(int(match[1]), 0)
        return time.time() - folder.stat().st_mtime > _DAY  # another machine's, or a process of that number lives
    except ProcessLookupError:
        return True
    except OSError:
        return False


@functools.cache
def _warn_once(message: str) -> None:
    _log.warning(message)
