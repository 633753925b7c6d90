"""Signals that end a training: the step under way is finished and saved first."""

import os
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType

from cold_jax import processes

TERMINATED = 143  # 128 + SIGTERM, as a shell reports a process that the signal ended
WARNING: signal.Signals | None = getattr(signal, "SIGUSR2", None)  # not on Windows


class Terminate:
    """After SIGTERM the step is finished and saved; a second one ends the process at once.

    A handler that was there before is called as well. SIGUSR2 is left alone unless somebody handles it: submitit, which is warned by it of
    preemption and of the time limit, queues the job again and exits; here once the step is saved. Forked children leave signals to their
    parent. Of many processes all stop at one step, which jax's own handler finds.
    """

    def __init__(self) -> None:
        self.requested, self.before, self.process = False, None, os.getpid()
        self.signal = "SIGTERM"
        self.requeue: Callable[[], object] = lambda: None
        self.warned: Callable[[int, FrameType | None], object] | int | None = None

    def install(self) -> None:
        # After the first step: until it is compiled there is nothing to save, and the signal may end the process.
        if self.before is None and processes.count() == 1:
            self.before = signal.signal(signal.SIGTERM, self._request)
            if WARNING is not None and callable(signal.getsignal(WARNING)):
                self.warned = signal.signal(WARNING, self._request_requeue)

    def look(self, step: int) -> None:
        if processes.count() > 1:
            self.requested |= processes.stop_wanted(step)

    def remove(self) -> None:
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)
        if WARNING is not None and self.warned is not None:
            signal.signal(WARNING, self.warned)

    def _request_requeue(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self.process and callable(self.warned):
            self.requested, self.signal, self.requeue = True, "SIGUSR2", partial(self.warned, number, frame)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:
            return
        if self.requested and self.signal == "SIGTERM":
            os._exit(TERMINATED)
        self.requested = True
        if callable(self.before):
            self.before(number, frame)
