"""Badges say what pyproject.toml says, and the notebooks lead to Colab."""

import re
from pathlib import Path

import badges
import pytest

import cold_jax

ROOT = Path(__file__).parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text()


def texts(name: str) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", (ROOT / "docs" / "badges" / f"{name}.svg").read_text())


def test_a_badge_says_what_the_project_says() -> None:
    assert texts("version") == ["version", cold_jax.__version__]
    assert f'requires-python = ">={texts("python")[1].removesuffix(" or later")}"' in PROJECT
    assert f'license = "{texts("licence")[1]}"' in PROJECT
    low, high = re.findall(r"[\d.]+", texts("jax")[1])
    assert f'"jax>={low},<{high}"' in PROJECT


@pytest.mark.parametrize("name", badges.badges())
def test_it_is_drawn_by_the_script(name: str) -> None:
    assert (badges.BADGES / f"{name}.svg").read_text() == badges.svg(badges.badges()[name]), "python scripts/badges.py"


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_readme_shows_all_but_colab_s(page: str) -> None:
    shown = re.findall(r"docs/badges/(\w+)\.svg", (ROOT / page).read_text())
    assert {*shown} == badges.badges().keys() - {"colab"}


@pytest.mark.parametrize("source", sorted(badges.NOTEBOOKS.glob("*.py")), ids=lambda source: source.stem)
def test_a_notebook_leads_to_colab(source: Path) -> None:
    [line] = badges.LINK.findall(source.read_text())
    assert line == badges.colab(source.stem, badges.read()["tool"]["cold_jax"]["repository"]), "python scripts/badges.py"


def test_a_link_opens_the_notebook_where_the_repository_has_an_address() -> None:
    assert badges.colab("own_data", "someone/fork").endswith(
        "](https://colab.research.google.com/github/someone/fork/blob/main/docs/notebooks/own_data.ipynb)"
    )
