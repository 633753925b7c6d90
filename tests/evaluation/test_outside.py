"""Scores from another program."""

import logging
from pathlib import Path

import numpy as np
import pytest

from cold_jax.data.dataset import Entities
from cold_jax.errors import DataError
from cold_jax.evaluation.evaluate import EvaluationConfig
from cold_jax.evaluation.outside import evaluate_scores, read_scores

USERS, ITEMS = Entities(("u", "007", "v"), {}, {}), Entities(("a", "b,c", "d"), {}, {})
CONFIG = EvaluationConfig(metrics=["recall@20", "mrr", "auc"], metric="recall@20", top=200, chunk=16, resamples=10, users=None)


def written(folder: Path, text: str, name: str = "scores.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_scores_and_ranks(tmp_path: Path) -> None:
    scores = read_scores(written(tmp_path, 'user_id,item_id,score\n007,"b,c",1e-9\nu,a,-3\n'), USERS, ITEMS, ["cold"])
    assert [x_N.tolist() for x_N in scores[:3]] == [[1, 0], [1, 0], [1e-9, -3]]
    assert scores.part_N is None
    ranks = read_scores(written(tmp_path, "item,user,rank,part\na,u,1,cold\na,v,2,cold\n"), USERS, ITEMS, ["cold"])
    assert ranks.score_N.tolist() == [-1, -2]
    assert ranks.of("cold").user_N.tolist() == [0, 2]
    assert ranks.of("warm").user_N.tolist() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,item_id\nu,a\n", r"scores.csv:1: no column 'score'; the columns are user_id, item_id"),
        ("user_id,item_id,score\nu,a,1\nU,a,1\n", r"scores.csv:3: the data has no user 'U'; there are"),
        ("user_id,item_id,score\nu,a,1\n\nu,A,1\n", r"scores.csv:4: the data has no item 'A'"),
        ("user_id,item_id,score\nu,a,nan\n", r"scores.csv:2: score 'nan' is not a finite number"),
        ("user_id,item_id,rank\nu,a,first\n", r"scores.csv:2: rank 'first' is not a number"),
        ("user_id,item_id,score\nu,a,1\nv,a,1\nu,a,2\n", r"scores.csv:4: user 'u' and item 'a' are in line 2 already"),
        ("user_id,item_id,score,part\nu,a,1,cald\n", r"scores.csv:2: the test has no part 'cald'; did you mean cold"),
        ("user_id,item_id,score\n", r"scores.csv: has no row"),
    ],
)
def test_mistakes_are_named_with_file_and_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_scores(written(tmp_path, text), USERS, ITEMS, ["warm", "cold"])
    with pytest.raises(DataError, match="there is no such file"):
        read_scores(tmp_path / "nowhere.csv", USERS, ITEMS, [])


def test_ranks_of_a_users_scores_whatever_their_size(recommender, tmp_path: Path) -> None:
    """Scores that single precision cannot tell apart are ranked as they are; the evaluation is that of a scorer of the same order."""
    p = recommender.prepared
    U, I = len(p.dataset.users), len(p.dataset.items)
    order_UI = np.random.default_rng(0).permuted(np.tile(np.arange(I), (U, 1)), axis=1)
    task = {"warm": p.split.test["warm"]}
    lines = [
        f"{u},{i},{1e6 + float(order_UI[n, m]) * 1e-9!r}"
        for n, u in enumerate(p.dataset.users.ids)
        for m, i in enumerate(p.dataset.items.ids)
    ]
    file = written(tmp_path, "\n".join(["user,item,score", *lines]))
    scores = read_scores(file, p.dataset.users, p.dataset.items, ["warm"])
    found = evaluate_scores(CONFIG, scores, task, (U, I))
    expected = CONFIG(lambda user_U, history_UI, candidate_I: order_UI[user_U][:, candidate_I].astype(np.float32), task)
    assert found.mean() == expected.mean()


def test_users_and_candidates_without_a_score_are_counted(recommender, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    p = recommender.prepared
    task = p.split.test["support_0"]
    first = p.dataset.users.ids[task.user_U[0]]
    scores = read_scores(
        written(tmp_path, f"user,item,score\n{first},{p.dataset.items.ids[3]},1\n"), p.dataset.users, p.dataset.items, []
    )
    with caplog.at_level(logging.INFO):
        found = evaluate_scores(CONFIG, scores, {"support_0": task}, (len(p.dataset.users), len(p.dataset.items)))
    assert f"{len(task.user_U) - 1} of {len(task.user_U)} users have no score" in caplog.text
    assert f"1.0 of {len(task.candidate_I)} candidates have a score" in caplog.text
    assert found.rankings["support_0"].top_UK[0, 0] == 3
