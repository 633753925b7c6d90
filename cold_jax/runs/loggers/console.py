"""Progress in the terminal."""

import atexit
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cold_jax import progress
from cold_jax.ranges import require
from cold_jax.runs.loggers import Logger, Record, chosen_by, metric_values


@dataclass(frozen=True)
class Console:
    """Progress on stderr: a bar in a terminal; elsewhere a line for the first step, every `every`-th and the last."""

    every: int

    def __post_init__(self) -> None:
        require("logger.console", self, at_least_1=["every"])

    def __call__(self) -> Logger:
        console = progress.terminal()
        return _Bar(console) if console.is_terminal else _Lines(self.every)


class _Lines(Logger):
    def __init__(self, every: int) -> None:
        self.every = every
        self.first: tuple[float, float] | None = None  # (step, seconds)
        self.metric = "metric"

    def start(self, config: Mapping[str, Any], run_folder: Path, name: str, group: str, job_type: str) -> None:
        self.metric = chosen_by(config)

    def step(self, record: Record) -> None:
        step, steps, now = int(record["step"]), int(record["steps"]), time.monotonic()
        left = ""
        if self.first is None:
            self.first = (step, now)  # the first step compiles, so the pace is that of the others
        elif step % self.every and step != steps:
            return
        else:
            seconds = round((now - self.first[1]) / (step - self.first[0]) * (steps - step))
            left = f"  {seconds // 60}:{seconds % 60:02} left"
        _print(f"step {step}/{steps}  {_loss(record)}{record['examples_per_second']:.0f} examples/s{_mfu(record)}{left}")

    def validation(self, record: Record) -> None:
        _print(_validation(record, self.metric))


def _loss(record: Record) -> str:
    return f"loss {record['loss']:.4f}  " if "loss" in record else ""  # with privacy=dp there is none to show


def _mfu(record: Record) -> str:
    return f"  MFU {100 * record['mfu']:.0f} %" if "mfu" in record else ""


def _print(line: str) -> None:
    progress.say(line)


def _validation(record: Record, metric: str) -> str:
    values = {(f"{metric}:" if name == "metric" else name): value for name, value in metric_values(record).items()}
    return f"step {int(record['step'])}  validation  " + "  ".join(f"{name} {value:.4f}" for name, value in values.items())


class _Bar(Logger):
    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[loss]}{task.fields[speed]:.0f} examples/s{task.fields[mfu]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            refresh_per_second=4,
            redirect_stdout=False,  # it would end up on stderr
        )
        self.task, self.metric = None, "metric"
        atexit.register(self.progress.stop)  # after an error too, the terminal gets its cursor back

    def start(self, config: Mapping[str, Any], run_folder: Path, name: str, group: str, job_type: str) -> None:
        self.metric = chosen_by(config)

    def step(self, record: Record) -> None:
        shown = {"loss": _loss(record), "speed": record["examples_per_second"], "mfu": _mfu(record)}
        if self.task is None:
            self.progress.start()
            # a resumed run's first step is not its pace either
            self.task = self.progress.add_task("", total=record["steps"], completed=int(record["step"]), **shown)
        self.progress.update(self.task, completed=record["step"], **shown)

    def validation(self, record: Record) -> None:
        self.progress.console.print(_validation(record, self.metric), markup=False, highlight=False)

    def finish(self, results: Mapping[str, Any]) -> None:
        self.progress.stop()
