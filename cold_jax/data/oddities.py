"""Rows that deserve a look before anyone trains on them: none is an error, and each is named by its line or its key."""

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.files import excerpt

EPOCH_SECONDS = (1e8, 1e11)  # where times of that median are taken for seconds since 1970: from 1973 to the year 5138
FAR, MANY, LONG = 6, 20, 10_000  # standard deviations of a value; times the median number of interactions; characters of a text


def odd_rows(dataset: Dataset, most: int) -> list[str]:
    """A line for each of at most `most` odd rows, of every kind some."""
    count_U, count_I = (
        np.bincount(n, minlength=len(e)) for n, e in ((dataset.user_N, dataset.users), (dataset.item_N, dataset.items))
    )
    kinds = [
        _repeated(dataset),
        _values(dataset),
        _times(dataset),
        _busy_users(dataset.users, count_U),
        _alike("user", dataset.users),
        _alike("item", dataset.items),
        _without_text(dataset.items, count_I),
        _long_texts(dataset.items),
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    return list(itertools.islice((line for line in turns if line is not None), most))


def backwards(dataset: Dataset) -> int:
    """How many interactions have an earlier time than the row before them."""
    return int((np.diff(dataset.time_N) < 0).sum())


def describe_time(seconds: float, median: float) -> str:
    """A date where the times look like seconds since 1970; the number otherwise."""
    if EPOCH_SECONDS[0] <= median <= EPOCH_SECONDS[1] and 0 <= seconds <= EPOCH_SECONDS[1]:
        return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return f"{seconds:g}"


def _place(dataset: Dataset, n: int) -> str:
    return f"interaction {n + 1}" if dataset.line_N is None else f"{dataset.source}:{dataset.line_N[n]}"


def _repeated(dataset: Dataset) -> Iterator[str]:
    pair_N = dataset.user_N.astype(np.int64) * max(len(dataset.items), 1) + dataset.item_N
    sorted_N = np.argsort(pair_N, kind="stable")
    is_again_N = np.flatnonzero(np.diff(pair_N[sorted_N]) == 0) + 1
    for again in is_again_N:
        n, before = int(sorted_N[again]), int(sorted_N[again - 1])
        user, item = dataset.users.ids[dataset.user_N[n]], dataset.items.ids[dataset.item_N[n]]
        yield f"{_place(dataset, n)}: user {excerpt(user)} and item {excerpt(item)} again, as in {_place(dataset, before)}"


def _values(dataset: Dataset) -> Iterator[str]:
    value_N = dataset.value_N.astype(np.float64)
    low, high = np.quantile(value_N, [0.01, 0.99])
    distance_N = np.abs(value_N - value_N.mean())
    far_N = np.flatnonzero(distance_N > FAR * value_N.std())
    for n in far_N[np.argsort(-distance_N[far_N], kind="stable")]:
        yield f"{_place(dataset, int(n))}: the value is {value_N[n]:g}; 98 % lie in {low:g} to {high:g}"


def _times(dataset: Dataset) -> Iterator[str]:
    median = float(np.median(dataset.time_N))
    if EPOCH_SECONDS[0] <= median <= EPOCH_SECONDS[1]:
        for n in np.flatnonzero((dataset.time_N <= 0) | (dataset.time_N > time.time() + 86_400)):
            yield f"{_place(dataset, int(n))}: the time is {describe_time(float(dataset.time_N[n]), median)}"


def _busy_users(users: Entities, count_U: np.ndarray) -> Iterator[str]:
    median = float(np.median(count_U[count_U > 0]))
    for u in np.argsort(-count_U, kind="stable"):
        if count_U[u] <= max(MANY * median, 100):
            return
        yield f"user {excerpt(users.ids[u])} has {count_U[u]:,} interactions; the median is {median:g}"


def _alike(kind: str, entities: Entities) -> Iterator[str]:
    first: dict[str, str] = {}
    for own in entities.ids:
        other = first.setdefault(own.strip().casefold(), own)
        if other != own:
            yield f"{kind}s {excerpt(other)} and {excerpt(own)} differ in blanks or case alone"


def _without_text(items: Entities, count_I: np.ndarray) -> Iterator[str]:
    texts = next(iter(items.texts.values()), ())
    empty = [n for n, text in enumerate(texts) if not text.strip()]
    first_without_row = len(items) - items.without_row
    for n in sorted(empty, key=lambda n: -count_I[n]):
        why = "has no row of attributes" if n >= first_without_row else "has no text"
        yield f"item {excerpt(items.ids[n])} {why}, and {count_I[n]:,} interactions"


def _long_texts(items: Entities) -> Iterator[str]:
    for name, texts in items.texts.items():
        for n in sorted((n for n, text in enumerate(texts) if len(text) > LONG), key=lambda n: -len(texts[n])):
            yield f"item {excerpt(items.ids[n])}: its text {name!r} has {len(texts[n]):,} characters"
