"""What a report wants of the data that a run was trained on: they are read again, as the run's config says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cold_jax import cli
from cold_jax.storage.files import atomic

if TYPE_CHECKING:
    from cold_jax.runs.compare import ComparisonTable, RunRecord, RunScan

LONGEST = 80  # characters of an item's text that are shown


def item_titles(run: RunRecord) -> dict[str, str]:
    """The main text of each item id. Raises RunError where the run is somebody else's and names data of theirs."""
    from cold_jax.runs.folder import open_run

    items = cli.load_settings(open_run(run.path), {}).data().items
    main = next(iter(items.texts.values()), ("",) * len(items))
    return {name: text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…" for name, text in zip(items.ids, main, strict=True)}


def write_page(path: Path, found: RunScan, tables: Sequence[ComparisonTable], aside: Sequence[str], titles: bool) -> None:
    """The tables as one HTML file. titles: with the texts of items."""
    from cold_jax.runs.page.html import html
    from cold_jax.runs.page.leaderboard import page

    title_of: Callable[[RunRecord], Mapping[str, str]] | None = item_titles if titles else None
    text = html(page("cold_jax: report", found, tables, aside, title_of))
    with atomic(path, new=False) as file:
        file.write(text.encode())
