"""What a report wants of the data that a run was trained on: they are read again, as the run's config says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cold_jax import cli, config
from cold_jax.errors import ConfigError
from cold_jax.storage.files import atomic

if TYPE_CHECKING:
    from cold_jax.config import Settings
    from cold_jax.runs.compare import ComparisonTable, RunRecord

LONGEST = 80  # characters of an item's text that are shown


def item_titles(run: RunRecord) -> dict[str, str]:
    """The main text of each item id. Raises RunError where the run is somebody else's and names data of theirs."""
    items = _settings(run).data().items
    main = next(iter(items.texts.values()), ("",) * len(items))
    return {name: text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…" for name, text in zip(items.ids, main, strict=True)}


def _settings(run: RunRecord) -> Settings:
    from cold_jax.runs.folder import open_run

    return cli.load_settings(open_run(run.path), {})


def write_page(
    path: Path, runs: Sequence[RunRecord], tables: Sequence[ComparisonTable], aside: Sequence[str], titles: bool
) -> None:
    """The tables as one HTML file. titles: with the texts of items."""
    from cold_jax.runs.page.html import html
    from cold_jax.runs.page.leaderboard import page

    title_of: Callable[[RunRecord], Mapping[str, str]] | None = item_titles if titles else None
    text = html(page("cold_jax: report", runs, tables, aside, title_of))
    with atomic(path, new=False) as file:
        file.write(text.encode())


def judge(runs: Sequence[RunRecord], scores: Path, split: Path | None) -> list[RunRecord]:
    """Scores from elsewhere as a method: beside each question of the runs one that was evaluated on the same users.

    Args:
        scores: see `evaluation.outside.read_scores`.
        split: a split.csv. Beside runs it must be theirs; without any it is all that is known of the data.

    Raises:
        ConfigError: there is neither a run nor a split, or the split is not the run's.
        DataError: the scores are wrong; the message names file and line.
    """
    from cold_jax.runs.compare import one_of_each_question

    if runs:
        return [_beside(run, scores, split) for run in one_of_each_question(runs)]
    if split is None:
        raise ConfigError("--scores: name a run's folder, or the split that they are for: --split split.csv")
    return [_of_split(scores, split)]


def _beside(run: RunRecord, scores: Path, split: Path | None) -> RunRecord:
    from cold_jax.runs.folder import Run
    from cold_jax.splits.files import read_split_rows

    if split is not None:
        theirs, given = (sorted(zip(*rows, strict=True)) for rows in (Run(run.path).read_split(), read_split_rows(split)))
        if theirs != given:
            raise ConfigError(f"--split: {split} is not the split of {run.path}, which has its own in split.csv")
    choices = {key: value for key, value in run.config.items() if key.startswith("split.")}
    digests = run.results.get("digests", {})
    return _judged(_settings(run), scores, run.data, run.split, choices, run.results["protocol"], digests)


def _of_split(scores: Path, split: Path) -> RunRecord:
    from cold_jax.data.tables import column_names

    if not split.is_file():
        raise ConfigError(f"--split: {split} is not there; give the split.csv of a run")
    folder, name = str(split.absolute().parent), split.name
    words = [f"data.root={_quoted(folder)}", f"data.interactions={_quoted(name)}", f"split.path={_quoted(str(split.absolute()))}"]
    words += ["data.time=order"] if "order" in column_names(split) else []
    words += ["data=tables", "data.items=null", "data.item_texts={}", "split=from_file", "split.threshold=null"]
    settings = config.settings(config.compose(words))
    return _judged(settings, scores, name, None, {"split._target_": "FromFile", "split.path": str(split)}, None, {})


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
    return f"'{escaped}'"


def _judged(
    settings: Settings,
    scores: Path,
    data: str,
    seed: int | None,
    choices: Mapping[str, object],
    protocol: Mapping[str, dict] | None,
    digests: Mapping[str, str],
) -> RunRecord:
    import polars as pl

    from cold_jax.evaluation.outside import evaluate_scores, read_scores
    from cold_jax.evaluation.protocol import describe_protocol
    from cold_jax.evaluation.tables import per_user_table
    from cold_jax.runs.compare import RunRecord
    from cold_jax.runs.results import Results

    dataset = settings.data()
    split = settings.split(dataset)
    found = read_scores(scores, dataset.users, dataset.items, list(split.test))
    evaluation = evaluate_scores(settings.evaluation, found, split.test, (len(dataset.users), len(dataset.items)))
    described = describe_protocol(split, evaluation, {}, settings.evaluation.metric) if protocol is None else dict(protocol)
    results: Results = {
        "experiment": scores.name,
        "seed": 0,
        "versions": {},
        "devices": {},
        "seconds": {},
        "test": evaluation.mean(),
        "baselines": {},
        "versus": {},
        "protocol": described,
        "overrides": [f"scores={scores.name}"],
        "digests": dict(digests),
    }
    users = pl.DataFrame(per_user_table({"model": evaluation}, dataset.users)._asdict())
    users = users.with_columns(method=pl.lit(None, pl.String))
    return RunRecord(scores, data, seed, {**choices, "scores": str(scores)}, results, users)
