"""The notebooks: .py and .ipynb are one, and they run."""

from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="pip install -e '.[docs]'")
FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_pair_is_one(source: Path) -> None:
    """`python scripts/notebooks.py` writes the second."""
    pairs = [
        [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells] for path in (source, source.with_suffix(".ipynb"))
    ]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_notebook_says_how_it_is_used(source: Path) -> None:
    text = source.read_text()
    assert text.index("On Colab") < text.index("SMALL = True") < text.index("import cold_jax\n")
    assert source.with_suffix(".ipynb").stat().st_size < 400_000


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_notebook_runs(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import notebooks

    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    monkeypatch.setenv("COLD_JAX_CACHE", str(tmp_path / "cache"))
    notebook = notebooks.run(source, tmp_path)
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/svg+xml" in output.get("data", {}) for output in shown) == {"own_data": 0, "quickstart": 2}.get(
        source.stem, 2
    )
    assert any("text/html" in output.get("data", {}) for output in shown)
