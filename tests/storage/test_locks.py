"""Locks held by live, killed and foreign processes, and many that want one at once."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cold_jax.errors import LockedError
from cold_jax.storage.locks import lock
from cold_jax.storage.sealed import seal

HOLD = """
import sys, time
from pathlib import Path
from cold_jax.storage.locks import lock

with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def enter(folder: Path) -> None:
    with lock(folder):
        assert json.loads((folder / "lock").read_text())["pid"] == os.getpid()


def test_the_lock_is_there_meanwhile_and_gone_after(tmp_path: Path):
    enter(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), lock(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_live_holder_is_named_and_a_killed_one_replaced(tmp_path: Path):
    with holder(tmp_path) as child:
        with pytest.raises(LockedError, match=f"process {child.pid} on .* works in this folder.*delete the file"):
            enter(tmp_path)
        child.send_signal(signal.SIGSTOP)  # alive, if not well
        with pytest.raises(LockedError):
            enter(tmp_path)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and its number not free yet: a zombie
        enter(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_process_that_is_gone_is_replaced(tmp_path: Path):
    with holder(tmp_path) as child:
        child.kill()
    assert (tmp_path / "lock").exists()
    enter(tmp_path)


@pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="the kernel tells when a process began under /proc only")
def test_the_lock_says_when_its_holder_began(tmp_path: Path):
    with holder(tmp_path) as child:
        began = int(json.loads((tmp_path / "lock").read_text())["started"]) / os.sysconf("SC_CLK_TCK")
        assert 0 <= float(Path("/proc/uptime").read_text().split()[0]) - began < 60
        child.kill()


@pytest.mark.parametrize(
    ("changed", "replaced"),
    [
        ({"started": "1"}, True),  # the number went to another process
        ({"started": "1", "host": "elsewhere"}, False),
        ({"started": "1", "boot": "another"}, False),
        ({"pid": 2**22 + 1, "boot": ""}, False),
    ],
)
def test_only_what_is_known_to_be_dead_is_replaced(tmp_path: Path, changed: dict[str, object], replaced: bool):
    with holder(tmp_path) as child:
        held = json.loads((tmp_path / "lock").read_text()) | changed
        del held["sha256"]
        (tmp_path / "lock").write_bytes(seal(held))
        if replaced:
            enter(tmp_path)
        else:
            with pytest.raises(LockedError):
                enter(tmp_path)
            assert (tmp_path / "lock").read_bytes() == seal(held)
        child.kill()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 200, b"garbage", b"\xff", b"[]", b"{}", b"null", b"[" * 4000, b'{"pid": 1}',
        b'{"pid": "../../etc", "host": "a", "boot": "b", "started": "c"}', b'{"pid": true, "host": "a", "boot": "b", "started": "c"}',
        b'{"pid": 1, "host": 2, "boot": "b", "started": "c"}', b"x" * 5000, seal({"pid": 1, "host": 2, "boot": "b", "started": "c"}),
        seal({"pid": 1, "host": "a", "boot": "b", "started": "c"}).replace(b"1", b"3", 1),
    ],
)  # fmt: skip
def test_a_lock_that_names_nobody_is_one_line_that_says_what_to_do(tmp_path: Path, content: bytes):
    (tmp_path / "lock").write_bytes(content)
    with pytest.raises(LockedError, match=r"lock.*(delete the file|bytes, more than)") as raised:
        enter(tmp_path)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "lock").read_bytes() == content


@pytest.mark.parametrize("there", [False, True])
def test_a_lock_that_is_a_link_is_refused(tmp_path: Path, there: bool):
    target = tmp_path / "target"
    if there:
        target.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").symlink_to(target)
    with pytest.raises(LockedError, match="lock"):
        enter(folder)
    assert target.exists() == there


def test_no_lock_is_taken_away_from_who_came_after(tmp_path: Path):
    with lock(tmp_path):
        (tmp_path / "lock").write_text("another's")  # a person deleted ours, and started a run
    assert (tmp_path / "lock").read_text() == "another's"


def test_a_missing_folder_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        enter(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stale", [False, True])
def test_of_eight_that_want_it_at_once_one_gets_it(tmp_path: Path, stale: bool):
    with holder(tmp_path) as child:
        child.kill()
    left = (tmp_path / "lock").read_bytes()

    for round_ in range(40):
        folder = tmp_path / str(round_)
        folder.mkdir()
        if stale:
            (folder / "lock").write_bytes(left)
        start, end = threading.Barrier(8), threading.Barrier(8)

        def want(folder: Path = folder, start: threading.Barrier = start, end: threading.Barrier = end) -> bool:
            start.wait()
            try:
                with lock(folder):
                    end.wait()
                    return True
            except LockedError:
                end.wait()
                return False

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda f: f(), [want] * 8)) == 1
        assert list(folder.iterdir()) == []
