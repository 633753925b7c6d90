"""Files from elsewhere: what is read is plain, bounded, and as another reader reads it; all else is one line that names the limit."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cold_jax.errors import DataError, RunError
from cold_jax.storage.limits import DEPTH, parse_json, parse_yaml, read_file

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


# files


def test_a_plain_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, 5, RunError) == b"12345"
    with pytest.raises(RunError, match=r"file: 5 bytes, more than the 4 that are read"):
        read_file(path, 4, RunError)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "other", 4, RunError)


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "device", "socket"])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "file", tmp_path / "target"
    if kind != "dangling":
        target.write_bytes(b"secret")
    if kind in ("link", "dangling"):
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path)[-100:] if len(str(path)) < 100 else str(path))
    start = time.monotonic()
    with pytest.raises(RunError, match=f"{path.name}: cannot be read"):
        read_file(path, 100, RunError)
    assert time.monotonic() - start < 1


# JSON


@given(json_values)
def test_json_is_read_as_python_s_reader_does(value: Any) -> None:
    assert parse_json(json.dumps(value), "x", RunError) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "x: damaged .brackets nested more than 64 deep"),
        ("[" * 80 + "]" * 80, "brackets nested more than 64 deep"),
        ('{"a":' * 80 + "1" + "}" * 80, "brackets nested more than 64 deep"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("9" * 5000, "damaged"),
        ("{", "damaged"),
        (b"\xff", "damaged"),
        ("", "damaged"),
    ],
)
def test_json_that_is_none(text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        parse_json(text, "x", DataError)
    assert "\n" not in str(raised.value)


def test_json_may_be_nested_up_to_the_limit() -> None:
    value = json.loads("[" * DEPTH + "]" * DEPTH)
    assert parse_json(json.dumps(value), "x", RunError) == value


# YAML

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef_.é ", min_size=1, max_size=8), inner, max_size=3),
    max_leaves=15,
)


@given(st.dictionaries(st.text("abcdef", min_size=1), plain, max_size=4))
@example(
    {"a": "2020-01-01", "b": "1e5", "c": "no", "d": "0x1f", "e": "1_000", "f": "~", "g": "=", "h": "<<", "i": "1:30", "j": 1e-5}
)
@example({"a": "&x", "b": "*x", "c": "!x", "d": "a\nb\r\tc", "e": "\x07", "f": ": ", "g": "#", "h": " x ", "i": "null"})
def test_what_a_run_writes_comes_back(value: dict[str, Any]) -> None:
    text = (
        OmegaConf.to_yaml(OmegaConf.create({"top": [value]}, flags={"allow_objects": False}))
        if "${" not in str(value)
        else "top: [{}]"
    )
    wanted = OmegaConf.to_container(OmegaConf.create(text))
    assert parse_yaml(text.encode(), "x", RunError) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "holds an anchor or an alias"),
        ("a: &x 1", "holds an anchor or an alias"),
        ("a: *x", "holds an anchor or an alias"),
        ("a: &x [*x]", "holds an anchor or an alias"),
        ("a: !!python/object/apply:os.system ['true']", "holds a tag"),
        ("a: !!binary aGk=", "holds a tag"),
        ("a: ! 1", "holds a tag"),
        ("[" * 50_000, "nested more than 64 deep|maximum nesting depth"),
        ("{a: " * 50_000, "nested more than 64 deep|maximum nesting depth"),
        ("- " * 50_000, "nested more than 64 deep|maximum nesting depth"),
        ("? " * 50_000, "nested more than 64 deep|maximum nesting depth"),
        ("a: 1\na: 2", "the key 'a' is there twice"),
        ("a: 1\n---\nb: 2", "single document"),
        ("? [1, 2]\n: 3", "config of a run"),
        ("a: '", "config of a run"),
        ("a: " + "9" * 65, "a number of 65 characters"),
        ("a: 0x" + "f" * 200_000, "a number of 200,002 characters"),
        ("a: 1" + ":59" * 60_000, "a number of 180,001 characters"),
        ("a: 1" + ":59" * 60_000 + ".5", "a number of 180,003 characters"),
        (f"{'9' * 65}: 1", "a number of 65 characters"),
        ("\x00", "config of a run"),
    ],
)
def test_yaml_that_is_no_config(text: str, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(RunError, match=message) as raised:
        parse_yaml(text.encode(), "x", RunError)
    assert time.monotonic() - start < 2
    assert "\n" not in str(raised.value)


def test_an_alias_bomb_takes_neither_time_nor_memory() -> None:
    """Two kilobytes that unfold to nine to the ninth: PyYAML shares the lists, whoever copies or walks them does not."""
    assert len(BOMB) < 2000
    lists = yaml.safe_load(BOMB)
    assert len(lists["i"]) == 9
    program = "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (20, 20)); from cold_jax.storage.limits import *; from cold_jax.errors import RunError\ntry: parse_yaml(sys.stdin.buffer.read(), 'x', RunError)\nexcept RunError: print('refused')"
    done = subprocess.run([sys.executable, "-c", program], input=BOMB, capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_one_line(data: bytes) -> None:
    for parse in (parse_yaml, parse_json):
        with suppress(RunError):
            parse(data, "x", RunError)
