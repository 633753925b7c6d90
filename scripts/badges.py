"""python scripts/badges.py: docs/badges/*.svg from pyproject.toml, and the notebooks' links to Colab.

Nothing is claimed that a file of the repository does not say. The address of the repository, once it has one, is `repository` of
[tool.cold_jax] in pyproject.toml; until then the links lead to Colab's start page.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import cold_jax

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"
BADGES = ROOT / "docs" / "badges"
GREY, BLUE, GREEN, ORANGE = "#555", "#1f6feb", "#2ea043", "#e8710a"
CHARACTER, MARGIN = 6.4, 6  # pixels: of Verdana at 11, on average; on either side of a text
LINK = re.compile(r"^# \[!\[Open in Colab\].*$", re.MULTILINE)


class Badge(NamedTuple):
    left: str
    right: str
    colour: str


def badges() -> dict[str, Badge]:
    """Name → badge."""
    project = read()["project"]
    lowest = re.fullmatch(r">=([\d.]+)", project["requires-python"])
    jax = next(found for line in project["dependencies"] if (found := re.fullmatch(r"jax>=([\d.]+),<([\d.]+)", line)))
    assert lowest is not None
    return {
        "version": Badge("version", cold_jax.__version__, BLUE),
        "python": Badge("Python", f"{lowest[1]} or later", BLUE),
        "jax": Badge("JAX", f"≥ {jax[1]}, < {jax[2]}", BLUE),
        "licence": Badge("licence", project["license"], GREEN),
        "colab": Badge("Open in", "Colab", ORANGE),
    }


def read() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def svg(badge: Badge) -> str:
    """Two texts on two grounds."""
    left, right = (round(len(text) * CHARACTER + 2 * MARGIN) for text in (badge.left, badge.right))
    label = f"{badge.left}: {badge.right}".replace("<", "&lt;")
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{label}">
  <title>{label}</title>
  <clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath>
  <g clip-path="url(#r)"><rect width="{left}" height="20" fill="{GREY}"/><rect x="{left}" width="{right}" height="20" fill="{badge.colour}"/></g>
  <g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
    <text x="{left / 2}" y="14">{badge.left}</text>
    <text x="{left + right / 2}" y="14">{badge.right.replace("<", "&lt;")}</text>
  </g>
</svg>
"""


def colab(name: str, repository: str) -> str:
    """The line of a notebook's first cell; `repository` is OWNER/NAME on GitHub, or empty."""
    badge = "# [![Open in Colab](../badges/colab.svg)]"
    if not repository:
        return f"{badge}(https://colab.research.google.com/) (*File → Upload notebook*: this file)"
    return f"{badge}(https://colab.research.google.com/github/{repository}/blob/main/docs/notebooks/{name}.ipynb)"


def main() -> None:
    BADGES.mkdir(exist_ok=True)
    for name, badge in badges().items():
        (BADGES / f"{name}.svg").write_text(svg(badge))
    repository = read()["tool"]["cold_jax"]["repository"]
    for path in sorted(NOTEBOOKS.glob("*.py")):
        line = colab(path.stem, repository)
        path.write_text(LINK.sub(lambda _, line=line: line, path.read_text()))
    print("now: python scripts/notebooks.py --update, which writes the .ipynb beside each .py")


if __name__ == "__main__":
    main()
