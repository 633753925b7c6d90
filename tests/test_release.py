"""What a release must agree on, and a wheel that is the same each time."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import cold_jax

ROOT = Path(__file__).parents[1]


def test_the_version_is_one() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == cold_jax.__version__
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == cold_jax.__version__
    assert cold_jax.__version__ in headings


def test_the_citation_has_what_the_format_asks_for() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license", "type"} <= citation.keys()


@pytest.mark.parametrize("template", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md")), ids=lambda path: path.stem)
def test_a_report_asks_for_the_environment(template: Path) -> None:
    _, head, body = template.read_text().split("---\n", 2)
    assert {"name", "about"} <= yaml.safe_load(head).keys()
    assert template.stem == "idea" or "python -m cold_jax.env" in body


@pytest.mark.slow
@pytest.mark.network
def test_a_wheel_is_the_same_each_time(tmp_path: Path) -> None:
    """From two copies of what is committed, at different paths."""
    digests = set()
    for name in ("a", "b/c"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(folder)],
            env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
            capture_output=True,
            check=True,
        )
        (wheel,) = (folder / "dist").glob("*.whl")
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1
