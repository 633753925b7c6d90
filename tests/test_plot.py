"""The command python -m cold_jax.plot."""

from pathlib import Path

import pytest

from cold_jax.plot import main


def test_it_prints_the_files(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"run={finished}", "--only", "seconds"])
    assert capsys.readouterr().out == f"{finished}/plots/seconds.svg\n"


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run=nowhere"])
    assert capsys.readouterr().err.startswith("error: nowhere: not a finished run")
