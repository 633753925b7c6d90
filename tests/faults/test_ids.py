"""Ids of every kind come back byte for byte from a run's files, and a text of the data is never taken for anything but text."""

import csv
import json
import os
from pathlib import Path

import harness
import pyarrow.parquet as pq
import pytest
import runs

from cold_jax.runs.folder import Run

pytestmark = pytest.mark.faults
USERS = [
    "007", "7", "1e5", "100000.0", "NA", "null", "None", "nan", " x", "x ", "X", "x", "\u00e9", "e\u0301", "\U0001f600", "\u202ertl",
    "a\nb", "a\r\nb", 'q"', '"q"', "'", "a,b", "=HYPERLINK(1)", "@SUM", "-1+1", "\t=1", "-5", "../../x", "/etc/x", "..", "CON", "y" * 300,
    "\u2028", "\x85", "\ufeffbom",
]  # fmt: skip
ITEMS = [f"{user}{n}" for n, user in enumerate(USERS)]
TITLES = [
    "${oc.env:CANARY}", "${oc.env:CANARY,x}", "${resume}", "{0.__class__}", "{title}", "{title.__class__}", "{{7*7}}", "%s %n", "$CANARY",
    "`touch canary`", "$(touch canary)", "!!python/object/apply:os.system [touch canary]", "_target_: os.getcwd", "\x1b]0;owned\x07", "[PAD] [CLS]",
]  # fmt: skip


def write(file: Path, *rows: list[str]) -> None:
    with open(file, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)


@pytest.fixture(scope="module")
def run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ids")
    pairs = [(u, (u * 5 + n * 2) % len(ITEMS)) for u in range(len(USERS)) for n in range(14)]
    rows = [[USERS[u], ITEMS[i], str(n)] for n, (u, i) in enumerate(pairs)]
    write(folder / "rows.csv", ["user", "item", "time"], *rows)
    titles = [TITLES[n % len(TITLES)] for n in range(len(ITEMS))]
    write(folder / "items.csv", ["item", "title"], *([item, title] for item, title in zip(ITEMS, titles, strict=True)))
    write(folder / "users.csv", ["user", "about"], *([user, TITLES[n % len(TITLES)]] for n, user in enumerate(USERS)))
    command = harness.arguments(
        folder / "run",
        "data=tables",
        f"data.root={folder}",
        "data.interactions=rows.csv",
        "data.user=user",
        "data.item=item",
        "data.time=time",
        "data.items=items.csv",
        "data.item_id=item",
        "data.users=users.csv",
        "data.user_id=user",
        "data.item_texts={line: '{title}'}",
        "+data.user_texts={profile: '{about}'}",
        "loop.max_steps=4",
    )
    done = runs.run("train", *command, cwd=folder, cache=shared / "cache", CANARY="a secret of the environment")
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(folder / "run")


def test_every_id_is_in_the_files(run: Run) -> None:
    split = run.read_split()
    assert set(split.user_id) == set(USERS)
    assert set(split.item_id) == set(ITEMS)
    tested = {user for user, part in zip(split.user_id, split.part, strict=True) if part == "cold_test"}
    assert len(tested) > 2
    rankings, per_user = run.read_rankings(), run.read_per_user()
    for part in ("support_0", "support_1"):
        assert {user for p, user in zip(rankings.part, rankings.user_id, strict=True) if p == part} == tested
    assert {user for p, user in zip(per_user.part, per_user.user_id, strict=True) if p == "support_0"} == tested
    warm = {user for p, user in zip(rankings.part, rankings.user_id, strict=True) if p == "warm"}
    assert warm <= set(USERS) - tested
    assert set(rankings.item_id) == set(ITEMS)
    assert set(pq.read_table(run.path / "rankings.parquet")["item_id"].to_pylist()) == set(ITEMS)


def test_nothing_but_the_run_s_files_came_to_be(run: Run) -> None:
    harness_files = {
        "overrides.json",
        "config.yaml",
        "cold_jax.log",
        "checkpoints",
        "metrics.jsonl",
        "split.csv",
        "per_user.parquet",
        "rankings.parquet",
    }
    assert {path.name for path in run.path.iterdir()} == harness_files | {"delta.safetensors", "head.safetensors", "results.json"}
    assert {path.name for path in run.path.parent.iterdir()} == {"run", "rows.csv", "items.csv", "users.csv"}


def test_no_text_reads_the_environment_or_runs(run: Run) -> None:
    secret = b"a secret of the environment"
    assert not [path for path in run.path.rglob("*") if path.is_file() and secret in path.read_bytes()]
    for _, _, names in os.walk(run.path.parent):
        assert "canary" not in names


@pytest.mark.parametrize("user", ["007", "NA", "=HYPERLINK(1)"])
def test_a_list_for_an_id_holds_ids_and_texts_as_they_are(shared: Path, run: Run, user: str) -> None:
    command = (f"run={run.path}", f"user='{user}'", "k=50", "format=json")
    done = runs.run("recommend", *command, cwd=run.path.parent, cache=shared / "cache", CANARY="a secret of the environment")
    assert done.returncode == 0, done.stderr
    listed = {row["item_id"]: row["text"] for row in json.loads(done.stdout)}
    split = run.read_split()
    taken = {item for u, item in zip(split.user_id, split.item_id, strict=True) if u == user}
    assert set(listed) == set(ITEMS) - taken
    assert all(text == TITLES[ITEMS.index(item) % len(TITLES)] for item, text in listed.items())


def test_the_report_shows_the_run_and_no_control_character(run: Run, shared: Path) -> None:
    done = runs.run("report", str(run.path), cwd=run.path.parent, cache=shared / "cache")
    assert done.returncode == 0, done.stderr
    assert "smoke" in done.stdout
    assert "\x1b" not in done.stdout
