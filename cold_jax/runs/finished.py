"""A finished run, as what reads its folder: results, tables, each user's metrics, rankings."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cold_jax.errors import ConfigError
from cold_jax.runs.folder import Run
from cold_jax.runs.results import Results

if TYPE_CHECKING:
    import polars as pl

    from cold_jax.runs.render import Rendered


class FinishedRun:
    """What a training left in its folder. Each file is read on first use.

    >>> run = FinishedRun("runs/smoke")
    >>> 0 < run.results["test"]["support_5"]["recall@20"] < 1
    True
    >>> run.per_user.columns
    ['part', 'method', 'user_id', 'metric', 'value']
    >>> run.rankings.columns
    ['part', 'user_id', 'rank', 'item_id', 'score']
    """

    def __init__(self, folder: str | Path):
        """Raises ConfigError where the folder holds no finished run."""
        self.path = Path(folder)
        if not Run(self.path).finished:
            raise ConfigError(Run(self.path).not_finished)

    @cached_property
    def results(self) -> Results:
        """results.json: test → part → metric → value, the baselines, and the comparison to them."""
        return Run(self.path).read_results()

    @cached_property
    def per_user(self) -> "pl.DataFrame":
        """A row for each value: part, method ("model", or a baseline's name), user_id, metric, value."""
        import polars as pl

        return pl.DataFrame(Run(self.path).read_per_user()._asdict())

    @cached_property
    def rankings(self) -> "pl.DataFrame":
        """The first positions of each test user's ranking: part, user_id, rank (from 1), item_id, score."""
        import polars as pl

        return pl.DataFrame(Run(self.path).read_rankings()._asdict())

    def table(self) -> "Rendered":
        """The run beside its baselines, for a terminal (print it) or a notebook."""
        from cold_jax.runs.render import Rendered, run_table

        return Rendered([run_table(self.results)])

    def __repr__(self) -> str:
        return f"FinishedRun({str(self.path)!r})"


def kept_metric(folder: Path) -> float | None:
    """The validation metric of the step that a run kept; None where it has validated none. RunError where metrics.jsonl is damaged."""
    validated = {record["step"]: record for record in Run(folder).read_validations()}
    if not validated:
        return None
    kept = validated.get(validated[max(validated)]["best_step"])
    return None if kept is None else float(kept["metric"])
