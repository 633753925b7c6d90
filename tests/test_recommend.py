"""python -m cold_jax.recommend run=DIR, for users of the data and for new ones."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import runs


def recommend(finished: Path, *arguments: str) -> tuple[int, str, str]:
    done = runs.run("recommend", f"run={finished}", *arguments, cwd=finished.parent, cache=finished.parent / "cache")
    return done.returncode, done.stdout, done.stderr


def ranked(finished: Path, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = recommend(finished, *arguments, "format=json")
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def interactions(finished: Path) -> list[dict[str, str]]:
    with open(finished / "split.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_known_user_gets_items_they_have_not_taken(finished: Path) -> None:
    """The best by score: of a longer list the first are the same."""
    rows = interactions(finished)
    user = rows[0]["user_id"]
    rows_5, rows_all = (ranked(finished, f"user='{user}'", f"k={k}") for k in (5, 1000))
    taken = {row["item_id"] for row in rows if row["user_id"] == user}
    assert rows_all[:5] == rows_5
    assert [row["rank"] for row in rows_all] == list(range(1, len(rows_all) + 1))
    assert {row["item_id"] for row in rows_all} == {row["item_id"] for row in rows} - taken
    scores = [row["score"] for row in rows_all]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > len(scores) / 2


def test_a_new_user_s_list_depends_on_their_profile_and_on_what_they_like(finished: Path) -> None:
    item = interactions(finished)[0]["item_id"]
    nothing, liking, other = (
        ranked(finished, f"profile='{profile}'", f"liked={liked}", "k=1000")
        for profile, liked in (("likes space", "[]"), ("likes space", f"['{item}']"), ("a cook of 50 years", "[]"))
    )
    scores = [{row["item_id"]: row["score"] for row in rows} for rows in (nothing, liking, other)]
    assert item in scores[0]
    assert item not in scores[1]
    for changed in scores[1:]:
        assert max(abs(changed[i] - scores[0][i]) for i in changed) > 1e-4  # six steps from a random start
    order = [row["item_id"] for row in nothing if row["item_id"] != item]
    assert order != [row["item_id"] for row in liking]
    assert ranked(finished, "profile='likes space'", "liked=[]", "k=1000") == nothing


def test_a_list_as_csv(finished: Path) -> None:
    code, out, err = recommend(finished, "profile='likes space'", "format=csv", "k=3")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    expected = ranked(finished, "profile='likes space'", "k=3")
    assert [{**row, "rank": int(row["rank"]), "score": float(row["score"])} for row in rows] == expected


def test_an_unknown_id_is_named(finished: Path) -> None:
    code, out, err = recommend(finished, "user=nobody")
    assert code == 1
    assert "user: the data has no id 'nobody'" in out + err


def test_a_file_of_users_and_a_new_item(finished: Path, tmp_path: Path) -> None:
    """A list for each user; then the users who would like an item of which only the text is known."""
    (tmp_path / "users.csv").write_text("user,profile\n007,\nneo,a cook\n")
    code, out, err = recommend(finished, "--users", str(tmp_path / "users.csv"), "k=2", "format=csv", "--where", "genre=war")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["user"], row["rank"]) for row in rows] == [("007", "1"), ("007", "2"), ("neo", "1"), ("neo", "2")]
    users = ranked(finished, "--item", "rockets, planets", "--attribute", "genre=space", "k=3")
    assert [row["rank"] for row in users] == [1, 2, 3]
    assert not (finished / "added_items.jsonl").exists()


def test_new_items_are_ranked_for_a_user(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("item_id,title,genre,words,year\nn1,a,war,b,\nn2,c,space,d,1970\n")
    new = ranked(finished, "--items", str(tmp_path / "new.csv"), "--user", "007")
    assert {row["item_id"] for row in new} == {"n1", "n2"}


def test_a_list_with_reasons(finished: Path) -> None:
    rows = ranked(finished, "--profile", "a cook", "--liked", "050", "k=2", "explain=true")
    for row in rows:
        assert row["reasons"]["score"] == pytest.approx(row["score"], abs=1e-5)
        assert [one["item_id"] for one in row["reasons"]["shares"]] == ["050"]
