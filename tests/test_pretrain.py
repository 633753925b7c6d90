"""python -m cold_jax.pretrain."""

from pathlib import Path

import pytest
import runs
from safetensors.numpy import load_file

SMALL = ("data=synthetic", "encoder=tiny", "logger=console", "loop.max_steps=4", "loop.validate_every=2", "batching.size=16")


@pytest.mark.parametrize(
    "how", [(), ("+experiment=contrastive", "adapter=lora"), ("+experiment=queries",)], ids=["tokens", "contrastive", "queries"]
)
def test_a_pretrained_encoder_is_where_a_run_starts(tmp_path: Path, how: tuple[str, ...]) -> None:
    folder, places = tmp_path / "run", {"cwd": tmp_path, "cache": tmp_path / "cache"}
    done = runs.run("pretrain", *SMALL, *how, f"hydra.run.dir={folder}", **places)
    assert done.returncode == 0, done.stdout + done.stderr
    before = load_file(folder / "encoder" / "model.safetensors")
    assert f"encoder=hub encoder.id={folder}/encoder" in done.stdout
    again = runs.run("pretrain", f"resume={folder}", **places)  # finished: says so again
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.splitlines()[-2:] == done.stdout.splitlines()[-2:]
    start = ("encoder=hub", f"encoder.id={folder}/encoder", "encoder.max_length=32")
    done = runs.run("train", *runs.smoke(tmp_path / "next", *start, "adapter=zero_shot", "model=text_vectors"), **places)
    assert done.returncode == 0, done.stdout + done.stderr
    assert before


def test_a_frozen_encoder_is_not_pretrained(tmp_path: Path) -> None:
    done = runs.run("pretrain", *SMALL, "adapter=frozen", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1
    assert "use adapter=full or adapter=lora" in done.stdout + done.stderr
