"""A sweep's folder and its jobs."""

from pathlib import Path

import pytest

from cold_jax import sweeps
from cold_jax.errors import RunError
from cold_jax.storage.sealed import seal

WORDS = ["-m", "+experiment=smoke", "seed=1,2"]


def test_the_same_words_give_the_same_folder() -> None:
    folder, words = sweeps.with_folder(WORDS)
    assert folder.parent == Path("multirun")
    assert folder.name.startswith("smoke_")
    assert words == [*WORDS, f"hydra.sweep.dir={folder}"]
    assert sweeps.with_folder([*WORDS, "--cfg", "job"])[1] == [*words, "--cfg", "job"]
    assert sweeps.with_folder(WORDS[::-1])[0] == folder
    assert sweeps.with_folder([*WORDS, "hydra/launcher=joblib"])[0] == folder
    assert sweeps.with_folder([*WORDS, "adapter=full"])[0] != folder
    assert sweeps.with_folder([*WORDS, "hydra.sweep.dir=x"]) == (Path("x"), [*WORDS, "hydra.sweep.dir=x"])


def test_jobs_are_listed_with_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "sweep"
    sweeps.show(sweep)
    assert capsys.readouterr().out == ""
    failed = sweeps.Job(1, ["seed=2"], "failed", "adapter.rank: 0 is not a rank", "x")
    done = [sweeps.Job(number, [f"seed={number + 1}"], "done", "", f"{sweep}/{number}") for number in (0, 1)]
    for job in (failed, done[0]):
        sweeps.note(sweep, job)
    assert sweeps.jobs(sweep) == [done[0], failed]
    with pytest.raises(sweeps.SweepFailed, match="1 of 2 jobs failed"):
        sweeps.show(sweep)
    shown = capsys.readouterr().out
    assert "0 is not a rank" in shown
    assert "seed=2" in shown
    sweeps.note(sweep, done[1])  # the same command again
    sweeps.show(sweep)
    assert "failed" not in capsys.readouterr().out


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    sweeps.note(tmp_path, sweeps.Job(0, [], "failed", "a reason", "x"))
    data = (tmp_path / "jobs.jsonl").read_bytes()
    for damage in (
        b"{}\n",
        data.replace(b"failed", b"done"),
        data[:-9] + b"\n",
        data[:-9],
        data[:-1],
        b"",
        seal({"number": 0}) + b"\n",
    ):
        (tmp_path / "jobs.jsonl").write_bytes(damage)
        with pytest.raises(RunError, match=r"jobs\.jsonl(:1)?: damaged.*"):
            sweeps.jobs(tmp_path)
