"""What is written of lists."""

import json

import pytest

from cold_jax.serving.answers import show_items
from cold_jax.serving.recommender import Answer

ANSWERS = [Answer("u", ["1"], ["=a"], [0.12345678]), Answer("v", [], [], [], "no item: all are taken")]


def test_many_users_as_csv(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    show_items(iter(ANSWERS), "csv", many=True)
    assert capsys.readouterr().out.splitlines() == ["user,rank,item_id,text,score", "u,1,1,'=a,0.123457"]
    assert "v: no item: all are taken" in caplog.text


def test_many_users_as_json_are_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_items(iter(ANSWERS), "json", many=True)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"user": "u", "items": [{"rank": 1, "item_id": "1", "text": "=a", "score": 0.123457}], "reason": ""}
    assert (second["items"], second["reason"]) == ([], "no item: all are taken")
