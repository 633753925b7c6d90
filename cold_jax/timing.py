"""Where a run's seconds go: what its parts report, beside JAX's own figures of tracing and compilation; and its memory."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

OURS, COMPILE = "/cold_jax/", "/jax/core/compile/"


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Reports the wall time within as `name`, to whoever gathers."""
    from jax import monitoring  # heavy

    start = time.monotonic()
    yield
    monitoring.record_event_duration_secs(OURS + name, time.monotonic() - start)


@contextmanager
def gathered() -> Iterator[dict[str, float]]:
    """Name → seconds of all that is reported within; `compile` is JAX's tracing, lowering and compilation. A name can lie in another."""
    from jax import monitoring

    seconds: dict[str, float] = defaultdict(float)
    start = time.monotonic()

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith((OURS, COMPILE)):
            # JAX reads the wall clock, which may be set meanwhile
            duration = min(max(duration_secs, 0.0), time.monotonic() - start)
            seconds["compile" if event.startswith(COMPILE) else event.removeprefix(OURS)] += duration

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        monitoring.unregister_event_duration_listener(listen)


def peak_memory() -> int | None:
    """Bytes of the largest resident set that this process has had; None where the system doesn't tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_device_memory() -> int | None:
    """Bytes that this process has held at most on its first accelerator; None on a processor, whose memory `peak_memory` tells."""
    import jax

    used = jax.local_devices()[0].memory_stats() or {}
    return used.get("peak_bytes_in_use")
