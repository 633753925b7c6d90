"""What a report reads of a run's own data."""

from pathlib import Path

import pytest

from cold_jax.reports import item_titles, write_page
from cold_jax.runs.compare import compare_runs, scan_runs


def test_titles_are_the_items_texts(finished: Path, recommender) -> None:
    [run] = scan_runs([finished]).finished
    titles = item_titles(run)
    items = recommender.prepared.dataset.items
    assert titles == dict(zip(items.ids, next(iter(items.texts.values())), strict=True))


def test_a_page_of_a_run(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    found = scan_runs([finished])
    tables = compare_runs(found.finished, ())
    write_page(tmp_path / "page.html", found, tables, ["unfinished: a<b"], titles=True)
    text = (tmp_path / "page.html").read_text()
    titles = item_titles(found.finished[0])
    assert any(title in text for title in titles.values())
    assert "unfinished: a&lt;b" in text
    for table in tables:
        for spread in table["groups"][0]["test"]["support_5"].values():
            assert spread is not None
            assert f"{spread['mean']:.4f}" in text
    write_page(tmp_path / "ids.html", found, tables, [], titles=False)
    assert not any(title in (tmp_path / "ids.html").read_text() for title in titles.values())
