"""python scripts/notebooks.py [NAME …]: runs docs/notebooks/NAME.py and writes NAME.ipynb beside it, with what its cells show.

With --update nothing is run: the cells of code that have not changed keep what they showed.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jupytext  # pyright: ignore[reportMissingImports]
from jupytext.combine import combine_inputs_with_outputs  # pyright: ignore[reportMissingImports]
from nbclient import NotebookClient  # pyright: ignore[reportMissingImports]
from nbformat import NotebookNode  # pyright: ignore[reportMissingImports]

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
TIMEOUT = 600  # seconds of a cell
LONGEST = 20_000  # characters of an output that is kept


def run(source: Path, folder: Path) -> NotebookNode:
    """The notebook of a .py in jupytext's percent format, run in `folder`. Raises CellExecutionError where a cell fails."""
    notebook = jupytext.read(source)
    NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def tidy(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Without what differs from machine to machine: times of cells, the run's folder, progress on stderr, versions of the kernel."""
    notebook.metadata.pop("language_info", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                shown = output.get("data", {})
                for form, text in shown.items():
                    whole = "".join(text) if isinstance(text, list) else text
                    if isinstance(whole, str):
                        shown[form] = whole.replace(str(folder), ".")
                        assert len(whole) <= LONGEST or form != "text/plain", f"cell {number}: {len(whole)} characters"
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="without its ending; none: all")
    parser.add_argument("--update", action="store_true", help="run nothing")
    args = parser.parse_args()
    for source in sorted(FOLDER.glob("*.py")):
        if not args.names or source.stem in args.names:
            start = time.monotonic()
            if args.update:
                notebook = combine_inputs_with_outputs(jupytext.read(source), jupytext.read(source.with_suffix(".ipynb")))
                jupytext.write(tidy(notebook, FOLDER), source.with_suffix(".ipynb"))
                continue
            with tempfile.TemporaryDirectory() as folder:
                notebook = tidy(run(source, Path(folder)), Path(folder))
            jupytext.write(notebook, source.with_suffix(".ipynb"))
            print(f"{source.stem}: {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
