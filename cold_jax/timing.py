"""Where a run's seconds go: what its parts report, beside JAX's own figures of tracing and compilation."""

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

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith((OURS, COMPILE)):
            seconds["compile" if event.startswith(COMPILE) else event.removeprefix(OURS)] += duration_secs

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        monitoring.unregister_event_duration_listener(listen)
