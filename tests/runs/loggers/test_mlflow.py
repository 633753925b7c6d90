"""MLflow's records, by its own reader."""

from pathlib import Path

import pytest
from test_wandb import CONFIG, RESULTS, run

from cold_jax.errors import ConfigError, RunError
from cold_jax.runs.folder import flat_config
from cold_jax.runs.loggers import mlflow


@pytest.mark.filterwarnings("ignore")  # its own
def test_a_run_and_its_resumption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("mlflow")
    monkeypatch.setitem(RESULTS, "digests", {"data": "abc"})
    folder, made = tmp_path / "run", mlflow.MLflow(root=str(tmp_path / "mlruns"), experiment="cold", every=5)
    folder.mkdir()
    run(made(), folder)
    run(made(), folder)
    client = library.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("cold")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == (folder / "mlflow_id.txt").read_text()
    assert found.info.status == "FINISHED"
    assert found.data.params == {key: str(value) for key, value in flat_config(CONFIG).items()}
    assert found.data.tags | {"group": "lora_user_cold", "job_type": "train", "sha256.data": "abc"} == found.data.tags
    assert found.data.metrics["test/support_5/recall_at_20"] == 0.34
    steps = {m.step: m.value for m in client.get_metric_history(found.info.run_id, "train/loss")}
    assert steps == {step: 4 / step for step in (1, 5, 10, 15, 20)}


def test_what_is_wrong_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mlflow.MLflow(root=str(tmp_path), experiment="cold", every=5)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'cold_jax\[mlflow\]'"):
        made()
    with pytest.raises(ValueError, match=r"logger\.mlflow\.every"):
        mlflow.MLflow(root="x", experiment="x", every=0)
    (tmp_path / "mlflow_id.txt").write_text("../../x")
    with pytest.raises(RunError, match="is not an id of MLflow"):
        mlflow._read_id(tmp_path / "mlflow_id.txt")
