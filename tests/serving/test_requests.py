"""Files of users."""

import json
from pathlib import Path

import pytest

from cold_jax.errors import DataError
from cold_jax.serving.requests import UserRequest, read_requests

KNOWN = frozenset({"007"})


def test_rows_are_requests(tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text('user,profile,liked\n007,,\nneo,"a cook, of Köln",1|02\n,x,\n')
    assert list(read_requests(file, KNOWN)) == [
        UserRequest("007", name="007", place=f"{file}:2"),
        UserRequest(None, "a cook, of Köln", ("1", "02"), name="neo", place=f"{file}:3"),
        UserRequest(None, "x", name="line 4", place=f"{file}:4"),
    ]


def test_json_has_lists(tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text(
        json.dumps({"liked": ["a b", "c"], "exclude": ["d"]}) + "\n" + json.dumps({"query": "tea", "user": "007"}) + "\n"
    )
    first, second = read_requests(file, KNOWN)
    assert (first.liked, first.exclude, first.user) == (("a b", "c"), ("d",), None)
    assert (second.user, second.query) == ("007", "tea")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user\n007\n008\n", r"users\.csv:3: the data has no user '008', and the row has no profile, liked or query"),
        ("profile,exclude\n,1\n", r"users\.csv:2: the row has no profile"),
        ("user,likes\n007,1\n", "did you mean liked"),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "users.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_requests(file, KNOWN))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_requests(tmp_path / "x.csv", KNOWN))
