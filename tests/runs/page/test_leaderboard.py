"""What a page shows, on folders written as runs."""

from pathlib import Path

import numpy as np
import pytest
from test_compare import BASE_U, write

from cold_jax.evaluation.statistics import Comparison
from cold_jax.runs.compare import Difference, compare_runs, scan_runs
from cold_jax.runs.page.leaderboard import Page, difference_text, first_cold, outcome, page


def shown(folder: Path) -> Page:
    found = scan_runs([folder])
    return page("title", found.finished, compare_runs(found.finished, ()), [], None)


def test_methods_are_sorted_and_compared_with_the_strongest_baseline(tmp_path: Path) -> None:
    baselines = {"ease": BASE_U - 0.02, "popularity": BASE_U - 0.1}
    for seed in (1, 2):
        write(tmp_path / f"{seed}", seed=seed, baselines=baselines)
    write(
        tmp_path / "worse", config="adapter: {_target_: cold_jax.adapters.full.Full}", values_U=BASE_U - 0.05, baselines=baselines
    )
    [section] = shown(tmp_path).sections
    [table] = section.figures
    assert [row.name.partition(" ")[0] for row in table.rows] == ["#1", "ease", "#2", "popularity"]
    first, ease, second, popularity = (row.cells[0] for row in table.rows)
    assert first.value == pytest.approx(BASE_U.mean())
    assert (first.outcome, second.outcome, popularity.outcome) == ("better", "below", "")
    assert first.versus.startswith("+0.0200 [+0.0200, +0.0200], p 0.0")
    assert (ease.strongest, popularity.strongest, first.strongest) == (True, False, False)
    assert first.best
    assert [name for name, _ in table.pairs] == [f"{table.rows[0].name} − {table.rows[2].name}"]
    assert [cost.name for cost in section.costs] == [table.rows[0].name, table.rows[2].name]
    assert len(section.origins) == 3


def test_a_difference_is_judged_by_the_corrected_p() -> None:
    def of(difference: float, p: float, **corrected: float) -> Difference:
        found: Comparison = {"difference": difference, "ratio": None, "ci95": [0.01, 0.03], "p": p, **corrected}  # type: ignore[typeddict-item]
        return {"a": "a", "b": "b", "part": "cold", "metric": "recall@20", "found": found}

    assert [outcome(of(0.02, 0.01)), outcome(of(-0.02, 0.01)), outcome(of(0.02, 0.05))] == ["better", "below", "none"]
    assert outcome(of(0.02, 0.01, p_holm=0.2)) == "none"
    assert difference_text(of(0.02, 0.01, p_holm=0.2)) == "+0.0200 [+0.0100, +0.0300], p 0.2000"


def test_methods_are_sorted_by_the_first_cold_part() -> None:
    assert first_cold(["warm", "cold", "support_5"]) == "cold"
    assert first_cold(["all", "warm", "x"]) == "x"
    assert first_cold(["warm"]) == "warm"


def test_other_data_and_other_protocols_are_other_sections(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", part="cold")
    write(tmp_path / "c", users="v")
    sections = shown(tmp_path).sections
    assert len(sections) == 3
    assert {tuple(table.parts) for section in sections for table in section.figures} == {("support_5",), ("cold",)}


def test_a_chart_of_each_difference_counts_every_user(tmp_path: Path) -> None:
    values_U = BASE_U + np.where(np.arange(len(BASE_U)) < 7, 0.1, 0) - np.where(np.arange(len(BASE_U)) > 24, 0.2, 0)
    write(tmp_path / "a", values_U=values_U, baselines={"ease": BASE_U})
    [section] = shown(tmp_path).sections
    [chart] = section.charts
    assert chart.caption == "recall@20 of support_5: 7 users gain, 5 lose, 18 are the same."
    bars = chart.spec["data"]["values"]
    assert sum(bar["users"] for bar in bars) == len(BASE_U)
    assert sum(bar["users"] for bar in bars if bar["low"] > 0.05) == 7
