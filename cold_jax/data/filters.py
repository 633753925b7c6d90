"""Filters on the attributes of items: genre=Drama, genre=Drama|Comedy, genre!=Horror, year=1994."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from cold_jax.data.dataset import Entities
from cold_jax.errors import ConfigError, nearest_name


def matching(items: Entities, filters: Sequence[str], edges: Mapping[str, Sequence[float]]) -> np.ndarray:
    """bool of shape (I,): items that satisfy all filters.

    Args:
        edges: of binned attributes, for which a value is a number and stands for its interval.

    Raises:
        ConfigError: a filter is not ATTRIBUTE=VALUE, or there is no such attribute or value; the message has the nearest name.
    """
    allowed_I = np.ones(len(items), bool)
    for one in filters:
        found = re.fullmatch(r"\s*([^=!]+?)\s*(!?=)\s*(.+?)\s*", one, re.DOTALL)
        if found is None:
            raise ConfigError(f"where: {one!r} is not ATTRIBUTE=VALUE, as in genre=Drama, genre=Drama|Comedy or genre!=Drama")
        name, sign, values = found.groups()
        if name not in items.values:
            has = nearest_name(name, list(items.values)) if items.values else "the run's data.item_sets and item_bins name none"
            raise ConfigError(f"where: items have no attribute {name!r}; {has}")
        at = [_column(name, value.strip(), items.values[name], edges.get(name)) for value in values.split("|")]
        has_I = items.indicators[name][:, at].any(1)
        allowed_I &= has_I if sign == "=" else ~has_I
    return allowed_I


def _column(name: str, value: str, known: Sequence[str], edges: Sequence[float] | None) -> int:
    if value in known:
        return list(known).index(value)
    if edges is not None:
        try:
            return int(np.searchsorted(edges, float(value), side="right"))
        except ValueError:
            pass
    raise ConfigError(f"where: no item has {name}={value}; {nearest_name(value, list(known))}")
