"""Sphinx: `make docs`. Nothing is fetched, and a warning is an error."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

import generated  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import cold_jax  # noqa: E402

project = "cold_jax"
author = "The cold_jax authors"
copyright = author
version = release = cold_jax.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "myst_nb",
    "sphinx_copybutton",
]
exclude_patterns = ["extensions", "figures", "generated/commands.md", "generated/layers.md", "generated/legend.md"]
default_role = "code"

html_theme = "furo"
html_title = f"cold_jax {version}"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_theme_options = {"top_of_page_buttons": []}
smartquotes = False  # code stays code
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks run in the tests
suppress_warnings = ["myst.header"]  # an experiment's README begins where it likes

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
copybutton_prompt_text = "$ "


def setup(app: Sphinx) -> None:
    generated.write()
    app.connect("source-read", lambda _, page, source: source.__setitem__(0, generated.inside(source[0])))
