"""The command python -m cold_jax.report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_compare import BASE_U, write

from cold_jax.report import main
from cold_jax.runs.folder import Run, create
from cold_jax.runs.render import run_table
from cold_jax.runs.terminal import show


def test_prints_groups_baselines_and_what_is_unfinished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        write(tmp_path / f"{seed}", baselines={"ridge\x1b[31m": BASE_U - 0.02}, experiment="e\x1b]0;title\x07", seed=seed)
    create(tmp_path / "killed\x1b[2J").write_config("seed: 1")
    pretraining = create(tmp_path / "phi")
    pretraining.write_config("seed: 1")
    pretraining.write_pretraining({})
    (tmp_path / "phi" / "encoder").mkdir()
    main([str(tmp_path)])
    shown = capsys.readouterr().out
    for text in ("ml_100k", "#1 e␛]0;title␇ (seed 1, 2)", "ridge␛[31m", f"{BASE_U.mean():.4f}", "#1 − *", "+0.0200"):
        assert text in shown
    assert shown.splitlines()[-2:] == [
        f"pre-training: {tmp_path}/phi; evaluate its encoder with python -m cold_jax.train adapter=zero_shot model=text_vectors encoder=hub encoder.id={tmp_path}/phi/encoder",
        f"unfinished: {tmp_path}/killed␛[2J",
    ]
    assert "\x1b" not in shown


def test_a_single_run_shows_what_it_printed_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "a", baselines={"ridge": BASE_U - 0.02}, experiment="e")
    main([str(tmp_path)])
    shown = capsys.readouterr().out
    show([run_table(Run(folder).read_results())])
    assert shown == capsys.readouterr().out
    assert "e, seed 1" in shown


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a", baselines={"ridge\x1b": BASE_U - 0.02})
    main(["--json", "--metric", "recall@20", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    found = json.loads(shown)
    [section] = found["sections"]
    assert section["groups"][0]["test"]["support_5"]["recall@20"]["mean"] == pytest.approx(BASE_U.mean())
    assert section["differences"][0]["found"]["ci95"] == pytest.approx([0.02, 0.02])
    assert (found["unfinished"], found["pretrainings"], found["damaged"]) == ([], [], {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/empty"], "no finished run (a folder with results.json) under {}/empty"),
        (["{}/killed"], "unfinished: {}/killed"),
        (["{}/nowhere"], "{}/nowhere: there is no such folder"),
        (["{}/a", "--metric", "recal@20"], "metric recal@20: no run has it; there are recall@20"),
    ],
)
def test_errors_say_where_it_looked(arguments: list[str], message: str, tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    create(tmp_path / "killed").write_config("seed: 1")
    with pytest.raises(SystemExit) as stopped:
        main([argument.format(tmp_path) for argument in arguments])
    assert message.format(tmp_path) in str(stopped.value.code)  # a text: python prints it and exits with 1


def test_help_loads_nothing_heavy() -> None:
    code = "import sys\nfrom cold_jax.report import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"jax", "polars", "numpy", "rich", "wandb"} & set(shown.split())
