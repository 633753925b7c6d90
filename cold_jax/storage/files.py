"""Files that are whole or not there: atomic writes, digests, room on the disk."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cold_jax.errors import NoRoom, WriteError

_DAY = 86_400.0
_LONG, _TOGETHER = 2**20, 8192  # of a digest: bytes of a part that goes in by itself, and short ones that share a call


def digest(*parts: str | bytes | np.ndarray) -> str:
    """sha256 of a sequence of texts and arrays; each goes in with its kind and length, so no two sequences read the same."""
    sha, texts = hashlib.sha256(), []
    for part in parts:
        if isinstance(part, np.ndarray):
            kind, data = f"{part.dtype.name}{part.shape}", np.asarray(part, order="C").tobytes()
        else:
            kind, data = type(part).__name__, part.encode() if isinstance(part, str) else part
        texts += (f"{kind} {len(data)}\n".encode(), data)
        if len(data) > _LONG or len(texts) > _TOGETHER:
            sha.update(b"".join(texts))
            texts.clear()
    sha.update(b"".join(texts))
    return sha.hexdigest()


@contextmanager
def private_folder(folder: Path) -> Iterator[Path]:
    """A new folder inside `folder`, for this process alone, removed at the end; what killed processes left goes at the start.

    Its files are on the file system of `folder`, so os.replace moves them out in one step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.tmp"):
        if _left_over(left):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{os.getpid()}-{socket.gethostname()}-", suffix=".tmp") as own:
        yield Path(own)


def write_synced(path: Path, data: bytes) -> None:
    """Writes and waits for the disk, so that an error of the disk is raised here and not lost."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _left_over(folder: Path) -> bool:
    """Whether the process that made the private folder is gone."""
    match = re.fullmatch(r"\.(\d+)-(.*)-[^-]*\.tmp", folder.name)
    try:
        if match and match[2] == socket.gethostname():
            os.kill(int(match[1]), 0)
        return time.time() - folder.stat().st_mtime > _DAY  # another machine's, or a process of that number lives
    except ProcessLookupError:
        return True
    except OSError:
        return False


def file_digest(file: Path) -> str:
    """sha256 of a file."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def array_digest(array: np.ndarray) -> str:
    """sha256 over type, shape and bytes: two arrays share it if they are bitwise equal."""
    return hashlib.sha256(f"{array.dtype.name} {array.shape} ".encode() + array.tobytes()).hexdigest()


def room(path: Path) -> str:
    """A phrase for an error message."""
    return f"{shutil.disk_usage(path.parent).free:,} bytes are free on its disk"


@contextmanager
def atomic(path: Path, new: bool, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A private file beside `path` that takes its name when all of it is on disk; after an error `path` is what it was before.

    Raises:
      FileExistsError: there is a file at `path`, and it is to be `new`.
      NoRoom: the disk is full.
      WriteError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        (os.link if new else os.replace)(temporary, path)
    except OSError as error:
        if error.errno in FULL:
            raise NoRoom(f"{path}: not written: {error.strerror}; {room(path)}; make room and go on with resume=") from error
        if error.errno in CLOSED:
            raise WriteError(f"{path}: not written: {error.strerror}; choose a folder that you can write") from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def append_opener(path: str, flags: int) -> int:
    """For open(…, "ab", opener=…): a plain file, reached by no link and known by no second name, so that nothing else is written.

    Raises OSError where `path` is anything else; a file that is not there is made.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.ELOOP, "a link, or no plain file", path)
    return descriptor
