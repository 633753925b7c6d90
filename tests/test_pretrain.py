"""python -m cold_jax.pretrain."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import runs

from cold_jax import cli, config, experiment
from cold_jax.encoders import precomputed
from cold_jax.runs.folder import Run

SMALL = (
    "data=synthetic",
    "data.users=60",
    "data.items=40",
    "encoder=tiny",
    "logger=console",
    "loop.max_steps=4",
    "loop.validate_every=2",
    "batching.size=16",
    "optimizer.learning_rate=0.01",
    "loop.min_gain=0",
)
HOW = {
    "tokens": (),
    "contrastive": ("+experiment=contrastive", "adapter=lora"),
    "queries": ("+experiment=queries",),
}


@pytest.fixture(scope="module", params=HOW)
def pretrained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run's folder, with its cache beside it, and what it printed."""
    folder = tmp_path_factory.mktemp(request.param)
    arguments = (*SMALL, *HOW[request.param], f"hydra.run.dir={folder / 'run'}")
    done = runs.run("pretrain", *arguments, cwd=folder, cache=folder / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run", done.stdout


def test_the_encoder_written_is_the_run_s(pretrained: tuple[Path, str]) -> None:
    """encoder=hub reads from it the vectors of θ + Δθ, which are not θ's."""
    folder, _ = pretrained
    s = config.settings(cli.read_config(Run(folder)))
    p = experiment.prepare(s)
    texts = next(iter(p.dataset.items.texts.values()))
    overrides = [
        "+experiment=smoke",
        "encoder=hub",
        f"encoder.id={folder / 'encoder'}",
        "encoder.max_length=64",
        "encoder.dtype=float32",
    ]
    written = config.settings(config.compose(overrides)).encoder()
    encoders = {"theta": p.loaded, "phi": experiment.adapted(s, p, Run(folder)), "written": written}
    vectors = {name: precomputed.vectors(one, one.tokenize(texts, "items")) for name, one in encoders.items()}
    np.testing.assert_allclose(vectors["written"], vectors["phi"], atol=1e-5)
    assert np.abs(vectors["written"] - vectors["theta"]).max() > 1e-3


def test_the_last_lines_are_the_validation_and_the_next_override(pretrained: tuple[Path, str]) -> None:
    folder, output = pretrained
    checks = [line for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "best_step" in line]
    assert [line["step"] for line in checks] == [0, 2, 4]
    best = max(checks, key=lambda line: line["metric"])
    assert best["step"] > 0
    chosen = "minus the held-out loss" if folder.parent.name.startswith("tokens") else "recall@20, mean over tasks"
    assert output.splitlines()[-2:] == [
        f"validation ({chosen}): {checks[0]['metric']:.4f} before, {best['metric']:.4f} at step {best['step']}",
        f"next: {Run(folder).evaluation_of_encoder}",
    ]


def test_its_costs_are_written(pretrained: tuple[Path, str]) -> None:
    folder, _ = pretrained
    document = Run(folder).read_pretraining()
    delta = Run(folder).read_delta()
    s = config.settings(cli.read_config(Run(folder)))
    of_adapter = sum(tensor.size for tensor in delta.values())
    # the objectives here train nothing outside the encoder but a head of the language model, whose size is its vocabulary's
    assert document["parameters"]["trained"] >= of_adapter > 0
    assert document["parameters"]["trained"] == of_adapter or experiment.is_language_modelling(s)
    assert 0 < document["seconds"]["train"] <= document["seconds"]["total"]
    assert document["peak_memory"] > 2**20
    assert document["peak_device_memory"] is None
    assert document["utilisation"]["flop_per_step"] > 0
    assert document["best_step"] in (0, 2, 4)
    assert {"versions", "devices", "digests"} <= document.keys()


def test_a_finished_run_says_so_again(pretrained: tuple[Path, str]) -> None:
    folder, output = pretrained
    written = (folder / "encoder" / "model.safetensors").read_bytes()
    again = runs.run("pretrain", f"resume={folder}", cwd=folder.parent, cache=folder.parent / "cache")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.splitlines()[-2:] == output.splitlines()[-2:]
    assert (folder / "encoder" / "model.safetensors").read_bytes() == written


def test_a_frozen_encoder_is_not_pretrained(tmp_path: Path) -> None:
    done = runs.run("pretrain", *SMALL, "adapter=frozen", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1
    assert "use adapter=full or adapter=lora" in done.stdout + done.stderr


def test_a_start_that_is_kept_is_named(tmp_path: Path) -> None:
    arguments = (*SMALL, *HOW["contrastive"], "loop.min_gain=1000", f"hydra.run.dir={tmp_path / 'run'}")
    done = runs.run("pretrain", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    checks = [line for line in map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) if "gain" in line]
    start = checks[0]["metric"] - checks[0]["gain"]
    best = max(checks, key=lambda line: line["metric"])
    assert (
        f"validation (recall@20, mean over tasks): {start:.4f} before; after it at best {best['metric']:.4f} at step {best['step']}, "
        f"{best['gain'] / best['standard_error']:+.2f} standard errors\n"
        "training did not help: φ is θ (no step was better by loop.min_gain=1000 standard errors)"
    ) in done.stdout


def test_a_training_that_ends_within_its_warm_up_says_so(tmp_path: Path) -> None:
    for name, warmup in (("within", 4), ("beyond", 3)):
        arguments = (*SMALL, *HOW["contrastive"], f"optimizer.warmup={warmup}", f"hydra.run.dir={tmp_path / name}")
        done = runs.run("pretrain", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
        assert done.returncode == 0, done.stderr
        assert ("optimizer.warmup=4: all 4 steps are warm-up" in done.stderr) == (name == "within")
    again = runs.run("pretrain", f"resume={tmp_path / 'within'}", cwd=tmp_path, cache=tmp_path / "cache")
    assert again.returncode == 0, again.stderr


def test_no_step_is_said_to_be_none(tmp_path: Path) -> None:
    arguments = (*SMALL, *HOW["contrastive"], "loop.max_steps=0", f"hydra.run.dir={tmp_path / 'run'}")
    done = runs.run("pretrain", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "; no step was taken: φ is θ" in done.stdout


def test_a_pretraining_is_no_run_to_evaluate(pretrained: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = pretrained
    done = runs.run("evaluate", f"run={folder}", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1
    assert f"{folder}: a pre-training; its encoder is evaluated by python -m cold_jax.train " in done.stderr
    again = runs.run("train", f"resume={folder}", cwd=tmp_path, cache=tmp_path / "cache")
    assert again.returncode == 1
    assert f"resume: {folder}: a pre-training" in again.stderr
    assert not (folder / "results.json").exists()


def test_the_command_that_is_named_evaluates_the_encoder(pretrained: tuple[Path, str], tmp_path: Path) -> None:
    """On the pre-training's own data, by its vectors as they are."""
    folder, output = pretrained
    named = shlex.split(output.splitlines()[-1].removeprefix("next: python -m cold_jax.train "))
    assert {"data=synthetic", "data.users=60", f"encoder.id={folder}/encoder"} <= set(named)
    done = runs.run(
        "train", *named, "logger=none", f"hydra.run.dir={tmp_path / 'on_phi'}", cwd=tmp_path, cache=tmp_path / "cache"
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing was trained." in done.stdout


def test_a_run_of_train_is_not_pretrained_on(finished: Path, tmp_path: Path) -> None:
    done = runs.run("pretrain", f"resume={finished}", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1
    assert f"resume: {finished} is a run of python -m cold_jax.train" in done.stderr
    assert not (finished / "pretraining.json").exists()


def test_a_finished_pretraining_goes_on_for_longer(tmp_path: Path) -> None:
    """As train does, and to the bits of a training that was as long from the start (the schedule is constant)."""
    constant = (*SMALL, *HOW["contrastive"], "optimizer.schedule=constant")
    for name, arguments in (
        ("whole", (*constant, "loop.max_steps=6")),
        ("parts", constant),
        (None, (f"resume={tmp_path / 'parts'}", "loop.max_steps=6")),
    ):
        folder = (f"hydra.run.dir={tmp_path / name}",) if name else ()
        done = runs.run("pretrain", *arguments, *folder, cwd=tmp_path, cache=tmp_path / "cache")
        assert done.returncode == 0, done.stderr
    whole, parts = (Run(tmp_path / name) for name in ("whole", "parts"))
    assert parts.read_metrics()[-1]["step"] == 6
    for name, value in whole.read_delta().items():
        np.testing.assert_array_equal(value, parts.read_delta()[name], err_msg=name)
    assert parts.read_config()["loop"]["max_steps"] == 6
