"""python -m cold_jax.search run=DIR, and recommend's query."""

import json
from pathlib import Path

import runs


def test_a_run_is_searched(tmp_path: Path) -> None:
    folder, places = tmp_path / "run", {"cwd": tmp_path, "cache": tmp_path / "cache"}
    done = runs.run("train", *runs.smoke(folder), **places)
    assert done.returncode == 0, done.stderr
    done = runs.run("search", f"run={folder}", **places)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("title", "attributes"):
        found = json.loads((folder / f"search_{kind}" / "results.json").read_text())
        assert set(found["baselines"]) == {"vectors", "bm25", "model", "query"}
        assert set(found["test"]) == {"warm", "support_0", "support_1", "support_5", "support_10"}
        assert all(protocol["users"] > 5 for protocol in found["protocol"].values())
    assert "weights, chosen on validation users" in done.stdout
    lists = []
    for words in ("drama", "comedy"):
        done = runs.run("recommend", f"run={folder}", "profile='a cook'", f"query={words}", "format=json", "k=5", **places)
        assert done.returncode == 0, done.stdout + done.stderr
        lists.append([row["item_id"] for row in json.loads(done.stdout)])
    assert lists[0] != lists[1]
