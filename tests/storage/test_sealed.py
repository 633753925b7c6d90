"""Every flipped bit of a sealed object is seen; what a kill leaves of a last line is no line."""

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cold_jax.errors import RunError
from cold_jax.storage.sealed import content_digest, read_lines, seal, unseal

LINES = [{"step": 1, "loss": 0.25, "seconds": 1.5}, {"step": 2, "loss": 1 / 3, "note": "a\nb \u2028é"}]
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)


@given(st.dictionaries(st.text().filter(lambda key: key != "sha256"), values, max_size=4))
def test_what_is_sealed_comes_back(document: dict[str, object]):
    assert unseal(json.loads(seal(document)), "x", RunError) == document
    assert b"\n" not in seal(document)


def test_the_digest_is_the_documented_one():
    sealed = json.loads(seal({"b": 1.5, "a": "é"}, indent=2))
    assert sealed.pop("sha256") == hashlib.sha256(b'{"a":"\\u00e9","b":1.5}').hexdigest()
    assert sealed == {"a": "é", "b": 1.5}
    assert json.loads(seal({"a": np.float32(0.1)}))["a"] == float(np.float32(0.1))


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")])
def test_nan_is_never_sealed(value: float):
    with pytest.raises(ValueError, match="not JSON compliant"):
        seal({"a": value})
    assert content_digest({"a": value}) == "none"


@pytest.mark.parametrize("value", [[], None, 3, {}, {"a": 1}, {"a": 1, "sha256": "x" * 999}, {"a": 1, "sha256": ["x"]}])
def test_what_was_not_sealed_is_refused(value: object):
    with pytest.raises(RunError, match=r"^here: damaged \(") as raised:
        unseal(value, "here", RunError)
    assert len(str(raised.value)) < 200


def test_no_flipped_bit_of_lines_changes_a_value():
    """All bits, those of line ends as well: a line is as it was, or named."""
    data = b"".join(seal(line) + b"\n" for line in LINES)
    for place in range(len(data)):
        for bit in range(8):
            altered = bytearray(data)
            altered[place] ^= 1 << bit
            try:
                assert read_lines(bytes(altered), "f", RunError) == LINES
            except RunError as error:
                assert str(error).startswith(("f:1: damaged", "f:2: damaged"))  # noqa: PT017


@pytest.mark.parametrize("cut", range(0, 140, 7))
def test_what_a_kill_leaves_of_the_last_line_is_none(cut: int):
    data, last = seal(LINES[0]) + b"\n", seal(LINES[1]) + b"\n"
    assert len(last) > 140
    assert read_lines(data + last[:cut], "f", RunError) == LINES[:1]
    assert read_lines(data + last, "f", RunError) == LINES
    with pytest.raises(RunError, match="f:1: damaged"):
        read_lines(last[:cut] + b"\n" + data, "f", RunError)
