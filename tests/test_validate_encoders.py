"""Which encoder to keep, by validation: what the script prints on few users."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "validate_encoders.py"
WORDS = ("bolt", "screw", "cup", "pipe", "tape")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """40 users and 25 items. Every item is in some user's training part, so no validation target is cold."""
    items = [{"item": str(i), "title": f"{WORDS[i % 5]} {WORDS[i // 5]} {i}"} for i in range(25)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    lines = [f"u{u} " + " ".join(str((u + 5 * k) % 25) for k in range(5)) for u in range(40)]
    (tmp_path / "sequences.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["validate_encoders.py", *arguments, "encoder=tiny"])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_users_that_chose_no_weight_are_compared(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, f"data.root={shop}", "baseline.history_text.users=10")
    out, err = capsys.readouterr()
    assert "# 30 users, 0 of them with a cold target" in err
    assert re.fullmatch(
        r"# hr@10, ndcg@10; by [\w\-, ]+\nθ [01]\.\d{4} 0\.\d{4}\n", out
    )  # two metrics, and no row of cold targets, nor nan


def test_cold_targets_have_figures_of_their_own(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (shop / "sequences.txt").read_text().splitlines()
    with open(shop / "items.jsonl", "a") as items:
        for u in range(0, 40, 2):  # the last but one of every second user is nobody else's
            items.write(json.dumps({"item": f"new{u}", "title": f"lamp {u}"}) + "\n")
            *before, _, last = lines[u].split()
            lines[u] = " ".join([*before, f"new{u}", last])
    (shop / "sequences.txt").write_text("\n".join(lines) + "\n")
    run(monkeypatch, f"data.root={shop}", "baseline.history_text.users=10")
    out, err = capsys.readouterr()
    of_users, of_cold = map(int, re.findall(r"# (\d+) users, (\d+) of them", err)[0])
    assert of_users == 30
    assert 10 <= of_cold <= 20
    header, theta = out.splitlines()
    assert "of all, then of cold targets" in header
    assert len(theta.split()) == 5


def test_too_few_users_are_said_to_be(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"all 40 validation users .* give baseline.history_text.users=20"):
        run(monkeypatch, f"data.root={shop}")


def test_what_is_no_encoder_is_refused_in_a_line_before_anything_is_computed(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for argument, message in (
        (f"phi={shop}", f"phi={shop}: no config.json"),
        (str(shop), f"{shop}: give a name to the encoder, as in phi={shop}"),
        ("data=sequence", "data"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(monkeypatch, f"data.root={shop}", argument)
        assert message in str(stopped.value.code)
        assert capsys.readouterr().out == ""
