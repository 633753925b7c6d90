"""What baselines need is compared with the memory there is before anything is computed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cold_jax.errors import NotEnoughMemory
from cold_jax.splits.tasks import TrainView

GIGABYTE = 1e9
DOUBLE = 8  # bytes
MEMINFO = Path("/proc/meminfo")


class Sized(Protocol):
    def needs(self, train: TrainView) -> int:
        """An estimate of the bytes that a fit holds at its peak, beside the data."""
        ...


def check_memory(fits: Mapping[str, Sized], train: TrainView, available: int | None) -> None:
    """Raises NotEnoughMemory for the first fit that needs more than is available; keys are those of the config (`baseline.ease`)."""
    for key, fit in fits.items():
        needs = fit.needs(train)
        if available is not None and needs > available:
            raise NotEnoughMemory(
                f"{key}: needs about {needs / GIGABYTE:.1f} GB for {len(train.users):,} users and {len(train.items):,} items, and "
                f"{available / GIGABYTE:.1f} GB are available; {_way_out(key, fit)}"
            )


def _way_out(key: str, fit: Sized) -> str:
    """The setting that helps."""
    dense = getattr(fit, "dense_items", None)
    other = f"set {key}.dense_items below {dense}, so that it is computed in factors, or " if dense is not None else ""
    return f"{other}leave it out of {key.split('.')[0]}" if "." in key else f"{other}choose another {key}"


def available_memory() -> int | None:
    """Bytes that the process can still have: the machine's, or less where its control group has a limit; None where nobody knows."""
    found = []
    if MEMINFO.is_file():
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    elif {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit, used = (Path("/sys/fs/cgroup", f"memory.{name}") for name in ("max", "current"))
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdecimal():
        found.append(max(int(text) - int(used.read_text()), 0))
    return min(found, default=None)
