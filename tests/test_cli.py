"""Of the jobs that train: memory that is kept."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from cold_jax import cli

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


@pytest.mark.parametrize(
    ("worker", "given", "seen"),
    [("LokyProcess-1", "0,1", "0"), ("LokyProcess-2", "0,1", "1"), ("LokyProcess-5", "4,6", "4"), ("MainProcess", "0,1", "0,1")],
)
def test_each_worker_of_a_sweep_sees_one_gpu(worker: str, given: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setattr(multiprocessing.current_process(), "_name", worker)
    cli.choose_device()
    cli.choose_device()  # before its next job
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
