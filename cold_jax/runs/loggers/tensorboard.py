"""TensorBoard: losses, validation and test metrics, in the run's own folder."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cold_jax.errors import ConfigError
from cold_jax.ranges import require
from cold_jax.runs.loggers import Logger, Record, is_due, metric_values
from cold_jax.runs.loggers.public import flat_metrics, without_signs


@dataclass(frozen=True)
class TensorBoard:
    """Event files in RUN/tensorboard, for `tensorboard --logdir runs`. every: steps from one record to the next."""

    every: int

    def __post_init__(self) -> None:
        require("logger.tensorboard", self, at_least_1=["every"])

    def __call__(self) -> Logger:
        if importlib.util.find_spec("tensorboardX") is None:
            raise ConfigError("logger.tensorboard: tensorboardX is not installed; pip install 'cold_jax[tensorboard]'")
        return _Events(self.every)


class _Events(Logger):
    def __init__(self, every: int) -> None:
        self.every, self.writer = every, None

    def start(self, config: Mapping[str, Any], run_folder: Path, name: str, group: str, job_type: str) -> None:
        self.folder = run_folder / "tensorboard"

    def step(self, record: Record) -> None:
        if is_due(record, self.every):
            self._add("train", metric_values(record), int(record["step"]))

    def validation(self, record: Record) -> None:
        self._add("validation", metric_values(record), int(record["step"]))

    def finish(self, results: Mapping[str, Any]) -> None:
        self._add("test", flat_metrics(results["test"]), int(results.get("best_step", 0)))
        if self.writer is not None:
            self.writer.close()

    def _add(self, kind: str, values: Mapping[str, float], step: int) -> None:
        if self.writer is None:
            from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]

            # of a run that resumes, what was logged beyond the step that it goes on from counts no more
            self.writer = SummaryWriter(str(self.folder), purge_step=step, filename_suffix=f".{step}")
        for name, value in without_signs(kind, values).items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
