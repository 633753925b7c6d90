"""Signs of life, on stderr alone."""

import io
import time

import pytest
from rich.console import Console

from cold_jax import progress


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"FIRST": 0.3, "LONGEST": 0.6, "_LONG": 0.3}.items():
        monkeypatch.setattr(progress, name, seconds)
    progress.terminal.cache_clear()


def test_a_slow_stage_is_named_while_it_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown(), progress.stage("training"):
        with progress.stage("fitting ease"):
            time.sleep(2.2)
        with progress.stage("fitting bm25"):
            pass
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[:2] == ["training", "fitting ease"]
    assert 2 <= sum(line.startswith("… still fitting ease (") for line in lines) <= 6
    assert any(line.startswith("fitting ease: 2.") for line in lines)
    assert "fitting bm25" in lines
    assert not [line for line in lines if line.startswith("fitting bm25:")]  # too short to be reported


def test_what_is_counted_has_a_pace_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown(), progress.stage("encoding", 2000, "texts") as advance:
        advance(500)
        time.sleep(1.1)
    [line, *_] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("… still")]
    assert "500 of 2,000 texts" in line
    assert "texts/s" in line
    assert line.endswith(" left")


def test_nothing_is_shown_outside(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.stage("training") as advance:
        advance(1)
    with pytest.raises(KeyError), progress.shown(), progress.stage("failing"):
        raise KeyError
    time.sleep(0.5)
    assert capsys.readouterr().err.splitlines() == ["failing"]


def test_a_terminal_s_lines_move(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "terminal", lambda: Console(file=screen, force_terminal=True, width=100))
    with progress.shown(), progress.stage("fitting ease"):
        time.sleep(0.8)
        progress.say("a [line] above")
        print("the answer")
    shown = screen.getvalue()
    assert "fitting ease  0 s" in shown
    assert "a [line] above" in shown
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") > 0  # the cursor is back
    assert capsys.readouterr().out == "the answer\n"
