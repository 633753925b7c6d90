"""A page as one HTML file: no network, no script but its own, and no name in a run's folder that becomes one.

jinja2 escapes every text; the Content-Security-Policy lets run only the two scripts whose digests it names, and forbids every request.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from cold_jax.errors import ConfigError
from cold_jax.runs.page.charts import VEGALITE, Chart
from cold_jax.runs.page.leaderboard import Page

HERE = Path(__file__).parent


def html(page: Page) -> str:
    """Raises ConfigError without the packages of the extra `report`."""
    try:
        import vl_convert  # pyright: ignore[reportMissingImports]
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ConfigError(f"--html: {error.name} is not installed; pip install 'cold_jax[report]'") from None
    # its stub does not know of the default snippet, None
    bundle = vl_convert.javascript_bundle(None, VEGALITE)  # pyright: ignore[reportArgumentType]
    scripts = [bundle, (HERE / "page.js").read_text()]
    for script in scripts:
        if "</script" in script or "<!--" in script:
            raise AssertionError("a script of this page would end its own element")
    charts = [chart for section in page.sections for chart in section.charts]
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        page=page,
        scripts=scripts,
        digests=[_digest(script) for script in scripts],
        style=(HERE / "page.css").read_text(),
        specs=_embedded(charts),
    )


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _embedded(charts: Sequence[Chart]) -> str:
    """JSON that an HTML parser cannot take for an element's end."""
    text = json.dumps([chart.spec for chart in charts], allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
