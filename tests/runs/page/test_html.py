"""The page as a file: it fetches nothing, and no name in a run's folder becomes a part of it."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_compare import BASE_U, write

from cold_jax.report import main
from cold_jax.runs.folder import Run
from cold_jax.runs.page.charts import Chart
from cold_jax.runs.page.html import _embedded

pytest.importorskip("vl_convert")
pytest.importorskip("jinja2")
HOSTILE = """</script><script>document.title="owned"</script><img src=x onerror=alert(1)>'"&{{7*7}}"""
CHROMIUM = shutil.which("chromium")
VOID = {"meta", "br", "img", "link", "input"}


class Elements(HTMLParser):
    """The elements of a page with their attributes, the text of its scripts, and whether each element ends."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of runs whose every name is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    for seed in (1, 2):
        path = write(
            folder / f"{seed}",
            seed=seed,
            experiment=HOSTILE,
            baselines={HOSTILE: BASE_U - 0.02},
            users=HOSTILE,
            part=HOSTILE,
            metric=HOSTILE,
            config=f"adapter: {{rank: {seed}}}",
            overrides=[HOSTILE, f"adapter.rank={seed}"],
        )
        for step in range(3):
            Run(path).append_metrics({"step": step, "metric": step / seed, "loss": 1.0 * step})
    main([str(folder), "--metric", HOSTILE, "--html", str(folder / "page.html")])
    return folder / "page.html"


def test_it_is_well_formed_and_fetches_nothing(hostile: Path) -> None:
    text = hostile.read_text()
    page = Elements()
    page.feed(text)
    assert page.open == []
    assert {tag for tag, _ in page.elements} & {"img", "link", "iframe", "object", "base", "a"} <= {"a"}
    assert [attributes["href"] for tag, attributes in page.elements if tag == "a"] == ["#main"]
    assert not [
        attributes for _, attributes in page.elements if "src" in attributes or any(key.startswith("on") for key in attributes)
    ]
    specs, bundle, own = page.scripts
    policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
    assert policy is not None
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in (bundle, own)]
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert policy.startswith("default-src 'none';")
    assert all(chart["$schema"].startswith("https://vega.github.io/schema/") for chart in json.loads(specs))
    assert len(json.loads(specs)) == sum("data-chart" in attributes for _, attributes in page.elements)
    assert "49" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL).partition("{{7*7}}")[0][-50:]
    assert "</script><script>document" not in text


def test_no_name_in_a_chart_ends_the_element_that_holds_it() -> None:
    spec = {"data": {"values": [{"name": "</script><!--&\u2028\u2029>"}]}}
    text = _embedded([Chart("", "", spec)])
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == [spec]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1300])
def test_in_a_browser(hostile: Path, width: int, scheme: str, tmp_path: Path) -> None:
    """Every chart is drawn, no foreign script runs. COLD_JAX_SCREENSHOTS=FOLDER keeps the pictures."""
    assert CHROMIUM is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
    options += [f"--window-size={width},4000", f"--user-data-dir={tmp_path}/profile"]
    options += [f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"]
    folder = Path(os.environ.get("COLD_JAX_SCREENSHOTS", tmp_path))
    picture = folder / f"report_{width}_{scheme}.png"
    for what in ("--dump-dom", f"--screenshot={picture}"):
        done = subprocess.run(
            [CHROMIUM, *options, what, hostile.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        if what == "--dump-dom":
            assert done.stdout.count('data-drawn="yes"') == done.stdout.count("data-chart=") > 0
            assert "<title>cold_jax: report</title>" in done.stdout
            assert "Refused" not in done.stderr
    assert picture.stat().st_size > 20_000
