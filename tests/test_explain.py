"""python -m cold_jax.explain run=DIR."""

import json
from pathlib import Path

import pytest
import runs


def test_an_explanation_as_json(finished: Path) -> None:
    arguments = (f"run={finished}", "--user", "007", "--item", "050", "texts=1", "format=json")
    done = runs.run("explain", *arguments, cwd=finished.parent, cache=finished.parent / "cache")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["user"], found["item_id"]) == ("007", "050")
    assert sum(found[name] for name in ("item", "user_bias", "profile", "history")) == pytest.approx(found["score"], abs=1e-6)
    assert found["completeness"]["error"] <= 0.01


@pytest.mark.slow
def test_a_missing_item_is_named(finished: Path) -> None:
    done = runs.run("explain", f"run={finished}", "--user", "007", cwd=finished.parent, cache=finished.parent / "cache")
    assert done.returncode == 1
    assert "item: give the id of an item" in done.stderr
