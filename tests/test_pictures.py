"""scripts/pictures.py: every experiment with a table of rows has a picture of them, and the picture has the table's figures."""

import json
import re
from pathlib import Path

import pictures
import pytest

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def row(method: str, kind: str, mean: float, ci95: list[float] | None, metric: str = "recall@20") -> pictures.Row:
    return {"data": "Cold items", "part": "cold", "metric": metric, "method": method, "kind": kind, "mean": mean, "ci95": ci95}


def test_a_point_lies_at_its_mean_within_its_interval() -> None:
    rows = [
        row("a", "closed_form", 0.2, [0.15, 0.26]),
        row("b", "baseline", 0.3, None),
        row("a", "closed_form", 0.7, None, "ndcg@20"),
    ]
    figure = pictures.draw(rows, [pictures.Panels("Cold", [("cold", "recall@20"), ("cold", "ndcg@20")])])
    recall, ndcg = (part for of in figure.subfigs for part in of.axes)
    assert [label.get_text() for label in recall.get_yticklabels()] == ["b", "a"]  # the best on top
    assert [[*map(float, line.get_xdata())] for line in recall.lines] == [[0.3], [0.15, 0.26], [0.2]]
    assert [[*map(float, line.get_ydata())] for line in recall.lines] == [[0], [1, 1], [1]]
    assert [[*map(float, line.get_xdata())] for line in ndcg.lines] == [[0.7]]
    assert [recall.lines[0].get_color(), recall.lines[2].get_color()] == [
        pictures.COLOUR["baseline"],
        pictures.COLOUR["closed_form"],
    ]


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in EXPERIMENTS.glob("*/README.md")), ids=lambda folder: folder.name
)
def test_every_page_has_a_picture(folder: Path) -> None:
    shown = re.findall(r"!\[[^\]]+\]\((\w+\.svg)\)", (folder / "README.md").read_text())
    assert shown
    assert all((folder / name).is_file() for name in shown)
    assert ("rows.svg" in shown) == (folder.name in pictures.PICTURES)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_the_picture_names_every_method_of_its_columns(name: str) -> None:
    rows = json.loads((EXPERIMENTS / name / "table.json").read_text())
    text = (EXPERIMENTS / name / "rows.svg").read_text().replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
    for panels in pictures.PICTURES[name]:
        assert panels.data in text
        for column in panels.columns:
            [data] = {row["data"] for row in rows if row["data"].startswith(panels.data)}
            found = pictures.cells(rows, data, column)
            assert found, column
            assert all(f">{method}<" in text for method in found)
