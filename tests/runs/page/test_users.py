"""What some users are recommended."""

from pathlib import Path

from cold_jax.runs.compare import scan_runs
from cold_jax.runs.folder import Run
from cold_jax.runs.page import users


def test_users_from_the_worst_to_the_best_served(finished: Path) -> None:
    [run] = scan_runs([finished]).finished
    lists = users.recommended(run, "this run", "support_5", "recall@20", {"000": "a title"})
    assert lists is not None
    values = [user.value for user in lists.users]
    assert len(values) == 10
    assert values == sorted(values)
    of_run = {row[2]: row[4] for row in run.users.rows() if (row[0], row[1], row[3]) == ("support_5", None, "recall@20")}
    assert values[0] == min(of_run.values())
    assert values[-1] == max(of_run.values())
    rows = zip(*Run(finished).read_split(), strict=True)
    taken = {(user, item) for user, item, label in rows if label == "cold_test"}
    for user in lists.users:
        assert len(user.items) == 10
        assert all(item.hit == ((user.user_id, item.item_id) in taken) for item in user.items)
    assert {item.title for user in lists.users for item in user.items if item.item_id != "000"} == {""}
    assert users.recommended(run, "this run", "no part", "recall@20", {}) is None
