"""Vega-Lite charts. Names come from files, so they stand in the data alone, never in an expression or a field's name."""

from collections.abc import Sequence
from typing import Any, NamedTuple

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # names the grammar; nothing is fetched
VEGALITE = "6.4"  # the version that is compiled and inlined
# of Okabe and Ito (2008): distinct with any colour vision, on white and on black
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999"]
MOST_NAMES = 20  # in a legend; beyond, a chart has tooltips alone
Spec = dict[str, Any]  # JSON


class Chart(NamedTuple):
    title: str
    caption: str
    spec: Spec


class Point(NamedTuple):
    """A method's quality and its price."""

    name: str
    value: float
    trained: float | None  # parameters
    seconds: float | None
    memory: float | None  # bytes


def spec(data: Sequence[dict[str, Any]], description: str, height: int = 260, **parts: Any) -> Spec:
    """A chart as wide as its place, in the page's own colour."""
    ink = "currentColor"  # an SVG takes it from the page: light, dark and print need no second drawing
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    axis = {**text, "domainColor": ink, "tickColor": ink, "gridColor": ink, "gridOpacity": 0.15, "domainOpacity": 0.5}
    return {
        "$schema": SCHEMA,
        "description": description,
        "width": "container",
        "height": height,
        "background": "transparent",
        "data": {"values": list(data)},
        "config": {
            "view": {"stroke": None},
            "axis": axis,
            "axisX": {"labelOverlap": "parity", "grid": False},
            "legend": {
                **text,
                "orient": "bottom",
                "columns": {"expr": "max(1, floor(width / 90))"},
                "labelLimit": 280,
                "symbolStrokeWidth": 3,
            },
            "text": {"color": ink},
            "rule": {"color": ink},
        },
        **parts,
    }


def short(name: str) -> str:
    """Its number, by which the tables explain it, where it has one."""
    return name.partition(" ")[0] if name.startswith("#") else name


def colour(names: Sequence[str]) -> Spec:
    """By the field `name`, in the order of `names`."""
    return {
        "field": "name",
        "type": "nominal",
        "sort": list(names),
        "scale": {"domain": list(names), **({"range": COLOURS} if len(names) <= len(COLOURS) else {"scheme": "tableau20"})},
        "title": None,
        **({"legend": None} if len(names) > MOST_NAMES or len(names) == 1 else {}),
    }


def field(name: str, kind: str, title: str | None = None, **more: Any) -> Spec:
    return {"field": name, "type": kind, "title": title, **more}


def quality(points: Sequence[Point], part: str, metric: str, strongest: tuple[str, float] | None) -> list[Chart]:
    """A metric against trained parameters, seconds and memory. strongest: the name of the strongest baseline, and its metric."""
    names = [short(point.name) for point in points]
    prices = (
        ("trained parameters", [point.trained for point in points], "symlog"),
        ("seconds", [point.seconds for point in points], "linear"),
        ("peak memory (MiB)", [None if point.memory is None else point.memory / 2**20 for point in points], "linear"),
    )
    drawn = []
    for title, price_M, scale in prices:
        rows = [
            {"name": short(point.name), "method": point.name, "price": price, "value": point.value}
            for point, price in zip(points, price_M, strict=True)
            if price is not None
        ]
        if len(rows) < 2:
            continue
        y = field("value", "quantitative", metric, scale={"zero": False})
        methods = {
            "data": {"values": rows},
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1, "tooltip": True},
            "encoding": {
                "x": field("price", "quantitative", title, scale={"type": scale, "zero": False, "nice": True}),
                "y": y,
                "color": colour(names),
                "tooltip": [
                    field("method", "nominal", "method"),
                    field("price", "quantitative", title, format=",.4~g"),
                    field("value", "quantitative", metric, format=".4f"),
                ],
            },
        }
        line = []
        if strongest is not None:
            line = [
                {
                    "data": {"values": [{"value": strongest[1]}]},
                    "mark": {"type": "rule", "strokeDash": [6, 4]},
                    "encoding": {"y": y},
                }
            ]
        dashed = f" Dashed: {strongest[0]}, the strongest baseline there." if strongest else ""
        about = f"{metric} of {part} against {title}, a point for each of {len(rows)} methods"
        drawn.append(
            Chart(f"{metric} and {title}", f"Of {part}, means over seeds.{dashed}", spec([], about, layer=[methods, *line]))
        )
    return drawn
