"""Several loggers: one that fails leaves the others and the run alone."""

from pathlib import Path
from typing import Any

import pytest

from cold_jax.runs.loggers import NullLogger, combine, is_due, metric_values


def test_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logger = NullLogger()()
    logger.start({}, tmp_path, "name", "group", "train")
    logger.step({"step": 1})
    logger.finish({})
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_the_first_step_every_nth_and_the_last_are_shown() -> None:
    assert [step for step in range(1, 8) if is_due({"step": step, "steps": 7}, 3)] == [1, 3, 6, 7]
    place = {"step": 3, "steps": 7, "epoch": 1, "best_step": 0}
    assert metric_values({**place, "loss": 0.5}) == {"loss": 0.5}


class Failing:
    """Raises at one of its calls, and keeps what it was given before."""

    def __init__(self, harmed: str) -> None:
        self.harmed, self.calls = harmed, []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.harmed:
            raise OSError("broken pipe")

    def start(self, *_: Any, **__: Any) -> None:
        self._call("start")

    def step(self, record: Any) -> None:
        self._call("step")

    def validation(self, record: Any) -> None:
        self._call("validation")

    def finish(self, results: Any) -> None:
        self._call("finish")


@pytest.mark.parametrize("harmed", ["start", "step", "validation", "finish"])
def test_one_logger_that_raises_leaves_the_others(harmed: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Failing(harmed), Failing("none of them")
    logger = combine([bad, good, NullLogger()()])
    logger.start({}, tmp_path, name="name", group="group", job_type="train")
    for step in (1, 2):
        logger.step({"step": step})
        logger.validation({"step": step})
    logger.finish({})
    assert good.calls == ["start", "step", "validation", "step", "validation", "finish"]
    assert bad.calls == good.calls[: good.calls.index(harmed) + 1]
    assert [r.message for r in caplog.records] == ["Failing failed (OSError: broken pipe); the run goes on without it"]
