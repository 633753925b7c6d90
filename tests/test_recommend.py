"""python -m cold_jax.recommend run=DIR, for users of the data and for new ones."""

import csv
import io
import json
from pathlib import Path

import pytest
import runs


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recommend")
    done = runs.run("train", *runs.smoke(folder / "run"), cwd=folder, cache=folder / "cache")
    assert done.returncode == 0, done.stderr
    return folder


def recommend(shared: Path, *arguments: str) -> tuple[int, str, str]:
    done = runs.run("recommend", f"run={shared / 'run'}", *arguments, cwd=shared, cache=shared / "cache")
    return done.returncode, done.stdout, done.stderr


def test_a_known_user_gets_what_he_has_not_taken(shared: Path) -> None:
    with open(shared / "run" / "split.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    user = rows[0]["user_id"]
    code, out, err = recommend(shared, f"user='{user}'", "k=7", "format=json")
    assert code == 0, err
    listed = json.loads(out)
    assert [row["rank"] for row in listed] == list(range(1, 8))
    assert not {row["item_id"] for row in listed} & {row["item_id"] for row in rows if row["user_id"] == user}
    assert [row["score"] for row in listed] == sorted((row["score"] for row in listed), reverse=True)


def test_a_new_user_s_list_depends_on_what_he_likes(shared: Path) -> None:
    with open(shared / "run" / "split.csv", newline="") as file:
        item = next(csv.DictReader(file))["item_id"]
    lists = []
    for liked in ("", item):
        code, out, err = recommend(
            shared, "profile='likes space'", f"liked=['{liked}']" if liked else "liked=[]", "format=csv", "k=5"
        )
        assert code == 0, err
        lists.append([row["item_id"] for row in csv.DictReader(io.StringIO(out))])
    assert item not in lists[1]
    assert len(lists[0]) == len(lists[1]) == 5


def test_an_unknown_id_is_named(shared: Path) -> None:
    code, out, err = recommend(shared, "user=nobody")
    assert code == 1
    assert "user: the data has no id 'nobody'" in out + err
