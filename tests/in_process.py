"""A command in this process, with an eye on what it opens, connects to and starts."""

import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cold_jax import cli

STARTS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "socket.connect",
    "socket.getaddrinfo",
)
_events: list[tuple[str, str]] | None = None  # of the command that runs


class Done(NamedTuple):
    """How a command ended, what it wrote, what it opened, and the processes and connections that it started."""

    code: int
    out: str
    err: str
    opened: list[Path]
    started: list[str]

    @property
    def said(self) -> list[str]:
        """All that it wrote but the names of its stages and what it logs of the data."""
        lines = (self.out + self.err).splitlines()
        first = next((n for n, line in enumerate(lines) if line.startswith("error: ")), len(lines))
        return lines[first:]


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _events is not None and (event == "open" or event in STARTS):
        _events.append((event, os.fsdecode(first) if isinstance(first := arguments[0], str | bytes) else str(arguments)))


sys.addaudithook(_audit)


@contextlib.contextmanager
def own_logging() -> Iterator[None]:
    """What is configured within is gone after, and no handler of this process is closed.

    Hydra closes all there are, and absl's closes its stream, unless that is sys.stderr: the one of this process is not, within.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "shutdown", lambda handlers: None)
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)


def run(module: str, *arguments: str, cwd: Path, **environment: str) -> Done:
    """`python -m cold_jax.MODULE ARGUMENTS`, started in `cwd`."""
    global _events
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, own_logging():
        patch.setattr(cli, "prepare_process", lambda keep, parallel: None)  # of a process of its own
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setenv("HYDRA_FULL_ERROR", "0")
        patch.chdir(cwd)
        for name, value in environment.items():
            patch.setenv(name, value)
        _events = []
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                importlib.import_module(f"cold_jax.{module}").main()
        except SystemExit as stop:
            if isinstance(stop.code, str):
                err.write(f"error: {stop.code}\n")
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            events, _events = _events or [], None
    opened = [Path(cwd, name) for event, name in events if event == "open"]
    return Done(code, out.getvalue(), err.getvalue(), opened, [f"{event} {name}" for event, name in events if event != "open"])
