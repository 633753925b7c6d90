"""Strict settings for every test: silent JAX mistakes become failures (after equinox's own conftest)."""

import atexit
import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

# Most of the time of a short run is compilation: without LLVM's passes, and with the older of XLA's two emitters, it takes a third.
# jaxlib 0.12 has one emitter, and does not start with a flag that it does not know.
os.environ["TEST_XLA_FLAGS"] = (  # of commands
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10.")
)
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2 {os.environ['TEST_XLA_FLAGS']}"
)
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["WANDB_MODE"] = "disabled"
# Compiled programs are shared by all tests of a session, its workers and the processes they start; nothing else is (own_cache below).
if "TEST_PROGRAMS" not in os.environ:
    os.environ["TEST_PROGRAMS"] = tempfile.mkdtemp(prefix="programs-")
    atexit.register(shutil.rmtree, os.environ["TEST_PROGRAMS"], ignore_errors=True)
os.environ["TEST_PROGRAMS"] = os.path.abspath(os.environ["TEST_PROGRAMS"])
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["TEST_PROGRAMS"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import pytest
from hypothesis import settings

settings.register_profile("tests", deadline=None)  # a loaded machine is slow, not wrong
settings.load_profile("tests")
NUMBERS = itertools.count()  # of caches


def pytest_configure() -> None:
    os.makedirs(os.environ["TEST_PROGRAMS"], exist_ok=True)


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: the collector need not look at it again, nor as often as in a small program."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session that its workers share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(autouse=True, scope="session")
def own_signing_key(all_workers: Path) -> Iterator[None]:
    """Runs of the tests are signed by a key of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(all_workers / "data"))
        yield


@pytest.fixture(autouse=True)
def own_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that need no asset get a cache of their own, so that none passes by what an earlier run left."""
    if request.node.get_closest_marker("assets") is None and request.node.get_closest_marker("network") is None:
        # made by what first writes there: a folder for each of thousands of tests would have to be counted by each mktemp
        monkeypatch.setenv("COLD_JAX_CACHE", str(tmp_path_factory.getbasetemp() / "caches" / str(next(NUMBERS))))


@pytest.fixture(scope="session")
def finished(all_workers: Path) -> Path:
    """The folder of a run that python -m cold_jax.train made, with its cache beside it, for tests that only read it; all workers share it."""
    import runs
    from filelock import FileLock

    folder = all_workers / "finished"
    with FileLock(f"{folder}.lock"):
        if not (folder / "run" / "results.json").exists():
            folder.mkdir()
            done = runs.run(
                "train", *runs.smoke(folder / "run", "baseline=[popularity,random]"), cwd=folder, cache=folder / "cache"
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def recommender(finished: Path, tmp_path_factory: pytest.TempPathFactory):
    """That run, loaded."""
    import cold_jax

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLD_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield cold_jax.load(finished)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory):
    """The small data of small.py, prepared as a run prepares it."""
    import small

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLD_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        return small.prepared()


@pytest.fixture(scope="session")
def eight_devices(all_workers: Path) -> Path:
    """What a process with eight devices left (eight.py); all workers share it."""
    import subprocess
    import sys

    from filelock import FileLock

    folder = all_workers / "eight_devices"
    with FileLock(f"{folder}.lock"):
        if not (folder / "report.json").exists():
            folder.mkdir()
            flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
            paths = {"COLD_JAX_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
            script = Path(__file__).with_name("eight.py")
            done = subprocess.run(
                [sys.executable, script, folder], env={**os.environ, **paths, "XLA_FLAGS": flags}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def lora_run(prepared):
    """(setup, losses, states) of LoRA with dropout by plain gradient descent on one device: the run that others are compared with."""
    import small

    le = small.perturbed(small.train_setup(prepared, small.DROPOUT, small.TWO_TOWER))
    return le, *small.fit(le, small.SOFTMAX, small.DESCENT, small.STEPS)
