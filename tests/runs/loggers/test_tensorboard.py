"""TensorBoard's files, read as its documentation has their format: records of protocol buffers, of which a restart drops later steps."""

import struct
from pathlib import Path

import pytest
from test_wandb import RESULTS, run

from cold_jax.errors import ConfigError
from cold_jax.runs.loggers import tensorboard


def read_scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of a name. A record is its length (8 bytes), a checksum (4), an Event and its checksum (4)."""
    from tensorboardX.proto import event_pb2  # pyright: ignore[reportMissingImports]

    found: list[tuple[int, float]] = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.session_log.status == event_pb2.SessionLog.START:
                found = [one for one in found if one[0] < event.step]
            found += [(event.step, value.simple_value) for value in event.summary.value if value.tag == name]
    return found


def test_a_run_and_its_resumption(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    run(tensorboard.TensorBoard(every=5)(), tmp_path)

    def scalars(name: str) -> list[tuple[int, float]]:
        return [(step, pytest.approx(value)) for step, value in read_scalars(tmp_path / "tensorboard", name)]  # type: ignore[misc]

    assert scalars("train/loss") == [(step, 4 / step) for step in (1, 5, 10, 15, 20)]
    assert scalars("validation/recall_at_20") == [(10, 0.1), (20, 0.2)]
    assert scalars("test/support_5/recall_at_20") == [(0, RESULTS["test"]["support_5"]["recall@20"])]
    resumed = tensorboard.TensorBoard(every=5)()
    resumed.start({}, tmp_path, "name", "group", "train")
    resumed.step({"step": 15, "steps": 20, "epoch": 1, "loss": 7.0, "examples_per_second": 1.0})
    resumed.finish({"test": {}})
    assert scalars("train/loss") == [(1, 4), (5, 4 / 5), (10, 4 / 10), (15, 7)]


def test_it_asks_for_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'cold_jax\[tensorboard\]'"):
        tensorboard.TensorBoard(every=5)()
    with pytest.raises(ValueError, match=r"logger\.tensorboard\.every"):
        tensorboard.TensorBoard(every=0)
