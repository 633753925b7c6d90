"""Several shops as one folder of sequences."""

import runpy
import sys
from pathlib import Path

import pytest

from cold_jax import config

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "join_sequences.py"


def test_ids_of_shops_are_kept_apart_and_orders_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "out"
    for folder in (a, b):
        folder.mkdir()
    (a / "items.jsonl").write_text('{"item": 1, "title": "a &amp; b"}\n{"item": 2, "title": null}\n')
    (a / "sequences.txt").write_text("u 2 1 2\n\n")
    (b / "items.jsonl").write_text('{"item_id": "1", "title": "c"}\n{"item_id": "2", "title": "d"}\n')
    (b / "interactions.csv").write_text("user_id,item_id,order\nu,1,10\nu,2,9\n")
    monkeypatch.setattr(sys, "argv", ["join_sequences.py", *map(str, (out, a, b))])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert (out / "sequences.txt").read_text() == "0_u 0_2 0_1 0_2\n1_u 1_2 1_1\n"
    overrides = ["data=sequences", f"data.root={out}", "data.item_texts={title: '{title}'}"]
    dataset = config.settings(config.compose(overrides)).data()
    assert dict(zip(dataset.items.ids, dataset.items.texts["title"], strict=True)) == {
        "0_1": "a & b",
        "0_2": "",
        "1_1": "c",
        "1_2": "d",
    }


def test_a_share_of_the_users_keeps_their_order_and_all_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "items.jsonl").write_text('{"item": 1, "title": "a"}\n{"item": 2, "title": "b"}\n')
    (tmp_path / "a" / "sequences.txt").write_text("".join(f"u{n:03} 1 2\n" for n in range(200)))
    for share, count in (("0.25", 50), ("1", 200)):
        out = tmp_path / share
        monkeypatch.setattr(sys, "argv", ["join_sequences.py", str(out), str(tmp_path / "a"), "--users", share])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        users = [line.split()[0] for line in (out / "sequences.txt").read_text().splitlines()]
        assert len(set(users)) == count
        assert users == sorted(users)
        assert len((out / "items.jsonl").read_text().splitlines()) == 2


def test_what_cannot_be_joined_is_refused_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, broken, out = tmp_path / "shop", tmp_path / "broken", tmp_path / "out"
    blank = tmp_path / "blank"
    for folder, items in (
        (shop, '{"item": 1, "title": "a"}\n'),
        (blank, '{"item": "x y", "title": "a"}\n'),
        (broken, '{"item": 1, "title": "a"}\n{"title": "b"}\n'),
    ):
        folder.mkdir()
        (folder / "items.jsonl").write_text(items)
        (folder / "sequences.txt").write_text("u 1\n")
    (blank / "sequences.txt").unlink()
    (blank / "interactions.csv").write_text("user_id,item_id,order\nu,x y,1\n")
    for folders, message in (
        ((tmp_path / "blanks", blank), f"{blank}: id 'x y' holds a blank"),
        ((out, tmp_path / "nowhere"), f"{tmp_path}/nowhere: no items.jsonl"),
        ((shop, shop), f"{shop}: holds files already"),  # OUT was left out
        ((out, shop, broken), f"{broken}/items.jsonl:2: not an object with item"),
    ):
        monkeypatch.setattr(sys, "argv", ["join_sequences.py", *map(str, folders)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        assert message in f"{stopped.value.code} {capsys.readouterr().err}"
    assert (shop / "items.jsonl").read_text() == '{"item": 1, "title": "a"}\n'
