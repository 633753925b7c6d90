"""Arrays on disk: bit for bit, whatever their layout, and no flipped bit gets through."""

import random
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from lies import LIES, TRUTH
from safetensors import safe_open
from safetensors.numpy import save

from cold_jax.storage.tensors import pack_tensors, read_tensors

TENSORS = {
    "kernel": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "odd": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
    "half": np.array([1.5, -2], ml_dtypes.bfloat16),
    "scalar": np.array(3.5),
    "none": np.zeros((0, 4), np.int64),
    "flag": np.array([True, False]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "x.safetensors").write_bytes(pack_tensors(TENSORS, {"key": "value"}))
    return tmp_path / "x.safetensors"


def test_they_come_back(path: Path) -> None:
    found, metadata = read_tensors(path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (found[name].dtype, found[name].shape, found[name].tobytes()) == (tensor.dtype, tensor.shape, tensor.tobytes())
    assert metadata["key"] == "value"
    with safe_open(path, framework="numpy") as file:  # and for any other reader of the format
        np.testing.assert_array_equal(file.get_tensor("kernel"), TENSORS["kernel"])


def test_no_flipped_bit_gets_through(path: Path) -> None:
    data, draw, harmless = path.read_bytes(), random.Random(0), 0
    header = 8 + int.from_bytes(data[:8], "little")
    for number in range(400):
        place = draw.randrange(header, len(data)) if number % 2 else draw.randrange(header)
        broken = bytearray(data)
        broken[place] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        try:
            found, _ = read_tensors(path)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        # the rest of the metadata, and what JSON takes for a space
        assert place < header
        assert all(found[name].tobytes() == tensor.tobytes() for name, tensor in TENSORS.items())
        harmless += 1
    assert harmless < 40


def test_a_file_that_is_cut_short_or_of_another_writer_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in (0, 7, 8, 100, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            read_tensors(path)
    path.write_bytes(save({"a": np.zeros(2)}))
    with pytest.raises(ValueError, match="holds no sha256"):
        read_tensors(path)
    path.write_bytes(save({"a": np.zeros(2)}, {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="where 0{64} was written"):
        read_tensors(path)
    with pytest.raises(FileNotFoundError):
        read_tensors(path.with_name("other"))


@pytest.mark.parametrize("size", [0, 2**40, 2**63, 2**64 - 1])
def test_a_header_of_any_size_allocates_nothing(path: Path, size: int) -> None:
    path.write_bytes(size.to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_tensors(path)
    path.write_bytes((100_000).to_bytes(8, "little") + b"[" * 100_000)
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_tensors(path)


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused_in_one_line(path: Path, lie: str) -> None:
    path.write_bytes(TRUTH)
    with safe_open(path, framework="numpy") as file:
        assert file.get_tensor("a").shape == (2, 2)
    path.write_bytes(LIES[lie])
    with pytest.raises(ValueError, match=r"^not a whole safetensors file: [^\n]{10,200}$"):
        read_tensors(path)
