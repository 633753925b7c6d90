"""A user's key: made once, theirs alone, and what it signed differs from everything else."""

import hashlib
import hmac
import multiprocessing
import os
import random
import sys
from pathlib import Path

import pytest

from cold_jax.storage import signatures
from cold_jax.storage.signatures import key_path, sign, signed_here

CONFIG = b"format: 3\nseed: 1\n"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def signature(data: bytes = CONFIG) -> str:
    found = sign(data)
    assert found is not None
    return found


def test_where_the_key_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert key_path() == tmp_path / "data" / "cold_jax" / "signing_key"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert key_path() == tmp_path / "home" / ".local" / "share" / "cold_jax" / "signing_key"


def test_a_signature_is_hmac_sha256(tmp_path: Path) -> None:
    found = signature()
    assert found == hmac.new(key_path().read_bytes(), b"cold_jax config.yaml 1\n" + CONFIG, hashlib.sha256).hexdigest()
    assert signed_here(CONFIG, found)
    assert signature() == found


def test_nothing_else_is_signed_here() -> None:
    found, draw = signature(), random.Random(0)
    for bit in range(len(CONFIG) * 8):
        data = bytearray(CONFIG)
        data[bit // 8] ^= 1 << bit % 8
        assert not signed_here(bytes(data), found)
    for _ in range(64):
        place = draw.randrange(64)
        assert not signed_here(CONFIG, found[:place] + ("0" if found[place] != "0" else "1") + found[place + 1 :])
    for other in ("", found[:-1], found + "0", found.upper() if found.upper() != found else "", "é"):
        assert not signed_here(CONFIG, other)


def test_another_user_s_key_signs_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = signature()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    assert not signed_here(CONFIG, theirs)
    assert not key_path().exists()  # to look makes no key
    assert signature() != theirs


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_the_key_is_its_owner_s_alone(caplog: pytest.LogCaptureFixture) -> None:
    mask = os.umask(0)
    try:
        found = signature()
    finally:
        os.umask(mask)
    assert key_path().stat().st_mode & 0o777 == 0o600
    assert key_path().parent.stat().st_mode & 0o777 == 0o700
    for mode in (0o640, 0o604, 0o620):
        key_path().chmod(mode)
        caplog.clear()
        assert not signed_here(CONFIG, found)
        assert sign(CONFIG) is None
        assert "chmod 600" in caplog.text


@pytest.mark.parametrize("damage", ["empty", "short", "long", "link"])
def test_a_file_that_is_no_key_signs_nothing(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found, key = signature(), key_path().read_bytes()
    key_path().unlink()
    if damage == "link":
        (tmp_path / "key").write_bytes(key)
        (tmp_path / "key").chmod(0o600)
        key_path().symlink_to(tmp_path / "key")
    else:
        key_path().write_bytes({"empty": b"", "short": key[:-1], "long": key + b"x"}[damage])
        key_path().chmod(0o600)
    assert not signed_here(CONFIG, found)
    assert sign(CONFIG) is None
    assert "the run is not signed" in caplog.text


def test_where_no_key_can_be_kept_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert sign(CONFIG) is None
    assert "no key can be kept" in caplog.text
    assert not signed_here(CONFIG, "0" * 64)


def _sign(_: int) -> str | None:
    return signatures.sign(CONFIG)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_eight_at_once_share_one_key() -> None:
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        found = set(pool.map(_sign, range(8), chunksize=1))
    assert found == {signature()}
    assert [path.name for path in key_path().parent.iterdir()] == ["signing_key"]
