"""TensorBoard's files, by its own reader."""

from pathlib import Path

import pytest
from test_wandb import RESULTS, run

from cold_jax.errors import ConfigError
from cold_jax.runs.loggers import tensorboard


def test_a_run_and_its_resumption(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tensorboard.TensorBoard(every=5)(), tmp_path)

    def scalars(name: str) -> list[tuple[int, float]]:
        found = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
        found.Reload()
        return [(event.step, pytest.approx(event.value)) for event in found.Scalars(name)]  # type: ignore[misc]

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
