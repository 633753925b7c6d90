"""What a report reads of a run's own data."""

from pathlib import Path

import pytest

from cold_jax.errors import ConfigError
from cold_jax.reports import item_titles, judge, write_page
from cold_jax.runs.compare import compare_runs, scan_runs
from cold_jax.runs.folder import Run


def test_titles_are_the_items_texts(finished: Path, recommender) -> None:
    [run] = scan_runs([finished]).finished
    titles = item_titles(run)
    items = recommender.prepared.dataset.items
    assert titles == dict(zip(items.ids, next(iter(items.texts.values())), strict=True))


def test_a_page_of_a_run(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    found = scan_runs([finished])
    tables = compare_runs(found.finished, ())
    write_page(tmp_path / "page.html", found.finished, tables, ["unfinished: a<b"], titles=True)
    text = (tmp_path / "page.html").read_text()
    titles = item_titles(found.finished[0])
    assert any(title in text for title in titles.values())
    assert "unfinished: a&lt;b" in text
    for table in tables:
        for spread in table["groups"][0]["test"]["support_5"].values():
            assert spread is not None
            assert f"{spread['mean']:.4f}" in text
    write_page(tmp_path / "ids.html", found.finished, tables, [], titles=False)
    assert not any(title in (tmp_path / "ids.html").read_text() for title in titles.values())


def test_a_runs_own_rankings_get_its_own_figures(finished: Path, tmp_path: Path) -> None:
    """Written as scores by another program would be: here its saved rankings, which hold the first 100 places of each user."""
    [run] = scan_runs([finished]).finished
    ranked = Run(finished).read_rankings()
    with (tmp_path / "ours.csv").open("w") as file:
        file.write("part,user_id,item_id,rank\n")
        file.writelines(f"{part},{user},{item},{rank}\n" for part, user, rank, item, _ in zip(*ranked, strict=True))
    for scores in (finished / "rankings.parquet", tmp_path / "ours.csv"):
        [judged] = judge([run], scores, finished / "split.csv")
        for part, metrics in run.results["test"].items():
            for metric in ("recall@20", "ndcg@20", "hr@10", "precision@20", "coverage@20"):
                assert judged.results["test"][part][metric] == pytest.approx(metrics[metric], abs=1e-12), (part, metric)
        [table] = compare_runs([run, judged], ())
        assert len(table["groups"]) == 2
        assert {
            d["found"]["difference"] for d in table["differences"] if d["b"] in {group["name"] for group in table["groups"]}
        } == {0}


def test_a_split_alone_is_enough(finished: Path) -> None:
    [run] = scan_runs([finished]).finished
    [judged] = judge([], finished / "rankings.parquet", finished / "split.csv")
    for part, metrics in run.results["test"].items():
        assert judged.results["test"][part]["recall@20"] == pytest.approx(metrics["recall@20"], abs=1e-12)
        assert judged.results["protocol"][part]["users"] == run.results["protocol"][part]["users"]


def test_what_is_missing_is_named(finished: Path, tmp_path: Path) -> None:
    [run] = scan_runs([finished]).finished
    scores, lines = finished / "rankings.parquet", (finished / "split.csv").read_text().splitlines(keepends=True)
    (tmp_path / "split.csv").write_text("".join([lines[0], *lines[2:]]))
    with pytest.raises(ConfigError, match="is not the split of"):
        judge([run], scores, tmp_path / "split.csv")
    with pytest.raises(ConfigError, match="name a run's folder, or the split"):
        judge([], scores, None)
    with pytest.raises(ConfigError, match="is not there"):
        judge([], scores, tmp_path / "nowhere.csv")
