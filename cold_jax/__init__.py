"""Cold-start recommendation by transfer from pre-trained language models.

    run = cold_jax.train("+experiment=lora_user_cold", "adapter=frozen")
    run.table()
    recommender = cold_jax.load(run.path)
    recommender.recommend(profile="a 24-year-old student", k=10)

The legend of shapes. An array's name ends in its axes, so `score_UI` is users × items:

    U  users                      I  items                     N  interactions, or rows of a table
    T  texts                      R  rows of packed texts      L  token positions in a row, or in a text
    S  texts that a row holds     D  width of the encoder      M  width of its MLP
    H  heads                      C  width of a head           F  features of an entity
    V  width of the towers        B  examples in a batch       J  items that a step scores
    A  rank of an adapter         Y  layers of an encoder      K  positions of a ranking, or in a history
    P  (user, target) pairs

Flax's own parameter names (kernel, bias, scale, embedding) stay as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from cold_jax.runs.finished import FinishedRun
    from cold_jax.runs.render import Rendered
    from cold_jax.serving.recommender import Recommender

__version__ = "0.1.0"
__all__ = ["CONF", "compare", "compose", "load", "train"]

# else threads of NumPy's products wait busily for a while after each, on cores that XLA or another process works on
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
_here = Path(__file__).resolve().parent
CONF = str(next(p for p in (_here / "conf", _here.parent / "conf") if p.is_dir()))


def compose(*overrides: str) -> DictConfig:
    """The config that `python -m cold_jax.train` would run with these overrides, such as "adapter=frozen" or "+experiment=smoke".

    Raises:
        hydra.errors.HydraException: an override is wrong.

    >>> cold_jax.compose("+experiment=smoke", "adapter.rank=4").adapter.rank
    4
    """
    from cold_jax.config import compose

    return compose(overrides)


def train(*overrides: str) -> FinishedRun:
    """Trains as `python -m cold_jax.train` does with the same overrides, and returns the finished run.

    The run's folder is `hydra.run.dir`, by default a new one under runs/; `resume=DIR` goes on with one.

    Raises:
        hydra.errors.HydraException: an override is wrong.
        cold_jax.errors.ConfigError: a setting is wrong, before any data is read.
        cold_jax.errors.DataError: the data is wrong.

    >>> run = cold_jax.train("resume=runs/smoke", "logger=none")
    >>> 0 < run.results["test"]["support_5"]["recall@20"] < 1
    True
    """
    from cold_jax import cli
    from cold_jax.runs.finished import FinishedRun

    return FinishedRun(cli.train_from(overrides))


def load(folder: str | Path, *overrides: str) -> Recommender:
    """A finished run that answers requests.

    Args:
        folder: the run's.
        overrides: of its config, where its data or encoder has moved since: "data.root=DIR", "encoder.id=DIR".

    Raises:
        cold_jax.errors.ConfigError: the folder does not hold a finished run, or an override is not a KEY=VALUE of its config.
        cold_jax.errors.RunError: the run was made by somebody else, and its config names what no override gives; or it is damaged.

    >>> recommender = cold_jax.load("runs/smoke")
    >>> recommender.recommend(profile="a 24-year-old engineer", liked=["050"], k=3).columns
    ['rank', 'item_id', 'text', 'score']
    """
    from cold_jax.errors import ConfigError
    from cold_jax.serving.recommender import Recommender

    if wrong := [override for override in overrides if "=" not in override]:
        raise ConfigError(f"{wrong[0]}: not KEY=VALUE")
    given = {key: None if value == "null" else value for key, _, value in (override.partition("=") for override in overrides)}
    return Recommender(Path(folder), given)


def compare(runs: Sequence[FinishedRun | str | Path], metrics: Sequence[str] = ()) -> Rendered:
    """Finished runs side by side: means over seeds, baselines, and paired differences over users with intervals and p.

    Args:
        runs: finished runs, or folders that hold any.
        metrics: to show, such as `recall@20`; none: that and `ndcg@20`.

    >>> table = cold_jax.compare(["runs/smoke"], ["recall@20"])
    >>> "popularity" in str(table)
    True
    """
    from cold_jax.runs.render import compare_folders

    return compare_folders([Path(run) if isinstance(run, str | Path) else run.path for run in runs], metrics)
