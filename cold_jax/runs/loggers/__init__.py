"""Where a run can be watched; each way is a file here.

No logger kills a run or holds it up: its figures are in its folder first (metrics.jsonl, results.json); these are views of them.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

log = logging.getLogger(__name__)


Record = Mapping[str, float]


class Logger(Protocol):
    """Watches one run, from start to finish. A class that derives from it leaves out what it does not care for."""

    def start(self, config: Mapping[str, Any], run_folder: Path, name: str, group: str, job_type: str) -> None:
        """The config has been resolved. Runs of a sweep share a group."""
        return

    def step(self, record: Record) -> None:
        """It has step (from 1), steps (how many there will be), epoch, loss, examples_per_second and what else is measured."""
        return

    def validation(self, record: Record) -> None:
        """It has step, epoch, and metrics by name."""
        return

    def finish(self, results: Mapping[str, Any]) -> None:
        """As in results.json."""
        return


def combine(loggers: Sequence[Logger]) -> Logger:
    """One logger out of several. One that raises is reported once and left out from then on; the others and the run go on."""
    return _Together(loggers)


class _Together(Logger):
    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = list(loggers)

    def start(self, *about: Any, **named: Any) -> None:
        self._each(lambda logger: logger.start(*about, **named))

    def step(self, record: Record) -> None:
        self._each(lambda logger: logger.step(record))

    def validation(self, record: Record) -> None:
        self._each(lambda logger: logger.validation(record))

    def finish(self, results: Mapping[str, Any]) -> None:
        self._each(lambda logger: logger.finish(results))

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in tuple(self.loggers):
            try:
                call(logger)
            except Exception as error:
                self.loggers.remove(logger)
                log.warning("%s failed (%s); the run goes on without it", type(logger).__name__.strip("_"), brief(error))


@dataclass(frozen=True)
class NullLogger:
    """Nothing is shown and nothing is sent."""

    def __call__(self) -> Logger:
        return combine([])


def is_due(record: Record, every: int) -> bool:
    """Whether a step is shown: the first, each that `every` divides, and the last."""
    return record["step"] in (1, record["steps"]) or record["step"] % every == 0


def metric_values(record: Record) -> dict[str, float]:
    """A record without what tells its place in the run."""
    return {name: value for name, value in record.items() if name not in ("step", "steps", "epoch", "best_step")}


def chosen_by(config: Mapping[str, Any]) -> str:
    """What a step is chosen by: the mean of a metric over the validation tasks, or of a language model the loss."""
    if "model" in config and config["model"]["_target_"].endswith(".LanguageModel"):
        return "minus the held-out loss"
    return f"{config['evaluation']['metric']}, mean over tasks" if "evaluation" in config else "metric"


def brief(error: Exception) -> str:
    """In one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
