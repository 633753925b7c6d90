"""Real database servers, for the tests marked `database`."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "databases.sh"


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, str]]:
    """mariadb and postgresql → the address of a private server, of those that are installed."""
    folder = Path(tempfile.mkdtemp(prefix="databases-"))  # not pytest's, which the servers' own users may not enter
    try:
        done = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        lines = (line.partition("=") for line in done.stdout.splitlines())
        yield {name.removeprefix("COLD_JAX_TEST_").lower(): uri for name, _, uri in lines}
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)
