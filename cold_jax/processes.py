"""A run of many processes: how they find each other, agree on numbers, and end together. Without them, nothing of this does anything.

The first process (number 0) writes the run's folder; the others take part in the steps and in saving. Everything but a step's arrays is
each process's own, from the same files.
"""

import itertools
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from cold_jax.errors import ConfigError, ProcessLost, UserError

if TYPE_CHECKING:
    import jax
    import numpy as np

HEARTBEAT = 20  # seconds without a sign of life after which a process counts as dead
NAME = 256  # bytes of a process's name
NOTICE = 10  # seconds in which the others say, after an error, that they are there
LONGEST = 24 * 3600  # seconds that the others wait while the first fits baselines, or writes
log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Which of a run's processes this one is."""

    process: int
    names: tuple[str, ...]  # machine and number of each


_barriers = itertools.count()  # each has a name of its own
_place = [Place(0, ("this one",))]


def first() -> bool:
    return _place[0].process == 0


def count() -> int:
    return len(_place[0].names)


def start(parallel: Mapping[str, Any]) -> None:
    """Connects to the other processes of a run, if the `parallel` block of its config or srun says that there are any.

    Raises ConfigError where the choice of parallel is of one process.
    """
    coordinator, tasks = parallel.get("coordinator"), int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if coordinator is None and tasks == 1:
        return
    if "coordinator" not in parallel:
        raise ConfigError(f"parallel: srun started {tasks} processes, and this choice is of one; use parallel=mesh")
    import jax
    import numpy as np

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    given = {"coordinator_address": coordinator, "num_processes": parallel["processes"], "process_id": parallel["process"]}
    jax.distributed.initialize(
        **(given if coordinator else {}),
        cluster_detection_method="deactivate" if coordinator else "slurm",
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=HEARTBEAT,
    )
    from jax.experimental.multihost_utils import process_allgather

    name = f"{socket.gethostname()}, process {os.getpid()}".encode()[:NAME].ljust(NAME)
    names = [bytes(row).decode(errors="replace").strip() for row in process_allgather(np.frombuffer(name, np.uint8))]
    _place[0] = Place(jax.process_index(), tuple(names))
    # "leader" is what XLA calls process 0, in the message with which it ends the others at once when that one is gone
    rest = "".join(f"; {n}: {name}" for n, name in enumerate(names) if n)
    log.info("this is process %d of %d: 0, the leader: %s%s", jax.process_index(), len(names), names[0], rest)


def wait(what: str) -> None:
    """Until all processes are here."""
    if count() > 1:
        from orbax.checkpoint.multihost import sync_global_processes

        sync_global_processes(f"{what} ({next(_barriers)})", timeout=LONGEST, processes=set(range(count())))


def share(make: Callable[[], bytes], size: int) -> bytes:
    """What the first process makes, at most `size` bytes, for all."""
    if count() == 1:
        return make()
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    made = make() if first() else b""
    buffer = np.zeros(size + 8, np.uint8)
    buffer[:8] = np.frombuffer(len(made).to_bytes(8, "little"), np.uint8)
    buffer[8 : 8 + len(made)] = np.frombuffer(made, np.uint8)
    shared = np.asarray(broadcast_one_to_all(buffer)).tobytes()
    return shared[8 : 8 + int.from_bytes(shared[:8], "little")]


def from_first(array: "jax.Array | np.ndarray") -> "np.ndarray":
    """The first process's numbers."""
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return np.asarray(broadcast_one_to_all(np.asarray(array)))


def to_host(array: "jax.Array | np.ndarray") -> "np.ndarray":
    """A whole array, whichever processes hold its parts; all of them must call it."""
    import numpy as np

    if count() == 1 or isinstance(array, np.ndarray) or array.is_fully_addressable:
        return np.asarray(array)
    if array.is_fully_replicated:
        return np.asarray(array.addressable_data(0))
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(array, tiled=True))


def stop_wanted(step: int) -> bool:
    """Whether some process has had SIGTERM; all hear of it at the same step."""
    from jax.experimental.multihost_utils import reached_preemption_sync_point

    return reached_preemption_sync_point(step)


def lost(error: BaseException) -> ProcessLost | None:
    """After an error: whether it came of another process that has stopped, and of which."""
    if count() == 1 or isinstance(error, UserError):
        return None
    from orbax.checkpoint.multihost import sync_global_processes

    try:
        sync_global_processes("after an error", timeout=NOTICE, processes=set(range(count())))
    except Exception as silent:  # the coordination service's
        return ProcessLost(
            f"{_who(str(silent))}: has stopped, and its own output says why; go on from the last checkpoint with resume="
        )
    return None


def _who(message: str) -> str:
    """The processes that the coordination service's message says it has not heard of."""
    found = re.search(r"(?:task names:|unhealthy[^\n]*:)\s*((?:\d+\s+)+)", f"{message}\n") or re.search(r"[Tt]ask (\d+)", message)
    numbers = [int(n) for n in found[1].split()] if found else [0]  # process 0 has the service
    return ", ".join(f"process {n} ({_place[0].names[n]})" for n in numbers)


def leave(code: int) -> None:
    """Ends this process after an error without waiting for the others, which notice it within HEARTBEAT seconds."""
    if count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
