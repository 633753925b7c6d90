"""A finished run from Python: users of the data and new ones, new items, who would like them."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import cold_jax
from cold_jax.encoders import precomputed
from cold_jax.errors import ConfigError, DataError
from cold_jax.serving.recommender import Recommender
from cold_jax.serving.requests import UserRequest
from cold_jax.serving.scorers import RunScorer

NEW = {"item_id": "n1", "title": "film new", "genre": "space", "words": "rockets planets robots", "year": "1985"}


@pytest.fixture
def fresh(recommender: Recommender) -> Iterator[Recommender]:
    """Without added items, before and after."""
    yield recommender
    recommender._set_items([])


def by_hand(recommender: Recommender, text: str, genre: str, year: int, history: list[str], profile: str) -> float:
    """The two-tower's formula for a new item and a new user, in float64."""
    head = {name: array.astype(np.float64) for name, array in load_file(recommender.run.path / "head.safetensors").items()}
    items = recommender._base.dataset.items
    genres = ["comedy", "crime", "music", "space", "war", "western"]
    known_ID = precomputed.encode(recommender.phi, [items.texts["line"][items.ids.index(i)] for i in history], "items")
    vector_1D = precomputed.encode(recommender.phi, [text], "items")
    profile_1D = precomputed.encode(recommender.phi, [profile], "users")
    blocks = [items.indicators["genre"], items.indicators["year"]]
    attribute_IF = np.concatenate([np.concatenate(blocks, 1)[[items.ids.index(i) for i in history]], np.zeros((1, 11))])
    attribute_IF[-1, genres.index(genre)] = 1
    attribute_IF[-1, 6 + np.searchsorted([1960, 1970, 1980, 1990], year, side="right")] = 1
    both = np.concatenate([np.concatenate([known_ID, vector_1D]), attribute_IF / 2], 1)
    feature = np.concatenate([both / np.linalg.norm(both, axis=1, keepdims=True), np.full((len(both), 1), 0.3)], 1)
    source = feature[:-1] @ head["source_FV"]
    if "item_source_residual_IV" in head:
        source = source + head["item_source_residual_IV"][[items.ids.index(i) for i in history]]
    user = profile_1D[0] @ head["profile_DV"] + head["user_V"] + source.sum(0) / np.sqrt(len(history))
    return float(user @ (feature[-1] @ head["target_FV"]) * np.exp(head["log_scale"]) + feature[-1] @ head["bias_F"])


def test_a_known_user_of_a_frozen_run_is_not_encoded_again(prepared: Any, recommender: Recommender, monkeypatch) -> None:
    scorer = RunScorer(recommender.run, recommender.settings, prepared, prepared, lambda: prepared.loaded, {})
    known_UD = prepared.train.user_vectors["profile"][[3, 0]]
    new = len(prepared.dataset.users)
    scorer.profiles = {new: prepared.dataset.users.texts["profile"][3]}
    np.testing.assert_allclose(scorer.user_vectors(np.array([new, 0])), known_UD, atol=1e-6)
    monkeypatch.setattr(precomputed, "encode", None)
    np.testing.assert_array_equal(scorer.user_vectors(np.array([3, 0])), known_UD)
    with pytest.raises(TypeError):  # an adapted encoder's vectors are not θ's
        RunScorer(recommender.run, recommender.settings, prepared, prepared, lambda: None, {}).user_vectors(np.array([3]))


def test_a_new_item_s_score_is_the_formula_s(fresh: Recommender) -> None:
    """It has the features of its text and attributes, and no residuals."""
    before = fresh.score(["050", "101"], profile="a 30-year-old lawyer", liked=["007", "003"])
    assert fresh.add_items([NEW]) == ["n1"]
    found = fresh.score(["n1", "050", "101"], profile="a 30-year-old lawyer", liked=["007", "003"])
    text = "film new (1985) with rockets planets robots"
    expected = by_hand(fresh, text, "space", 1985, ["007", "003"], "a 30-year-old lawyer")
    assert found["n1"] == pytest.approx(expected, abs=1e-5)
    assert {item: found[item] for item in before} == pytest.approx(before, abs=1e-6)
    assert fresh.recommend(profile="x", liked=["007"], k=1000)["text"].to_list().count(text) == 1


def test_who_likes_ranks_users_by_how_far_an_item_stands_out(recommender: Recommender) -> None:
    """Against every user's scores, one by one."""
    found = recommender.who_likes(["050"], k=5)
    with open(recommender.run.path / "split.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = {}
    ids = recommender.prepared.dataset.items.ids
    for user in recommender.prepared.dataset.users.ids:
        taken = {row["item_id"] for row in rows if row["user_id"] == user}
        if "050" not in taken:
            scores = recommender.score(ids, user)
            values = np.array(list(scores.values()))
            place = 1 + sum(scores[item] > scores["050"] for item in ids if item not in taken)
            expected[user] = ((scores["050"] - values.mean()) / values.std(), place)
    best = sorted(expected, key=lambda user: -expected[user][0])[:5]
    assert found["user_id"].to_list() == best
    assert found["score"].to_list() == pytest.approx([expected[user][0] for user in best], abs=1e-4)
    assert found["place"].to_list() == [expected[user][1] for user in best]


def test_many_users_get_what_each_gets_alone(recommender: Recommender) -> None:
    requests = [
        UserRequest("007"),
        UserRequest(profile="a cook", liked=("050",)),
        UserRequest("007", query="rockets robots"),
        UserRequest("007", profile="a 20-year-old baker"),
        UserRequest(liked=("003", "004"), exclude=("005",)),
        UserRequest("008", query="rockets robots"),
    ]
    for request, answer in zip(requests, recommender.recommend_many(requests, k=4), strict=True):
        user, profile, liked, query, exclude, *_ = request
        alone = recommender.recommend(user, profile=profile, liked=liked, query=query, exclude=exclude, k=4)
        assert alone["item_id"].to_list() == answer.item_ids
        assert alone["score"].to_list() == pytest.approx(answer.scores, abs=1e-5)
        assert not {*liked, *exclude} & {*answer.item_ids}
    lists = [tuple(answer.scores) for answer in recommender.recommend_many(requests, k=4)]
    assert len(set(lists)) == len(lists)


def test_nothing_is_encoded_twice(fresh: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.recommend("007")
    monkeypatch.setattr(precomputed, "encode", None)
    monkeypatch.setattr(precomputed, "vectors", None)
    fresh.recommend("007", k=3, where=["genre=space"])


def test_filters_and_exclusions_hold(recommender: Recommender) -> None:
    items = recommender.prepared.dataset.items
    space = {item for item, has in zip(items.ids, items.indicators["genre"][:, 3], strict=True) if has}
    found = recommender.recommend(profile="a cook", where=["genre=space"], k=1000)
    assert set(found["item_id"]) == space
    first = found["item_id"][0]
    assert set(recommender.recommend(profile="a cook", where=["genre=space"], exclude=[first], k=1000)["item_id"]) == space - {
        first
    }


def test_an_empty_list_says_why(recommender: Recommender) -> None:
    everything = tuple(recommender.prepared.dataset.items.ids)
    [answer] = recommender.recommend_many([UserRequest(profile="x", exclude=everything)])
    assert answer.item_ids == []
    assert "taken or likes each" in answer.reason
    [answer] = recommender.recommend_many([UserRequest(profile="x")], where=["genre=space", "genre=war"])
    assert answer.reason.startswith("no item: where=genre=space and where=genre=war leaves none")


def test_added_items_are_kept_in_the_run_s_folder(fresh: Recommender, tmp_path: Path) -> None:
    file = tmp_path / "tomorrow.csv"
    file.write_text("item_id,title,genre,words,year\nn1,film new,space,rockets,\nn2,film two,war,battle,1961\n")
    kept = fresh.run.path / "added_items.jsonl"
    try:
        assert fresh.add_items(file, keep=True) == ["n1", "n2"]
        again = cold_jax.load(fresh.run.path)
        assert again.score(["n1", "n2"], "007") == pytest.approx(fresh.score(["n1", "n2"], "007"))
        with pytest.raises(DataError, match=r"tomorrow\.csv:2: item 'n1' exists already, in .*added_items\.jsonl:1"):
            again.add_items(file)
        with pytest.raises(DataError, match="item 1: item '050' exists already, in the data"):
            again.add_items([{**NEW, "item_id": "050"}])
    finally:
        kept.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give user=ID"),
        ({"user": "0007"}, "did you mean 007"),
        ({"user": "007", "k": 0}, "k: 0 is not"),
        ({"profile": "x", "liked": ["?"]}, "liked: the data has no id"),
        ({"profile": "x", "exclude": ["?"]}, "exclude: the data has no id"),
        ({"profile": "x", "where": ["gerne=war"]}, "did you mean genre"),
    ],
)
def test_a_mistake_is_named(recommender: Recommender, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recommender.recommend(**arguments)


def test_an_item_without_a_text_is_refused(fresh: Recommender) -> None:
    with pytest.raises(DataError, match="has no text and no attribute"):
        fresh.add_items([{"item_id": "n1"}])
    with pytest.raises(DataError, match="did you mean genre"):
        fresh.add_items([{"item_id": "n1", "gerne": "war"}])


def test_a_model_of_its_training_s_words_takes_no_new_items(fresh: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a parameter has another size for reasons besides the number of items."""
    fresh.add_items([NEW])
    read = type(fresh.run).read_head
    monkeypatch.setattr(
        type(fresh.run), "read_head", lambda run, shapes: jax.tree.map(lambda x: x[..., :-1] if x.ndim else x, read(run, shapes))
    )
    with pytest.raises(ConfigError, match="new items need a new training"):
        fresh.score(["n1"], "007")
