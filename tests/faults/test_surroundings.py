"""Clocks that jump, other languages and time zones: the figures are those of a run in plain surroundings, and no duration is absurd."""

import json
from pathlib import Path

import harness
import pytest

pytestmark = [pytest.mark.faults, pytest.mark.slow]
JUMP = """
import time
real, began = time.time, time.monotonic()
def jumping():
    return real() + {seconds} * (int((time.monotonic() - began) * 20) % 2)
time.time = jumping
"""


@pytest.mark.parametrize(
    ("first", "environment"),
    [
        (JUMP.format(seconds=-86_400), {}),
        (JUMP.format(seconds=10 * 365 * 86_400), {}),
        ("", {"TZ": "Pacific/Apia"}),
        ("", {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
        ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
    ids=["yesterday", "in-ten-years", "zone", "turkish", "ascii"],
)
def test_surroundings_change_nothing(shared: Path, tmp_path: Path, first: str, environment: dict[str, str]) -> None:
    code, output = harness.train(shared, *harness.arguments(tmp_path / "run"), first=first, **environment)
    assert code == 0, output
    harness.check_same(tmp_path / "run", shared / "golden")
    seconds = json.loads((tmp_path / "run" / "results.json").read_text())["seconds"]
    assert all(0 <= value < 600 for value in seconds.values()), seconds
