"""Signs of life on stderr: what a command is doing now, for how long, and how far it has come.

In a terminal each stage has a line that moves; elsewhere it is named when it begins, and again while it lasts. Nothing is written
outside of `shown`, and nothing ever on stdout.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

FIRST, LONGEST = 2.0, 10.0  # seconds without a line, elsewhere than in a terminal: at first, and in the end
_LONG = 2.0  # seconds from which a stage's duration is printed when it ends


class _Stage:
    def __init__(self, name: str, total: int | None, unit: str) -> None:
        self.name, self.total, self.unit, self.done, self.began = name, total, unit, 0, time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def rate(self) -> str:
        """How much is done, how fast, and the time that is left; "" where that is not known."""
        if not self.total or not self.done:
            return ""
        speed = self.done / max(self.seconds, 1e-9)
        left = round((self.total - self.done) / speed)
        return f"{self.done:,} of {self.total:,} {self.unit}, {speed:,.0f} {self.unit}/s, {left // 60}:{left % 60:02} left"


_stages: list[_Stage] = []  # open ones, the innermost last
_lock = threading.RLock()
_display: _Display | None = None


@cache
def terminal() -> Console:
    """The console of stderr, one for all that moves there."""
    from rich.console import Console

    return Console(stderr=True)


class _Display:
    """Writes about `_stages` from a thread of its own, as the main thread computes."""

    def __init__(self, moving: Progress | None) -> None:
        self.moving, self.ended = moving, threading.Event()
        self.written, self.pause = time.monotonic(), FIRST
        self.thread = threading.Thread(target=self._work, name="progress", daemon=True)

    def start(self) -> None:
        if self.moving:
            self.moving.start()
        self.thread.start()

    def stop(self) -> None:
        self.ended.set()
        self.thread.join()
        if self.moving:
            self.moving.stop()

    def _work(self) -> None:
        while not self.ended.wait(0.2):
            with _lock:
                stage = _stages[-1] if _stages else None
                if self.moving:
                    self._move()
                elif stage and time.monotonic() - self.written >= self.pause:
                    rate = f": {stage.rate}" if stage.rate else ""
                    say(f"… still {stage.name} ({stage.seconds:.0f} s){rate}")
                    self.pause = min(self.pause * 1.5, LONGEST)

    def _move(self) -> None:
        assert self.moving is not None
        lines = {str(number): stage for number, stage in enumerate(_stages)}
        known = {str(task.fields["place"]): task.id for task in self.moving.tasks}
        for place, stage in lines.items():
            text = f"{stage.name}  {stage.seconds:.0f} s  {stage.rate}".rstrip()
            if place in known:
                self.moving.update(known[place], description=text)
            else:
                self.moving.add_task(text, total=None, place=place)
        for place in known.keys() - lines.keys():
            self.moving.remove_task(known[place])


@contextmanager
def shown() -> Iterator[None]:
    """Stages within are shown. Nested, or where stderr is closed, it does nothing."""
    global _display
    if _display is not None or sys.stderr is None:
        yield
        return
    moving = None
    if terminal().is_terminal:
        from rich.markup import escape  # noqa: F401  # rich's parts are loaded before the thread that draws them
        from rich.progress import Progress, SpinnerColumn, TextColumn

        # stdout is nobody's business here: redirected, it would end up on stderr
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
        moving = Progress(*columns, console=terminal(), refresh_per_second=8, transient=True, redirect_stdout=False)
    _display = _Display(moving)
    _display.start()
    try:
        yield
    finally:
        display, _display = _display, None
        display.stop()


@contextmanager
def stage(name: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Within, the command is doing `name`, as in "fitting ease".

    Yields a function that counts: of `total` pieces, called `unit`, so many more are done.
    """
    one = _Stage(name, total, unit)
    if _display is None:
        yield one.advance
        return
    with _lock:
        _stages.append(one)
        _display.pause = FIRST
        if not _display.moving:
            say(name)
    try:
        yield one.advance
    finally:
        with _lock:
            _stages.remove(one)
            if _display and one.seconds >= _LONG:
                say(f"{name}: {one.seconds:.1f} s")


def say(line: str) -> None:
    """A line on stderr, above what moves there."""
    with _lock:
        if _display is not None:
            _display.written = time.monotonic()
        if _display is not None and _display.moving:
            terminal().print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            with suppress(OSError, ValueError):  # the reader of a pipe is gone, or stderr was closed: no reason to stop a run
                print(line, file=sys.stderr, flush=True)


class LogLines(logging.Handler):
    """Log records as lines on stderr, beside what moves there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            say(text)
