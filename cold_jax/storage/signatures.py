"""Which runs were made here: a key of this user signs the config of each, so that nobody else's passes for one of theirs.

The signature is HMAC-SHA256 (RFC 2104) over the bytes of config.yaml. It vouches for the settings, not for the weights beside them.
"""

import hashlib
import hmac
import logging
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from cold_jax.storage.files import atomic

_log = logging.getLogger(__name__)
_PURPOSE = b"cold_jax config.yaml 1\n"
_BYTES = 32


def key_path() -> Path:
    """$XDG_DATA_HOME/cold_jax/signing_key, else ~/.local/share/cold_jax/signing_key."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "cold_jax" / "signing_key"


def sign(data: bytes) -> str | None:
    """The signature, in hexadecimal digits; None, with a warning, where no key can be kept. The first use makes the key."""
    try:
        key = _key() or _new_key()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        _log.warning(
            "%s: no key can be kept (%s); the run is not signed, and to others' and to you it is somebody else's",
            key_path(),
            error,
        )
        return None
    return _signature(key, data)


def signed_here(data: bytes, signature: str) -> bool:
    """Whether `sign` gave this signature for these bytes, with this user's key."""
    try:
        key = _key()
    except (OSError, RuntimeError):
        return False
    return key is not None and hmac.compare_digest(_signature(key, data).encode(), signature.encode())


def _signature(key: bytes, data: bytes) -> str:
    return hmac.new(key, _PURPOSE + data, hashlib.sha256).hexdigest()


def _key() -> bytes | None:
    """None where there is none yet. Raises OSError where it is not this user's alone, or not whole."""
    try:
        descriptor = os.open(key_path(), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        key = file.read(_BYTES + 1)
    if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
        raise OSError("it is not yours alone: chmod 600, or delete it")
    if len(key) != _BYTES or not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a key of this project: delete it")
    return key


def _new_key() -> bytes:
    path, key = key_path(), secrets.token_bytes(_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError), atomic(path, new=True, mode=0o600) as file:  # of several processes one makes it
        file.write(key)
    made = _key()
    if made is None:
        raise FileNotFoundError("it is gone again")
    return made
