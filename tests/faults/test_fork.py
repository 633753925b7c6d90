"""No worker hangs or warns where its parent has read texts and computed, which leaves threads behind: workers are spawned, never forked."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults
CODE = Path(__file__).parents[2] / "cold_jax"
PARENT = """
import sys, warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import joblib
import jax.numpy as jnp
from cold_jax.encoders import CHARACTERS
from cold_jax.text.tokens import tokenize

def encode(n):
    tokens = tokenize(CHARACTERS, [f"a text {i} of {n}" for i in range(500)], 16, keep=False).token_N
    return int(jnp.asarray(tokens).sum())

if __name__ == "__main__":
    warnings.simplefilter("error")
    before = [encode(n) for n in range(4)]
    if sys.argv[1] == "spawn":
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            after = list(pool.map(encode, range(4)))
    else:
        after = joblib.Parallel(n_jobs=2)(joblib.delayed(encode)(n) for n in range(4))
    assert after == before, (after, before)
    print("done")
"""


@pytest.mark.parametrize(
    "workers",  # joblib's are those of hydra/launcher=joblib
    ["joblib", *(pytest.param(workers, marks=pytest.mark.slow) for workers in [*["joblib"] * 9, *["spawn"] * 10])],
)
def test_workers_of_a_parent_with_threads_end(tmp_path: Path, workers: str) -> None:
    pytest.importorskip("joblib")
    (tmp_path / "parent.py").write_text(PARENT)
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "parent.py", workers],
        cwd=tmp_path,
        env=os.environ | {"COLD_JAX_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert "TOKENIZERS_PARALLELISM" not in done.stderr


def test_nothing_forks_and_no_guard_is_taken_away() -> None:
    for path in sorted(CODE.rglob("*.py")):
        assert not re.search(r"os\.fork|get_context\(|set_start_method|TOKENIZERS_PARALLELISM", path.read_text()), path
