"""MLflow, in a folder of this machine."""

import importlib.util
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cold_jax.errors import ConfigError, RunError
from cold_jax.ranges import require
from cold_jax.runs.folder import flat_config
from cold_jax.runs.loggers import Logger, Record, is_due, metric_values
from cold_jax.runs.loggers.public import flat_metrics, public, without_signs
from cold_jax.storage.files import atomic
from cold_jax.storage.limits import read_file

MOST_PARAMS, LONGEST = 100, 500  # of a call; characters of a value
ID = "mlflow_id.txt"


@dataclass(frozen=True)
class MLflow:
    """Parameters, losses, validation and test metrics, for `mlflow ui --backend-store-uri ROOT`.

    root: the folder of all runs' records. experiment: the name that they are listed under. every: steps from one record to the next.
    """

    root: str
    experiment: str
    every: int

    def __post_init__(self) -> None:
        require("logger.mlflow", self, at_least_1=["every"])

    def __call__(self) -> Logger:
        if importlib.util.find_spec("mlflow") is None:
            raise ConfigError("logger.mlflow: mlflow is not installed; pip install 'cold_jax[mlflow]'")
        return _MLflowRun(self)


class _MLflowRun(Logger):
    def __init__(self, options: MLflow) -> None:
        self.options = options

    def start(self, config: Mapping[str, Any], run_folder: Path, name: str, group: str, job_type: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # kept by MLflow, no longer developed
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        root = Path(self.options.root).absolute()
        self.client = MlflowClient(tracking_uri=root.as_uri())
        self.id = _read_id(run_folder / ID)
        if self.id is not None:  # the run is resumed
            self.client.update_run(self.id, status="RUNNING")
            return
        found = self.client.get_experiment_by_name(self.options.experiment)
        experiment = found.experiment_id if found else self.client.create_experiment(self.options.experiment)
        made = self.client.create_run(experiment, run_name=name, tags={"group": group, "job_type": job_type})
        self.id = made.info.run_id
        with atomic(run_folder / ID, new=True) as file:
            file.write(self.id.encode())
        params = [Param(key, str(value)[:LONGEST]) for key, value in flat_config(public(config)).items()]
        for start in range(0, len(params), MOST_PARAMS):
            self.client.log_batch(self.id, params=params[start : start + MOST_PARAMS])

    def step(self, record: Record) -> None:
        if is_due(record, self.options.every):
            self._log("train", metric_values(record), int(record["step"]))

    def validation(self, record: Record) -> None:
        self._log("validation", metric_values(record), int(record["step"]))

    def finish(self, results: Mapping[str, Any]) -> None:
        self._log("test", flat_metrics(results["test"]), int(results.get("best_step", 0)))
        for key, digest in results.get("digests", {}).items():
            self.client.set_tag(self.id, f"sha256.{key}", digest)
        self.client.set_terminated(self.id)

    def _log(self, kind: str, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in without_signs(kind, values).items()]
        self.client.log_batch(self.id, metrics=metrics)


def _read_id(path: Path) -> str | None:
    try:
        found = read_file(path, 64, RunError).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    if not re.fullmatch("[0-9a-f]{32}", found, re.ASCII):
        raise RunError(f"{path}: {found[:64]!r} is not an id of MLflow; delete the file, and the run gets another")
    return found
