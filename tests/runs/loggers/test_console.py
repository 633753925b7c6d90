"""Progress in the terminal and elsewhere."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console as RichConsole

from cold_jax.runs.loggers import console
from cold_jax.runs.loggers.console import Console, _Bar


def record(step: int, steps: int) -> dict[str, float]:
    return {"step": step, "steps": steps, "epoch": 1, "loss": 4 / step, "examples_per_second": 812.3}


def test_plain_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    now = iter([100.0, 103.3, 142.0])
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(now)))
    logger = Console(12)()
    logger.start({"evaluation": {"metric": "recall@20"}}, tmp_path, "name", "group", "train")
    logger.step(record(1, 150))
    logger.step(record(12, 150) | {"loss": 4.12341})
    logger.validation({"step": 12, "epoch": 1, "metric": 0.31234, "warm": 0.2})
    logger.step(record(150, 150) | {"mfu": 0.314})
    logger.finish({})
    # 11 steps in 3.3 s: 138 more take 41.4 s
    assert capsys.readouterr().err.splitlines() == [
        "step 1/150  loss 4.0000  812 examples/s",
        "step 12/150  loss 4.1234  812 examples/s  0:41 left",
        "step 12  validation  recall@20, mean over tasks: 0.3123  warm 0.2000",
        "step 150/150  loss 0.0267  812 examples/s  MFU 31 %  0:00 left",
    ]


@given(every=st.integers(1, 9), start=st.integers(1, 30), steps=st.integers(31, 60))
def test_a_line_for_the_first_every_nth_and_the_last_step(every: int, start: int, steps: int) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "_print", lines.append)
        logger = Console(every)()
        for step in range(start, steps + 1):
            logger.step(record(step, steps))
    shown = [int(line.split("/")[0].removeprefix("step ")) for line in lines]
    assert shown == sorted({start, steps} | {step for step in range(start, steps) if step % every == 0})


def test_wrong_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"logger\.console\.every: -1"):
        Console(-1)


def test_bar_in_a_terminal(tmp_path: Path) -> None:
    screen = io.StringIO()
    logger = _Bar(RichConsole(file=screen, force_terminal=True, width=120))
    logger.start({}, tmp_path, "name", "group", "train")
    logger.step(record(1, 150))
    logger.step(record(12, 150) | {"loss": 4.12341, "mfu": 0.314})
    logger.validation({"step": 12, "epoch": 1, "recall@20": 0.31234})
    logger.finish({})
    shown = screen.getvalue()
    assert "12/150" in shown
    assert "loss 4.1234  812 examples/s  MFU 31 %" in shown
    assert "step 12  validation  recall@20 0.3123" in shown
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 1  # the cursor is back
