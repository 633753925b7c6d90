"""python -m cold_jax.export run=DIR to=FOLDER."""

from pathlib import Path

import numpy as np
import pytest
import runs
from safetensors.numpy import load_file


def test_a_run_is_exported_to_both_formats(finished: Path, tmp_path: Path) -> None:
    """φ = θ + Δθ in hf's file, Δθ's A and B alone in PEFT's."""
    exported = {}
    for form, name in (("hf", "model"), ("peft", "adapter_model")):
        arguments = (f"run={finished}", f"to={tmp_path / form}", f"format={form}")
        done = runs.run("export", *arguments, cwd=tmp_path, cache=finished.parent / "cache")
        assert done.returncode == 0, done.stdout + done.stderr
        exported[form] = load_file(tmp_path / form / f"{name}.safetensors")
    delta = load_file(finished / "delta.safetensors")
    layers = len(delta["encoder.backbone.layers.attention.query.A"])
    for layer in range(layers):  # PEFT's matrices are the transposes of ours
        for linear in ("query", "value"):
            for matrix in ("A", "B"):
                ours = delta[f"encoder.backbone.layers.attention.{linear}.{matrix}"][layer]
                name = f"base_model.model.encoder.layer.{layer}.attention.self.{linear}.lora_{matrix}.weight"
                np.testing.assert_array_equal(exported["peft"][name], ours.T)
    assert len(exported["peft"]) == 4 * layers
    assert all(np.isfinite(array).all() for array in exported["hf"].values())
    done = runs.run("export", *arguments, cwd=tmp_path, cache=finished.parent / "cache")
    assert done.returncode == 1
    assert "exists already; name a new folder" in done.stdout + done.stderr


def test_alpha_is_the_share_of_delta(finished: Path, tmp_path: Path) -> None:
    """Half way every parameter is the mean of θ's, at 0, and φ's."""
    exported = []
    for alpha in (0.0, 0.5, 1.0):
        folder = tmp_path / str(alpha)
        done = runs.run(
            "export", f"run={finished}", f"to={folder}", f"alpha={alpha}", cwd=tmp_path, cache=finished.parent / "cache"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        exported.append(load_file(folder / "model.safetensors"))
    theta, half, phi = exported
    moved = [name for name in theta if not np.array_equal(theta[name], phi[name])]
    assert moved
    for name in theta:
        np.testing.assert_allclose(half[name], (theta[name] + phi[name]) / 2, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("wrong", [("alpha=1.5",), ("alpha=0.5", "format=peft"), ("alpha=[]",), ("alpha=[0,half]",)])
def test_an_alpha_that_cannot_be_is_refused(finished: Path, tmp_path: Path, wrong: tuple[str, ...]) -> None:
    done = runs.run("export", f"run={finished}", f"to={tmp_path / 'to'}", *wrong, cwd=tmp_path, cache=finished.parent / "cache")
    assert done.returncode == 1
    assert "must be from 0, θ, to 1, φ" in done.stdout + done.stderr
