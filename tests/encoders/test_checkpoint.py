"""Where a checkpoint's files are."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from states import PARITY

from cold_jax.encoders import checkpoint
from cold_jax.errors import WeightsError

SMALL = PARITY / "bert_small"


def test_weight_files(tmp_path: Path) -> None:
    assert checkpoint.weight_files(SMALL) == [SMALL / "model.safetensors"]
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"neither model.safetensors nor .* read from safetensors only; with torch: python -c"):
        checkpoint.weight_files(tmp_path)


@pytest.mark.parametrize(
    "outside", ["../outside.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", ".hidden.safetensors", "x.bin"]
)
def test_an_index_names_plain_files_of_its_folder(tmp_path: Path, outside: str) -> None:
    inside = tmp_path / "folder"
    inside.mkdir()
    (tmp_path / "outside.safetensors").write_bytes((SMALL / "model.safetensors").read_bytes())
    (inside / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": outside}}))
    with pytest.raises(WeightsError, match=r"index.json: weight_map names .*; only plain file names in the folder are read"):
        checkpoint.weight_files(inside)


@pytest.mark.parametrize("content", ["{}", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{"])
def test_a_broken_index_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(WeightsError, match=r"index.json: "):
        checkpoint.weight_files(tmp_path)


def snapshot(tmp_path: Path, names: list[str]) -> Path:
    """In the hub's cache, as its own client lays it out."""
    folder = tmp_path / "models--some--bert/snapshots/abc"
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "models--some--bert/refs").mkdir(exist_ok=True)
    (tmp_path / "models--some--bert/refs/main").write_text("abc")
    for name in names:
        (folder / name).write_bytes((SMALL / name).read_bytes() if (SMALL / name).is_file() else b"{}")
    return folder


WHOLE = ["config.json", "tokenizer.json", "model.safetensors"]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_locate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert checkpoint.locate(str(SMALL)) == SMALL
    with pytest.raises(WeightsError, match=r"hf download some/bert --include 'config.json'") as raised:
        checkpoint.locate("some/bert")
    assert str(tmp_path) in str(raised.value)
    with pytest.raises(WeightsError, match=r"'/no/such/folder' is no folder"):
        checkpoint.locate("/no/such/folder")
    whole = snapshot(tmp_path, [*WHOLE, "modules.json"])
    assert checkpoint.locate("some/bert") == whole
    assert not caplog.records


@pytest.mark.usefixtures("offline")
def test_a_snapshot_without_modules_is_used_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = snapshot(tmp_path, WHOLE)
    assert checkpoint.locate("some/bert") == whole
    assert "no modules.json in the cache" in caplog.text


@pytest.mark.parametrize("there", [["config.json"], WHOLE])
def test_a_snapshot_that_lacks_files_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str]) -> None:
    snapshot(tmp_path, there)

    def download(id: str, allow_patterns: list[str], local_files_only: bool = False) -> str:
        return str(snapshot(tmp_path, [] if local_files_only else [*WHOLE, "modules.json"]))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert (checkpoint.locate("some/bert") / "modules.json").is_file()


@pytest.mark.usefixtures("offline")
def test_a_snapshot_of_the_config_alone_is_refused_where_the_hub_is_out_of_reach(tmp_path: Path) -> None:
    snapshot(tmp_path, ["config.json"])
    with pytest.raises(WeightsError, match=r"is not whole in .* and could not be fetched"):
        checkpoint.locate("some/bert")


def test_all_that_a_folder_may_say_is_wanted() -> None:
    from fnmatch import fnmatch

    wanted: Any = checkpoint._WANTED
    for name in (
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "sentence_bert_config.json",
        "0_Transformer/tokenizer.json",
    ):
        assert any(fnmatch(name, pattern) for pattern in wanted), name
    for name in ("onnx/model.onnx", "pytorch_model.bin", "tf_model.h5", "2_Dense/pytorch_model.bin"):
        assert not any(fnmatch(name, pattern) for pattern in wanted), name
