"""Users in the page of a report: who gains and who loses, and what ten of them are recommended."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from cold_jax.errors import DataError, RunError
from cold_jax.runs.compare import RunRecord, paired_values, users_by_method
from cold_jax.runs.folder import Run
from cold_jax.runs.page.charts import Chart, field, short, spec

BINS, SHOWN_USERS, SHOWN_ITEMS = 25, 10, 10


class Item(NamedTuple):
    item_id: str
    title: str  # "" where only ids are shown
    hit: bool  # among those that the user took, held out


class Listed(NamedTuple):
    user_id: str
    value: float
    items: list[Item]


class Lists(NamedTuple):
    """The first places of some users' rankings, from the worst served to the best."""

    method: str
    part: str
    metric: str
    users: list[Listed]


def histograms(
    groups: Mapping[str, Sequence[RunRecord]], names: Sequence[str], strongest: str | None, part: str, metric: str
) -> list[Chart]:
    """The paired differences of these methods to the strongest baseline, by user."""
    values = users_by_method({name: groups[name] for name in names})
    drawn = []
    for name in names:
        if (part, metric, name) not in values or (part, metric, strongest) not in values:
            continue
        a_U, b_U = paired_values(values[part, metric, name], values[part, metric, strongest])
        if len(a_U) < 2:
            continue
        difference_U = a_U - b_U
        better, worse = int((difference_U > 0).sum()), int((difference_U < 0).sum())
        reach = float(np.abs(difference_U).max()) or 1.0
        count_N, edge_N = np.histogram(difference_U, BINS, (-reach, reach))
        bars = [
            {"low": float(low), "high": float(high), "users": int(count)}
            for count, low, high in zip(count_N, edge_N[:-1], edge_N[1:], strict=True)
            if count
        ]
        drawn.append(
            Chart(
                f"{short(name)} less {strongest}, by user",
                f"{metric} of {part}: {better} users gain, {worse} lose, {len(a_U) - better - worse} are the same.",
                spec(
                    bars,
                    f"histogram of the difference in {metric} over {len(a_U)} users",
                    height=180,
                    layer=[
                        {
                            "mark": {"type": "bar", "color": "#0072B2", "tooltip": True},
                            "encoding": {
                                "x": field(
                                    "low", "quantitative", f"difference in {metric}", bin="binned", axis={"format": "+.3~f"}
                                ),
                                "x2": {"field": "high"},
                                "y": field("users", "quantitative", "users", stack=None, axis={"tickMinStep": 1}),
                            },
                        },
                        {"mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"datum": 0}}},
                    ],
                ),
            )
        )
    return drawn


def recommended(run: RunRecord, method: str, part: str, metric: str, titles: Mapping[str, str]) -> Lists | None:
    """Users spread evenly over the values of the metric. None where the run has kept no readable ranking of the part."""
    try:
        rankings = pl.DataFrame(Run(run.path).read_rankings()._asdict())
        rows = Run(run.path).read_split()
    except (RunError, DataError, OSError):
        return None
    of_part = (pl.col("part") == part) & (pl.col("metric") == metric) & pl.col("method").is_null()
    values = run.users.filter(of_part).join(
        rankings.filter(pl.col("part") == part).select("user_id").unique(), "user_id", how="semi"
    )
    if values.is_empty():
        return None
    values = values.sort("value", "user_id")
    at = np.unique(np.linspace(0, len(values) - 1, SHOWN_USERS).round().astype(int))
    chosen = values[at.tolist()].select("user_id", "value").rows()
    names = {user for user, _ in chosen}
    held_out = {(user, item) for user, item, label in zip(*rows, strict=True) if user in names and label.endswith("_test")}
    top = rankings.filter((pl.col("part") == part) & (pl.col("rank") <= SHOWN_ITEMS)).sort("rank")
    items = dict(top.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())
    listed = [
        Listed(user, value, [Item(item, titles.get(item, ""), (user, item) in held_out) for item in items[user]])
        for user, value in chosen
    ]
    return Lists(method, part, metric, listed)
