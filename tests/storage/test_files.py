"""Files that are whole or not there; digests."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from cold_jax.errors import NoRoom, WriteError
from cold_jax.storage.files import append_opener, array_digest, atomic, digest


def test_a_digest_is_that_of_all_parts_with_their_kinds_and_lengths() -> None:
    """Many short texts, and arrays on both sides of what goes in by itself."""
    parts = [*(f"é{n}" for n in range(9000)), np.arange(3, dtype=np.int32), b"x\n", np.zeros((2, 2**18), np.float32), "after"]
    kinds = [*["str"] * 9000, "int32(3,)", "bytes", "float32(2, 262144)", "str"]
    data = [part if isinstance(part, bytes) else part.encode() if isinstance(part, str) else part.tobytes() for part in parts]
    whole = b"".join(f"{kind} {len(own)}\n".encode() + own for kind, own in zip(kinds, data, strict=True))
    assert digest(*parts) == hashlib.sha256(whole).hexdigest()


def test_digest_tells_type_shape_and_bits():
    types = (np.float32, np.int32, ml_dtypes.bfloat16)
    shapes = ((4,), (2, 2), (1, 4), (), (0, 4), (4, 0))
    arrays = [np.zeros(shape, dtype) for dtype in types for shape in shapes] + [np.array([0, 0, 0, -0.0], np.float32)]
    assert len({array_digest(array) for array in arrays}) == len(arrays)
    array = np.arange(12).reshape(3, 4)
    assert array_digest(array) == array_digest(np.asfortranarray(array)) == array_digest(np.repeat(array, 2, 0)[::2])
    assert array_digest(array) != array_digest(array.T)


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_disk_that_takes_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, new: bool):
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    kind = NoRoom if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else WriteError
    with pytest.raises(kind, match=f"file: not written: {os.strerror(code)}") as raised, atomic(tmp_path / "file", new) as file:
        file.write(b"x")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


READ_ONLY = """
mount -t tmpfs tmpfs "$1" && mkdir "$1/run" && mount -o remount,ro "$1" || exit 77
"$2" -c "
import sys
from pathlib import Path
from cold_jax.errors import WriteError
from cold_jax.runs.folder import Run, create
for write in (lambda: Run(Path('$1/run')).write_config('seed: 1'), lambda: Run(Path('$1/run')).append_metrics({'step': 1}),
              lambda: create(Path('$1/run/x')), lambda: create(Path('$1/a/b'))):
    try:
        write()
    except WriteError as error:
        print(error)
"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces of Linux")
def test_a_read_only_folder_is_one_line(tmp_path: Path):
    """For real: as root, modes prove nothing."""
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", READ_ONLY, "sh", str(tmp_path), sys.executable], capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all("Read-only file system" in line for line in lines)


def test_a_private_file_is_its_owner_s_alone(tmp_path: Path):
    mask = os.umask(0)
    try:
        with atomic(tmp_path / "secret", new=True, mode=0o600) as file:
            assert Path(file.name).stat().st_mode & 0o777 == 0o600
        with atomic(tmp_path / "other", new=False) as file:
            file.write(b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe", "folder"])
def test_what_is_appended_to_is_a_plain_file_of_one_name(tmp_path: Path, kind: str):
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_text("mine")
    {"symbolic": path.symlink_to, "hard": path.hardlink_to, "pipe": lambda _: os.mkfifo(path), "folder": lambda _: path.mkdir()}[
        kind
    ](target)
    with pytest.raises(OSError, match=r"file|link"):
        append_opener(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    assert target.read_text() == "mine"
