"""Of the jobs that train: memory that is kept."""

import subprocess
import sys

import pytest

MINOR_FAULTS = """
import resource
import sys
from cold_jax import cli
if sys.argv[1] == "keep":
    cli.keep_memory()
import numpy as np
faults = []
for _ in range(30):
    x = np.ones(12_000_000)
    del x
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_kept_memory_is_not_mapped_again() -> None:
    """By the kernel's count of pages that were mapped for 96 MB, after the first time."""
    done = {
        how: subprocess.run([sys.executable, "-c", MINOR_FAULTS, how], capture_output=True, text=True, check=True).stdout
        for how in ("keep", "leave")
    }
    assert int(done["keep"]) < int(done["leave"]) / 10
