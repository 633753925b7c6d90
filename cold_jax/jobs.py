"""A job of a sweep in a process of its own (+launcher=processes): one that is killed or aborts takes no other with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from cold_jax.cli import OF_SWEEP, Invocation, choose_device

NOTED = 3  # exit code of a job that has noted in the sweep's list why it failed
_ENDED = {
    130: "it was interrupted",
    143: "SIGTERM ended it; the same command again goes on from its last step",
}


def run_apart(name: str, flags: Sequence[str], job: Invocation) -> str | None:
    """Runs a job of a sweep by `python -m cold_jax.NAME`, and waits for it.

    The child ends with this process, however that ends: it saves its step, as after SIGTERM.

    Args:
      flags: of the command line, as --config-dir.

    Returns:
      None where it is done; why it failed, which is "" where it has noted that itself.
    """
    choose_device()  # by the name of this process
    command = [sys.executable, "-m", f"cold_jax.{name}", *flags, *job.overrides, f"hydra.run.dir={job.folder}", "hydra.mode=RUN"]
    environment = os.environ | {OF_SWEEP: json.dumps({"sweep": str(job.sweep), "number": job.number})}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as child:
        code = child.wait()
    return None if code == 0 else "" if code == NOTED else _ENDED.get(code) or _reason(code)


def _reason(code: int) -> str:
    if code >= 0:
        return f"its process exited with {code}"
    with suppress(ValueError):
        number = signal.Signals(-code)
        why = ", as it does where memory runs out" if number == getattr(signal, "SIGKILL", None) else ""
        return f"{number.name} ended its process{why}"
    return f"signal {-code} ended its process"


def end_with_parent() -> None:
    """In a child of `run_apart`: SIGTERM to itself once its parent is gone, which closes its stdin."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
