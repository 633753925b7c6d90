"""A run behind HTTP, without a socket."""

import json
from typing import Any

import pytest

from cold_jax.serving.recommender import Recommender
from cold_jax.serving.service import Limits, make_app, warm_up

pytest.importorskip("fastapi")
LIMITS = Limits(body=5000, k=20, batch=3, text=200, history=5, page=7, reasons=4)


@pytest.fixture(scope="module")
def client(recommender: Recommender) -> Any:
    from fastapi.testclient import TestClient

    warm_up(recommender, LIMITS, search=False)
    return TestClient(make_app(recommender, LIMITS, ["localhost"]), base_url="http://localhost")


def test_lists_are_those_of_the_recommender(client: Any, recommender: Recommender) -> None:
    users = [{"user": "007"}, {"profile": "a cook", "liked": ["050"], "exclude": ["003"], "name": "neo"}]
    done = client.post("/recommend", json={"users": users, "k": 3, "where": ["genre=space|war"]})
    assert done.status_code == 200
    first, second = done.json()
    known = recommender.recommend("007", k=3, where=["genre=space|war"])
    new = recommender.recommend(profile="a cook", liked=["050"], exclude=["003"], k=3, where=["genre=space|war"])
    for found, expected, name in ((first, known, "007"), (second, new, "neo")):
        assert found["name"] == name
        assert [item["item_id"] for item in found["items"]] == expected["item_id"].to_list()
        assert [item["score"] for item in found["items"]] == pytest.approx(expected["score"].to_list(), abs=1e-5)


def test_a_search(client: Any, recommender: Recommender) -> None:
    done = client.post("/search", json={"query": "rockets robots", "user": "007", "k": 4})
    expected = recommender.recommend("007", query="rockets robots", k=4)["item_id"].to_list()
    assert [item["item_id"] for item in done.json()["items"]] == expected


def test_an_empty_list_says_why(client: Any) -> None:
    [found] = client.post("/recommend", json={"users": [{"profile": "x"}], "where": ["genre=war", "genre=space"]}).json()
    assert found["items"] == []
    assert "leaves none" in found["reason"]


def test_an_explanation(client: Any, recommender: Recommender) -> None:
    user = {"profile": "a cook", "liked": ["050"]}
    found = client.post("/explain", json={"item": "007", "texts": 0, "nearest": 2, **user}).json()
    assert found == json.loads(json.dumps(recommender.explain("007", **user, texts=0, nearest=2).to_json()))
    counts = client.post("/explain", json={"item": "007", "method": "popularity", **user}).json()
    assert counts["score"] == recommender.prepared.train.interaction_UI.toarray()[:, recommender._item("007", "")].sum()
    refused = client.post("/explain", json={"item": "007", "method": "random", **user})
    assert refused.status_code == 400
    assert "method=random is no sum" in refused.json()["error"]


def test_a_list_with_reasons(client: Any, recommender: Recommender) -> None:
    user = {"profile": "a cook", "liked": ["050"]}
    [found] = client.post("/recommend", json={"users": [user], "k": 2, "explain": True}).json()
    expected = recommender.recommend(**user, k=2, explain=True)
    assert [item["reasons"] for item in found["items"]] == expected["reasons"].to_list()
    assert all(item["reasons"].startswith("050 ") for item in found["items"])
    [plain] = client.post("/recommend", json={"users": [user], "k": 2}).json()
    assert [item["reasons"] for item in plain["items"]] == [None, None]
    refused = client.post("/recommend", json={"users": [user], "k": 5, "explain": True})
    assert "5 items of 1 users are more than 4" in refused.json()["error"]


def test_pages_of_items(client: Any, recommender: Recommender) -> None:
    page = client.get("/items", params={"offset": 3, "limit": 2}).json()
    items = recommender.prepared.dataset.items
    assert page["total"] == len(items)
    assert [(item["item_id"], item["text"]) for item in page["items"]] == list(zip(items.ids, items.texts["line"], strict=True))[
        3:5
    ]
    assert client.get("/items", params={"offset": 10**9}).json()["items"] == []
    assert client.get("/health").json()["status"] == "ready"


def test_openapi_describes_it(client: Any) -> None:
    document = client.get("/openapi.json").json()
    assert {"/recommend", "/search", "/explain", "/items", "/health"} <= document["paths"].keys()
    assert document["components"]["schemas"]["Recommend"]["properties"]["k"]["maximum"] == 20
    assert client.get("/docs").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/recommend", {"users": [{"user": "0007"}]}, 400, "did you mean 007"),
        ("/recommend", {"users": [{}]}, 400, "give user=ID"),
        ("/recommend", {"users": [{"profile": "x"}], "where": ["gerne=war"]}, 400, "did you mean genre"),
        ("/recommend", {"users": [{"profile": "x"}], "k": 21}, 422, "less than or equal to 20"),
        ("/recommend", {"users": [{"profile": "x"}], "k": 0}, 422, "greater than or equal to 1"),
        ("/recommend", {"users": [{"profile": "x"}] * 4}, 422, "at most 3 items"),
        ("/recommend", {"users": []}, 422, "at least 1 item"),
        ("/recommend", {"users": [{"profile": "x" * 201}]}, 422, "at most 200 characters"),
        ("/recommend", {"users": [{"liked": ["1"] * 6}]}, 422, "at most 5 items"),
        ("/recommend", {"users": [{"profil": "x"}]}, 422, "Extra inputs are not permitted"),
        ("/search", {"user": "007"}, 422, "Field required"),
        ("/recommend", {"users": [{"profile": "x" * 6000}]}, 413, "more than 5,000 bytes"),
    ],
)
def test_what_is_wrong_or_too_much_is_refused(client: Any, path: str, body: object, status: int, message: str) -> None:
    done = client.post(path, json=body)
    assert done.status_code == status
    assert message in done.text


def test_another_host_s_name_is_refused(client: Any) -> None:
    """A page of the web that points its own name here gets nothing."""
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400
