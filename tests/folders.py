"""Folders of sentence-transformers, written out of tests/parity/pipelines, and their vectors here and there."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from states import HUB, PARITY

from cold_jax.encoders import Loaded, precomputed

FOLDERS = PARITY / "pipelines"
GOLDEN = json.loads((FOLDERS / "pipelines.json").read_text())
CASES, TEXTS = GOLDEN["cases"], GOLDEN["texts"]


def write(folder: Path, name: str, **changes: Any) -> Path:
    """The folder of a case; `changes` of its files, None for one that it lacks."""
    case = CASES[name]
    shutil.copytree(FOLDERS / case["base"], folder)
    files = case["files"] | {key.replace("__", "/").replace("_json", ".json"): content for key, content in changes.items()}
    for path, content in files.items():
        if content is None:
            continue
        (folder / path).parent.mkdir(exist_ok=True)
        own = json.loads((folder / path).read_text()) if path == "config.json" else {}
        (folder / path).write_text(json.dumps({**own, **content} if isinstance(content, dict) else content))
    arrays = load_file(FOLDERS / "pipelines.safetensors")
    for path in {str(Path(path).parent) for path, content in files.items() if "in_features" in (content or {})}:
        own = {key.rsplit("/", 1)[1]: value for key, value in arrays.items() if key.startswith(f"{name}/{path}/")}
        save_file(own, folder / path / "model.safetensors")
    return folder


def vectors(loaded: Loaded, texts: list[str], side: str = "items") -> np.ndarray:
    return precomputed.vectors(loaded, loaded.tokenize(texts, side))


def differences() -> dict[str, float]:
    """The parity table: for each case the largest difference of a vector from the library's."""
    with tempfile.TemporaryDirectory() as scratch:
        return {name: difference(write(Path(scratch, str(n)), name), name) for n, name in enumerate(CASES)}


def difference(folder: Path, name: str) -> float:
    loaded, arrays = replace(HUB, id=str(folder))(), load_file(FOLDERS / "pipelines.safetensors")
    largest = 0.0
    for side in CASES[name]["sides"]:
        expected = arrays[f"{name}/{side}"]
        largest = max(largest, float(np.abs(vectors(loaded, TEXTS, side) - expected).max()))
    return largest
