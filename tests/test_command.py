"""What a user reads when something is wrong, what is left behind then, and how soon a command answers."""

import gc
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import runs
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from cold_jax import command, errors, sweeps
from cold_jax.cli import Invocation
from cold_jax.storage.sealed import seal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loop.epoch=3"], "loop.epoch: there is no such key; did you mean loop.epochs?"),
        (["+experiment=smoke", "adapter.rank=eight"], "adapter.rank: "),
        (["+experiment=smoke", "adapter.rank=0"], "adapter.rank: 0 is not a rank"),
        (
            [
                "data=tables",
                "data.root=.",
                "data.interactions=nowhere.csv",
                "data.items=nowhere.csv",
                "data.item_texts={line: '{title}'}",
            ],
            "nowhere.csv: ",
        ),
    ],
)
def test_a_user_s_mistake_is_one_line_and_leaves_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    done = runs.run("train", *arguments, cwd=place, cache=tmp_path / "cache")
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in done.stderr
    assert list(place.iterdir()) == []


def test_a_refused_folder_can_be_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    done = runs.run("train", *runs.smoke(folder, "adapter.rank=0"), cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1
    assert not (tmp_path / "deep").exists()
    done = runs.run("train", *runs.smoke(folder, "logger=none"), cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith(("step ", "fitting", "validating"))]  # logger=none
    assert f"run: {folder}" in done.stdout


def test_folders_that_were_there_stay(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    made = tmp_path / "before" / "new" / "run"

    def fail(*files: str) -> None:
        with command.removed_if_empty([made]):
            made.mkdir(parents=True)
            for name in files:
                (made / name).touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.rglob("*")) == [tmp_path / "before"]
    with pytest.raises(KeyError):
        fail("file")
    assert (made / "file").exists()


def _too_big(shape: tuple[int, ...]) -> ValueError:
    with pytest.raises(ValueError, match="too big|exceeded") as raised:
        np.zeros(shape, np.int32)
    return raised.value


def test_one_line_is_for_users_mistakes_alone() -> None:
    with pytest.raises(MissingMandatoryValue) as missing:
        OmegaConf.create({"run": "???"}).run  # noqa: B018
    mistakes = [
        errors.DataError("x.csv:3: rating 'a'\nis not a number"),
        HydraException("a\nb"),
        missing.value,
        MemoryError("Unable to allocate 30. GiB"),
        FileNotFoundError(2, "No such file or directory", "x.csv"),
        RuntimeError("INTERNAL: Error dispatching computation: Out of memory allocating 1039400021560 bytes."),
        *(_too_big(shape) for shape in ((2**40, 2**30), (2**63,))),
    ]
    lines = [command.one_line(mistake) for mistake in mistakes]
    assert lines[0] == "x.csv:3: rating 'a' is not a number"
    assert "run=VALUE" in lines[2]
    assert "30. GiB" in lines[3]
    assert lines[4] == "x.csv: No such file or directory"
    assert all(line.startswith("out of memory") for line in lines[5:])
    assert all(line and "\n" not in line for line in lines)
    for bug in (ValueError("x"), KeyError("x"), TypeError(), AttributeError("a"), ZeroDivisionError()):
        assert command.one_line(bug) == ""


def test_a_bug_keeps_its_traceback_and_says_that_it_can_be_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, command.errors_in_one_line():
        raise KeyError("of ours")
    assert stopped.value.code == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("Traceback")
    assert "KeyError: 'of ours'" in shown[-2]
    assert "please report it" in shown[-1]


def test_help_and_cfg_answer_without_a_job(tmp_path: Path) -> None:
    for arguments in (["--help"], ["--cfg", "job"]):
        done = runs.run("train", *arguments, cwd=tmp_path, cache=tmp_path, PYTHONPROFILEIMPORTTIME="1")
        assert done.returncode == 0
        loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
        assert not loaded & {"jax", "transformers", "wandb", "polars"}


def test_lists_for_spreadsheets_hold_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    command.show_list(("rank", "text"), [(1, "=HYPERLINK(1)"), (2, "@SUM"), (3, "-5"), (4, "fine")], "csv")
    assert capsys.readouterr().out.splitlines() == ["rank,text", "1,'=HYPERLINK(1)", "2,'@SUM", "3,'-5", "4,fine"]
    command.show_list(("rank", "text"), [(1, "\x1b[31mred")], "table")
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_is_written_is_utf_8_in_every_locale(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    with command.errors_in_one_line():
        command.show_list(("text",), [("Größe −1 茶",)], "csv")
    sys.stdout.flush()
    assert written.getvalue().decode().split() == ["text", "Größe", "−1", "茶"]


@pytest.mark.parametrize(
    ("reason", "noted", "objective"),
    [
        (None, [], 0.25),  # done: the objective of a search is that of the step kept
        ("", [], None),  # failed, and has noted why
        ("SIGKILL ended its process", ["SIGKILL ended its process"], None),
    ],
)
def test_a_job_in_a_process_of_its_own(
    reason: str | None, noted: list[str], objective: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    lines = ({"step": step, "metric": metric, "best_step": 1} for step, metric in [(1, 0.25), (2, 0.125)])
    (folder / "metrics.jsonl").write_bytes(b"".join(seal(line) + b"\n" for line in lines))
    monkeypatch.setattr(command.cli, "invocation", lambda: Invocation(folder, ("seed=2",), tmp_path, 3))
    monkeypatch.setattr(command.cli, "wants_own_process", lambda: True)
    monkeypatch.setattr(command.jobs, "run_apart", lambda *given: reason)

    def job(cfg: object) -> None:
        raise AssertionError("a job of another process ran in this one")

    assert command.run(job, OmegaConf.create(), "train") == objective
    assert [(job.number, job.overrides, job.state, job.reason) for job in sweeps.jobs(tmp_path)] == [
        (3, ["seed=2"], "failed", why) for why in noted
    ]


def test_the_collector_passes_over_imports_alone() -> None:
    before, kept = gc.get_freeze_count(), [[] for _ in range(1000)]
    with command.without_collector():
        assert not gc.isenabled()
        command.keep_imports()
        assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)
    with command.without_collector():
        pass
    assert gc.isenabled()
