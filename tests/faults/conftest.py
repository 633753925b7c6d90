"""The run that nothing disturbs, and a cache that is warm after it."""

from pathlib import Path

import harness
import pytest


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    code, output = harness.train(folder, *harness.arguments(folder / "golden"))
    assert code == 0, output
    harness.check_same(folder / "golden", folder / "golden")
    return folder
