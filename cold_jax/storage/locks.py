"""One process at a time in a run's folder: a file `lock` that names its holder, made only where there is none.

The file's name is linked to a whole file in one step, which holds on network file systems too, where flock may do nothing.
"""

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cold_jax.errors import LockedError
from cold_jax.storage.files import atomic
from cold_jax.storage.limits import parse_json, read_file
from cold_jax.storage.sealed import seal, unseal

_LARGEST = 4096  # bytes of a lock


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Nobody else works in the folder meanwhile. LockedError where another process does; the lock of a dead one is taken over.

    Whether it is dead is known only on the machine, and in the container, that it ran in; everywhere else it counts as alive.
    """
    path, text = folder / "lock", seal(_this_process())
    while not _take(path, text):
        with suppress(FileNotFoundError):  # released since: try again
            _take_over(path, text)
            break
    try:
        yield
    finally:
        with suppress(OSError, LockedError):  # a person deleted it, or put another in its place
            if read_file(path, _LARGEST, LockedError) == text:
                path.unlink()


def _take(path: Path, text: bytes) -> bool:
    with suppress(FileExistsError):
        with atomic(path, new=True) as file:
            file.write(text)
        return True
    return False


def _take_over(path: Path, text: bytes) -> None:
    """Replaces the lock of a process that is gone. Raises LockedError where none of that is certain."""
    held = read_file(path, _LARGEST, LockedError)
    holder, ours = _holder(path, held), _this_process()
    here = (holder["host"], holder["boot"]) == (ours["host"], ours["boot"])
    if here and _started(holder["pid"]) != holder["started"]:
        # of all that find the same dead holder one makes this name, and only that one replaces the lock
        claim = path.with_name(f".lock.{hashlib.sha256(held).hexdigest()[:16]}.tmp")
        with suppress(FileExistsError):
            os.link(path, claim)
            try:
                if claim.read_bytes() == held:
                    with atomic(path, new=False) as file:
                        file.write(text)
                    return
            finally:
                claim.unlink(missing_ok=True)
    raise LockedError(
        f"{path}: process {holder['pid']} on {holder['host']} works in this folder, or one that takes over from it; "
        "wait for its end, or if you know that it is gone, delete the file (and .lock.*.tmp beside it)"
    )


def _holder(path: Path, held: bytes) -> dict[str, Any]:
    """What a lock file says of its process. Raises LockedError where it is no lock of ours."""
    try:
        holder = unseal(parse_json(held, str(path), LockedError), str(path), LockedError)
        if type(holder["pid"]) is int and all(type(holder[k]) is str for k in ("host", "boot", "started")):
            return holder
    except (LockedError, KeyError):
        pass
    what = "is empty" if not held else "holds no process"
    raise LockedError(f"{path}: the lock {what}, so who works in this folder is not known; if nobody does, delete the file")


def _this_process() -> dict[str, Any]:
    """What tells this process from all others. `boot` is one start of one kernel and, in it, one numbering of processes."""
    kernel = Path("/proc/sys/kernel/random/boot_id")
    boot = f"{kernel.read_text().strip()} {os.readlink('/proc/self/ns/pid')}" if kernel.exists() else ""
    return {"host": socket.gethostname(), "boot": boot, "pid": os.getpid(), "started": _started(os.getpid())}


def _started(pid: int) -> str:
    """When the process began, in the kernel's ticks, for its number may be another's by now; empty if it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
