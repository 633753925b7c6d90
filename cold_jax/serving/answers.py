"""What the commands that answer requests write: lists of items or users, as a table, JSON or CSV."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from cold_jax import command, progress
from cold_jax.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from cold_jax.serving.recommender import Answer, Recommender
    from cold_jax.serving.requests import UserRequest

HEADER = ("rank", "item_id", "text", "score")
log = logging.getLogger(__name__)


def find_item(recommender: Recommender, item: str | None, attributes: Mapping[str, str], keep: bool) -> str:
    """The id of an item: `item` itself where it is one, else that of a new item with this text and these attributes, now added."""
    if item is not None and not attributes and recommender.has_item(item):
        return item
    if keep and "item_id" not in attributes:
        raise ConfigError("add: a new item needs an id to be kept under; give --attribute item_id=ID")
    if item is not None:
        log.info("item: %r is no id of the catalogue; it is read as the text of a new item", item[:80])
    text = {} if item is None else {"text": item}
    [own] = recommender.add_items([{"item_id": "new item", **text, **attributes}], keep=keep)
    return own


def show_items(answers: Iterable[Answer], form: str, many: bool) -> None:
    """Lists of items. Of many users, csv has a column of users, and json is an object a line: {"user", "items", "reason"}."""
    with progress.stage("ranking", None, "users") as advance:
        if many and form == "json":
            for answer in answers:
                items = [dict(zip(HEADER, row, strict=True)) for row in _rows(answer)]
                print(json.dumps({"user": answer.name, "items": items, "reason": answer.reason}, ensure_ascii=False))
                advance(1)
            return

        def rows() -> Iterator[tuple[object, ...]]:
            for answer in answers:
                if answer.reason:
                    log.warning("%s%s", f"{answer.name}: " if many else "", answer.reason)
                yield from ((answer.name, *row) if many else row for row in _rows(answer))
                advance(1)

        command.show_list(("user", *HEADER) if many else HEADER, rows(), form)


def show_explained(recommender: Recommender, user: UserRequest, answer: Answer, form: str) -> None:
    """A list with reasons: as json whole explanations, else the largest shares and words."""
    from cold_jax.explanations.render import in_one_line

    if answer.reason:
        log.warning("%s", answer.reason)
    with progress.stage("explaining", len(answer.item_ids), "items") as advance:
        found = []
        for item in answer.item_ids:
            found.append(recommender.explain(item, user.user, profile=user.profile, liked=user.liked))
            advance(1)
    reasons: list[object] = [one.to_json() if form == "json" else in_one_line(one) for one in found]
    rows = [(*row, reason) for row, reason in zip(_rows(answer), reasons, strict=True)]
    command.show_list((*HEADER, "reasons"), rows, form)


def _rows(answer: Answer) -> Iterator[tuple[object, ...]]:
    columns = zip(answer.item_ids, answer.texts, answer.scores, strict=True)
    yield from ((rank, item, text, round(score, 6)) for rank, (item, text, score) in enumerate(columns, 1))


def show_users(found: pl.DataFrame, form: str) -> None:
    """What Recommender.who_likes gives."""
    if found.is_empty():
        log.warning("no user: everyone in the data has taken the item, or there are no users")
    rows = [(*row, round(score, 6), place) for *row, score, place in found.iter_rows()]
    command.show_list(found.columns, rows, form)
