"""What python -m cold_jax.data check shows: the data, how they are split, odd rows, and what the experiment will cost here."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from cold_jax import CONF, experiment, timing
from cold_jax.errors import ConfigError, ExistsError

if TYPE_CHECKING:
    import numpy as np

    from cold_jax.config import Settings
    from cold_jax.experiment import Prepared

ODD, PROBE = 10, 6  # odd rows that are shown; training steps that are timed, the first of which compiles
OWN = Path("conf")  # beside the project's own choices, those of the folder that a command is started in


def describe(p: Prepared) -> Iterator[str]:
    """Lines about the data and their split."""
    import numpy as np

    from cold_jax.data.oddities import backwards, describe_time, odd_rows
    from cold_jax.data.summary import summarize

    d = p.dataset
    yield from summarize(d, p.split.cold_U, p.split.cold_I, p.texts).lines()
    labels, counts = np.unique(p.split.part_N, return_counts=True)
    yield "split: " + ", ".join(f"{count:,} {label or 'unused'}" for label, count in zip(labels, counts, strict=True))
    for name, side, entities in (("users", "user", d.users), ("items", "item", d.items)):
        count = np.bincount(d.user_N if side == "user" else d.item_N, minlength=len(entities))
        yield f"interactions per {side}: {_spread(count)}; {int((count == 0).sum()):,} {name} have none, {int((count == 1).sum()):,} one"
    if d.time_N.any():
        low, median, high = (float(x) for x in np.quantile(d.time_N, [0, 0.5, 1]))
        times = f"{describe_time(low, median)} to {describe_time(high, median)}"
        yield f"times: {times}; {backwards(d):,} rows are earlier than the row before them (a user's are sorted)"
    else:
        yield "times: none; the order of the rows counts"
    names = [*(f"users.{name}" for name in d.users.texts or ["profile"]), *(f"items.{name}" for name in d.items.texts)]
    for name, tokens in zip(names, p.texts, strict=True):
        yield f"tokens of {name}: {_spread(tokens.length_T)}; {tokens.cut:,} cut"
    odd = odd_rows(d, ODD)
    yield f"odd rows (at most {ODD}):" if odd else "odd rows: none"
    yield from (f"  {line}" for line in odd)


def estimate(s: Settings, p: Prepared) -> Iterator[str]:
    """Lines about time and memory, by a few steps and a validation of the experiment, in a folder that is removed."""
    from cold_jax.runs.folder import Run
    from cold_jax.runs.loggers import combine

    if s.baselines:
        needs, name = max((baseline.needs(p.train), name) for name, baseline in s.baselines.items())
        yield f"baselines: {len(s.baselines)}; {name} needs the most memory, about {needs / 1e9:.1f} GB beside the data"
    logger = logging.getLogger("cold_jax.training")
    level = logger.level
    probe = s._replace(loop=dataclasses.replace(s.loop, max_steps=PROBE, epochs=max(s.loop.epochs, PROBE)), profile=False)
    with tempfile.TemporaryDirectory() as folder, timing.gathered() as seconds:
        logger.setLevel(logging.WARNING)
        try:
            t = experiment.setup(probe, p)
            run = Run(Path(folder))
            trained, _ = experiment.training(probe, p, t, run, combine([])).fit()
            start = time.monotonic()
            if t.validate is not None:
                t.validate(trained)  # once more, without what the first ones compile
            validation = time.monotonic() - start
        finally:
            logger.setLevel(level)
        entries = run.read_metrics()
    ended = [entry["seconds"] for entry in entries if "seconds" in entry]
    if len(ended) < 3:
        yield "training: this experiment trains nothing"
        return
    step = (ended[-1] - ended[1]) / (len(ended) - 2)
    steps = s.loop.steps(t.batches.steps_per_epoch)
    validations, validated = 1 + -(-steps // s.loop.validate_every), sum("metric" in entry for entry in entries)
    total = ended[0] + steps * step + seconds["validate"] + max(validations - validated, 0) * validation
    yield f"training: at most {steps:,} steps of {step:.3g} s and {validations} validations of {validation:.3g} s"
    yield f"in all about {total / 60:.1f} minutes on this machine, without baselines and the test"
    if (peak := timing.peak_memory()) is not None:
        yield f"memory: {peak / 1e9:.1f} GB at the peak of {PROBE} steps"


def choice(node: DictConfig, name: str) -> str:
    """The YAML of conf/data/NAME.yaml: these settings of data."""
    values = OmegaConf.to_container(node, resolve=True)
    text = OmegaConf.to_yaml(OmegaConf.create(values | {"name": name} if isinstance(values, dict) else values))
    return f"# data={name}, written by python -m cold_jax.data check\n{text}"


def write_choice(text: str, name: str) -> Path:
    """Writes conf/data/NAME.yaml in the folder that the command was started in; commands that are started there know data=NAME.

    Raises:
      ConfigError: the name is none, or one of the project's own choices.
      ExistsError: the file is there already.
    """
    from cold_jax.storage.files import atomic

    if not name.isidentifier():
        raise ConfigError(f"--write: {name!r} is no name; take letters, digits and _")
    if Path(CONF, "data", f"{name}.yaml").exists():
        raise ConfigError(f"--write: data={name} exists already; take another name")
    path = OWN / "data" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic(path, new=True) as file:
            file.write(text.encode())
    except FileExistsError:
        raise ExistsError(f"{path}: is there already; take another name, or delete it") from None
    return path


def _spread(count: np.ndarray) -> str:
    import numpy as np

    low, median, high, most = np.quantile(count, [0, 0.5, 0.95, 1]) if len(count) else (0, 0, 0, 0)
    return f"{low:g} to {most:g}, median {median:g}, 95 % have at most {high:g}"
