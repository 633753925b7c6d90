"""The content-addressed cache on disk: tokens, vectors, prefix states, fetched assets, compiled programs.

An entry is a pure function of its key, and whoever builds it writes into a private folder and renames: who comes second replaces it by
the same bytes. Processes of one machine wait for each other all the same, so that nothing is built twice. Nothing here can stop a run: what cannot be read is built again, what cannot be
written is done without. The cache is trusted: whoever can write to it chooses what a run reads from it.

It grows to $COLD_JAX_CACHE_SIZE (bytes, or as in 500MB, 20GB), else to 20 GB; beyond that, what was not used for longest goes.
"""

import functools
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cold_jax.errors import ConfigError
from cold_jax.storage.files import private_folder, write_synced
from cold_jax.storage.tensors import pack_tensors, read_tensors

_log = logging.getLogger(__name__)
_DEFAULT_SIZE = "20GB"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_IN_USE = 3600.0  # seconds for which a folder of files that were handed out by their paths is spared


class Entry(NamedTuple):
    """A file, or a folder of files, of root()/kind."""

    path: Path
    kind: str
    size: int  # bytes
    used: float  # seconds since the epoch


def root() -> Path:
    """The folder of the cache: $COLD_JAX_CACHE, else $XDG_CACHE_HOME/cold_jax, else ~/.cache/cold_jax."""
    if own := os.environ.get("COLD_JAX_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cold_jax"


def limit() -> int:
    """Bytes that the cache may hold. Raises ConfigError where $COLD_JAX_CACHE_SIZE is no size."""
    given = os.environ.get("COLD_JAX_CACHE_SIZE") or _DEFAULT_SIZE
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", given, re.IGNORECASE | re.ASCII)
    if match is None:
        raise ConfigError(f"COLD_JAX_CACHE_SIZE: {given!r} is not a size; give bytes, or as in 500MB, 20GB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def arrays(kind: str, key: Mapping[str, object], build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of one entry: read from root()/kind, or built and kept there.

    Args:
      kind: the sub-folder, a word of the code such as "tokens".
      key: all that the arrays depend on, as JSON values.
      build: makes the arrays; called only if there is no whole entry of this key.
    """
    text = json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)
    path = root() / kind / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"
    if (entry := _found(path, text)) is not None:
        return entry
    with _alone(path):
        if (entry := _found(path, text, silent=True)) is not None:  # another process built it meanwhile
            return entry
        entry = {name: np.asarray(array, order="C") for name, array in build().items()}
        _write(path, pack_tensors(entry, {"key": text}))
        return entry


def _found(path: Path, key: str, silent: bool = False) -> dict[str, np.ndarray] | None:
    try:
        entry = _read(path, key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if not silent:
            _log.warning("%s: a broken cache entry (%s); it is built again", path, error)
        return None
    used(path)
    return entry


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits while another process builds the entry; nobody waits where the file system has no locks. A dead process holds none."""
    lock = path.with_name(f".{path.stem}.lock")
    try:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    except (ImportError, OSError):
        yield
        return
    with file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):  # whoever waits for it finds the entry
                lock.unlink()


def _read(path: Path, key: str) -> dict[str, np.ndarray]:
    entry, metadata = read_tensors(path)
    if metadata.get("key") != key:
        raise ValueError("it belongs to another key")
    return entry


def _write(path: Path, data: bytes) -> None:
    if len(data) > limit():
        return
    try:
        with private_folder(path.parent) as folder:
            write_synced(folder / path.name, data)
            os.replace(folder / path.name, path)
    except OSError as error:
        _warn_once(
            f"{root()}: the cache cannot be written ({error.strerror or error}); going on without it, or set COLD_JAX_CACHE=DIR "
            "to another folder"
        )
    evict(keep=path)


@functools.cache
def _warn_once(message: str) -> None:
    _log.warning(message)


def used(path: Path) -> None:
    """Notes that an entry, a file or a folder, is in use now."""
    with suppress(OSError):
        os.utime(path)


def entries() -> list[Entry]:
    """All that the cache holds, least recently used first; what is being written is left out."""
    found = []
    for kind in _scan(root()):
        if kind.is_dir(follow_symlinks=False):
            for entry in _scan(Path(kind.path)):
                with suppress(OSError):  # another process removed it
                    size, newest = _measure(entry)
                    found.append(Entry(Path(entry.path), kind.name, size, newest))
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if not entry.name.startswith(".")]
    except OSError:
        return []


def _measure(entry: os.DirEntry[str]) -> tuple[int, float]:
    """Bytes, and when it was last used: a folder's own time, for `used` sets that, or the newest of what is in it."""
    status = entry.stat(follow_symlinks=False)
    size, newest = status.st_size, status.st_mtime
    if entry.is_dir(follow_symlinks=False):
        below = [_measure(inner) for inner in _scan(Path(entry.path))]
        size, newest = sum(s for s, _ in below), max([newest, *(t for _, t in below)])
    return size, newest


def evict(keep: Path | None = None) -> int:
    """Removes what was not used for longest until the cache is below its limit, but for `keep`; bytes that were freed."""
    largest, found = limit(), entries()
    excess = sum(entry.size for entry in found) - largest
    freed, now = 0, time.time()
    for entry in found:
        if freed >= excess:
            break
        in_use = entry.path.is_dir() and now - entry.used < _IN_USE
        if entry.path != keep and not in_use:
            freed += remove(entry)
    if freed:
        _log.info("%s: %s bytes of what was not used for longest are gone (COLD_JAX_CACHE_SIZE)", root(), f"{freed:,}")
    return freed


def remove(entry: Entry) -> int:
    """Bytes that were freed: none where the entry can't be removed. A folder is never seen half removed."""
    try:
        if not entry.path.is_dir() or entry.path.is_symlink():
            entry.path.unlink()
            return entry.size
        with private_folder(entry.path.parent) as own:
            os.rename(entry.path, own / "entry")
            shutil.rmtree(own / "entry")
    except OSError:
        return 0
    return entry.size
