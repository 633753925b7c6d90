"""python -m cold_jax.search run=DIR, and recommend's query."""

import json
import re
from pathlib import Path

import pytest
import runs

from cold_jax.data.synthetic import GENRES


@pytest.fixture(scope="module")
def searched(finished: Path) -> str:
    """What the command printed."""
    done = runs.run("search", f"run={finished}", cwd=finished.parent, cache=finished.parent / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["title", "attributes"])
def test_words_about_an_item_find_it(finished: Path, searched: str, kind: str) -> None:
    """With words the item ranks higher than by the user's scores alone, on every task; a figure for each of the sums' terms."""
    found = json.loads((finished / f"search_{kind}" / "results.json").read_text())
    assert found["test"].keys() == json.loads((finished / "results.json").read_text())["test"].keys()
    for task, figures in found["test"].items():
        mrr = {name: baseline[task]["mrr"] for name, baseline in found["baselines"].items()}
        assert sorted(mrr) == ["bm25", "model", "query", "vectors"]
        assert min(figures["mrr"], mrr["query"], mrr["bm25"]) > 1.5 * mrr["model"]
        assert found["protocol"][task]["users"] > 5


def test_the_weights_are_printed(searched: str) -> None:
    """Of each term; words have one."""
    *_, line = searched.splitlines()
    weights = {name: float(weight) for name, weight in re.findall(r"(\w+) ([\d.]+)", line.split(":")[1].split(";")[0])}
    assert weights.keys() == {"vectors", "bm25", "model"}
    assert min(weights.values()) >= 0
    assert max(weights["vectors"], weights["bm25"]) > 0


@pytest.mark.parametrize("genre", ["war", "space"])
def test_a_query_lists_items_with_its_words(finished: Path, genre: str) -> None:
    """A list for a user; of a genre's four words each of its items has three."""
    words = GENRES[genre][0].split()
    arguments = (f"run={finished}", "profile='a cook'", f"query='{' '.join(words)}'", "format=json", "k=5")
    done = runs.run("recommend", *arguments, cwd=finished.parent, cache=finished.parent / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    for row in json.loads(done.stdout.splitlines()[-1]):
        assert len(set(words) & set(row["text"].split())) == 3
