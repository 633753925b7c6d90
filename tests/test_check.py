"""python -m cold_jax.data check: a shop's files, from a look at them to data=NAME."""

import re
from pathlib import Path

import pytest
import runs
from omegaconf import OmegaConf

from cold_jax import check, config
from cold_jax.errors import ConfigError, ExistsError


def write_shop(folder: Path) -> None:
    """30 users with 14 purchases each of 20 items; one repeated, one item without a row, two without a title, one row out of order."""
    rows = [(f"{u:03}", f"{(u + 3 * n) % 20:02}", 100 * u + n) for u in range(30) for n in range(14)]
    rows += [("000", "00", 0), ("029", "99", 400)]
    (folder / "clicks.csv").write_text("user_id,item_id,at\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    titles = ["", "", *(f"thing {n}" for n in range(2, 20))]
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"{n:02},{title}\n" for n, title in enumerate(titles)))


ARGUMENTS = [
    "+experiment=smoke",
    "data=tables",
    "data.root=.",
    "data.interactions=clicks.csv",
    "data.time=at",
    "data.items=items.csv",
    "data.item_texts={line: '{title}'}",
]


def test_a_shop_is_checked_written_and_trained_on(tmp_path: Path) -> None:
    write_shop(tmp_path)
    done = runs.run("data", "check", *ARGUMENTS, "--write", "my_shop", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tables: 30 users, 21 items, 422 interactions (density 66.83%); cold: 20.0% of users" in done.stdout
    assert "3 items without text; 1 item without a row of attributes" in done.stdout
    assert "interactions per user: 14 to 15, median 14" in done.stdout
    assert "times: 0 to 2913; 1 rows are earlier than the row before them" in done.stdout
    assert f"{tmp_path}/clicks.csv:422: user '000' and item '00' again, as in {tmp_path}/clicks.csv:2" in done.stdout
    assert "  item '99' has no row of attributes, and 1 interactions" in done.stdout
    assert re.search(r"training: at most 12 steps of [\d.e-]+ s and 4 validations of [\d.e-]+ s", done.stdout)
    assert re.search(r"in all about \d+\.\d minutes on this machine", done.stdout)
    assert re.search(r"memory: \d+\.\d GB at the peak", done.stdout)
    assert "wrote conf/data/my_shop.yaml" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "clicks.csv", "conf", "items.csv"]
    written = OmegaConf.load(tmp_path / "conf" / "data" / "my_shop.yaml")
    assert (written.name, written.root, written.time) == ("my_shop", str(tmp_path), "at")

    small = runs.smoke(tmp_path / "run", "data=my_shop", steps=2)
    done = runs.run("train", *small, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    done = runs.run("train", *small, "data.tme=at", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.stderr.startswith("error: data.tme: there is no such key; did you mean data.time?")


def test_without_a_name_the_config_is_shown_and_nothing_is_written(tmp_path: Path) -> None:
    write_shop(tmp_path)
    done = runs.run("data", "check", "--fast", *ARGUMENTS, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    block = done.stdout.partition("conf/data/NAME.yaml, which --write NAME writes:\n")[2]
    assert OmegaConf.create(block)["_target_"] == "cold_jax.data.tables.Tables"
    assert "training:" not in done.stdout
    assert not (tmp_path / "conf").exists()
    (tmp_path / "clicks.csv").write_text("user_id,item_id,at\n1,,2\n")
    done = runs.run("data", "check", "--fast", *ARGUMENTS, cwd=tmp_path, cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: {tmp_path}/clicks.csv:2: no item id; every row needs one" in done.stderr


def test_a_choice_is_written_once_and_hides_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = check.choice(config.compose(["data=synthetic", "data.users=77"]).data, "mine")
    assert check.write_choice(text, "mine") == Path("conf/data/mine.yaml")
    assert config.compose(["data=mine"]).data.users == 77
    with pytest.raises(ExistsError, match=r"conf/data/mine\.yaml: is there already"):
        check.write_choice(text, "mine")
    for name in ("ml_100k", "../x", "a b", ""):
        with pytest.raises(ConfigError, match=r"^--write: "):
            check.write_choice(text, name)
    (tmp_path / "conf" / "data" / "synthetic.yaml").write_text(text)
    assert config.compose(["data=synthetic"]).data.users == 200
