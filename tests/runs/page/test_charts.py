"""Charts as Vega-Lite compiles them."""

import pytest

from cold_jax.runs.page.charts import VEGALITE, Point, colour, quality, short


def test_quality_against_each_price() -> None:
    points = [Point("#1 a", 0.3, 100, 5.0, 2**20), Point("#2 b", 0.4, 0, 7.0, None)]
    drawn = quality(points, "cold", "recall@20", ("ease", 0.35))
    assert [chart.title for chart in drawn] == ["recall@20 and trained parameters", "recall@20 and seconds"]
    rows = drawn[0].spec["layer"][0]["data"]["values"]
    assert [(row["name"], row["price"], row["value"]) for row in rows] == [("#1", 100, 0.3), ("#2", 0, 0.4)]
    assert "ease" in drawn[0].caption
    *_, memory = quality([point._replace(memory=3 * 2**20) for point in points], "cold", "recall@20", None)
    assert memory.title == "recall@20 and peak memory (MiB)"
    assert [row["price"] for row in memory.spec["layer"][0]["data"]["values"]] == [3, 3]
    vl_convert = pytest.importorskip("vl_convert")
    for chart in drawn:
        vl_convert.vegalite_to_vega(chart.spec, VEGALITE)


def test_legends_of_few_names_only() -> None:
    assert "legend" not in colour(["a", "b"])
    assert "legend" not in colour(list(map(str, range(20))))
    assert colour(list(map(str, range(21))))["legend"] is None
    assert short("#12 adapter=lora") == "#12"
    assert short("lora user") == "lora user"
