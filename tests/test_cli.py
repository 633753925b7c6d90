"""What a user reads when a command line is wrong, and how soon."""

import subprocess
import sys
from pathlib import Path

import pytest
import runs

from cold_jax import cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loop.epoch=3"], "loop.epoch: there is no such key; did you mean loop.epochs?"),
        (["+experiment=smoke", "adapter.rnak=3"], "adapter.rnak: there is no such key; did you mean adapter.rank?"),
        (["adapter=lroa"], "Available options in 'adapter'"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_ones(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = runs.run("train", *arguments, cwd=tmp_path, cache=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_help_and_cfg_answer_without_a_job(tmp_path: Path) -> None:
    for arguments in (["--help"], ["--cfg", "job"]):
        done = runs.run("train", *arguments, cwd=tmp_path, cache=tmp_path, PYTHONPROFILEIMPORTTIME="1")
        assert done.returncode == 0
        loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
        assert not loaded & {"jax", "transformers", "wandb", "polars"}


def test_lists_for_spreadsheets_hold_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    cli.show_list(("rank", "text"), [(1, "=HYPERLINK(1)"), (2, "@SUM"), (3, "-5"), (4, "fine")], "csv")
    assert capsys.readouterr().out.splitlines() == ["rank,text", "1,'=HYPERLINK(1)", "2,'@SUM", "3,'-5", "4,fine"]
    cli.show_list(("rank", "text"), [(1, "\x1b[31mred")], "table")
    assert "\x1b" not in capsys.readouterr().out


MINOR_FAULTS = """
import resource
import sys
from cold_jax import cli
if sys.argv[1] == "keep":
    cli.keep_memory()
import numpy as np
faults = []
for _ in range(30):
    x = np.ones(12_000_000)
    del x
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_kept_memory_is_not_mapped_again() -> None:
    """By the kernel's count of pages that were mapped for 96 MB, after the first time."""
    done = {
        how: subprocess.run([sys.executable, "-c", MINOR_FAULTS, how], capture_output=True, text=True, check=True).stdout
        for how in ("keep", "leave")
    }
    assert int(done["keep"]) < int(done["leave"]) / 10
