"""python -m cold_jax.export run=DIR to=FOLDER."""

from pathlib import Path

import runs
from safetensors.numpy import load_file


def test_a_run_is_exported_to_both_formats(tmp_path: Path) -> None:
    done = runs.run("train", *runs.smoke(tmp_path / "run", "adapter=lora"), cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    for form, name in (("hf", "model"), ("peft", "adapter_model")):
        arguments = (f"run={tmp_path / 'run'}", f"to={tmp_path / form}", f"format={form}")
        done = runs.run("export", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
        assert done.returncode == 0, done.stdout + done.stderr
        assert load_file(tmp_path / form / f"{name}.safetensors")
    done = runs.run("export", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1
    assert "is there already; name a new folder" in done.stdout + done.stderr
