"""Maximum inner products by an approximate index, for catalogues that are too large to score whole for every request.

max_i u·v_i + b_i is a search for the largest cosine: of x_i = [v_i; b_i; (m² − |v_i|² − b_i²)^½], m the longest [v_i; b_i], with [u; 1; 0]
(Bachrach et al. 2014, doi 10.1145/2645710.2645741). The index is a graph of neighbours (HNSW: Malkov & Yashunin, arXiv 1603.09320) by usearch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cold_jax.errors import ConfigError
from cold_jax.ranges import require
from cold_jax.storage import cache
from cold_jax.storage.files import digest


class IndexSettings(NamedTuple):
    """When there is an index, and how careful it is."""

    above: int | None  # items from which it is used; None: never
    connectivity: int  # neighbours of an item in the graph
    expansion_add: int  # candidates that are looked at while an item is added
    expansion_search: int  # while one is searched for; at least the length of the list
    users: int  # by whom its recall is measured


def index_settings(values: Mapping[str, int | None]) -> IndexSettings:
    """Of the block `index`. Raises ConfigError for a number below 1."""
    settings = IndexSettings(**{name: value if value is None else int(value) for name, value in values.items()})  # type: ignore[arg-type]
    require("index", settings, at_least_1=IndexSettings._fields)
    return settings


def lengthened(target_IV: np.ndarray, bias_I: np.ndarray) -> np.ndarray:
    """x_i, of equal lengths, shape (I, V + 2)."""
    own_IX = np.concatenate([target_IV, bias_I[:, None]], 1).astype(np.float32)
    square_I = np.einsum("ix,ix->i", own_IX, own_IX, dtype=np.float64)  # without a copy in double precision
    missing_I = np.sqrt(np.maximum(square_I.max() - square_I, 0))
    return np.concatenate([own_IX, missing_I[:, None].astype(np.float32)], 1)


class ApproximateIndex:
    """Of one catalogue's vectors; built once and kept in the cache."""

    def __init__(self, target_IV: np.ndarray, bias_I: np.ndarray, settings: IndexSettings):
        """Raises ConfigError where usearch is not installed."""
        try:
            import usearch  # pyright: ignore[reportMissingImports]
            from usearch.index import Index  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ConfigError(
                f"index: {len(bias_I):,} items are more than index.above={settings.above:,}, and the index needs the package usearch: "
                "pip install 'cold_jax[index]', or give index.above=null for exact search"
            ) from None
        x_IX = lengthened(target_IV, bias_I)
        shape: dict[str, Any] = {"ndim": x_IX.shape[1], "metric": "cos", "dtype": "f32"}
        shape |= {name: settings._asdict()[name] for name in ("connectivity", "expansion_add", "expansion_search")}

        def build() -> dict[str, np.ndarray]:
            index = Index(**shape)
            index.add(np.arange(len(x_IX)), x_IX)
            return {"graph": np.frombuffer(bytes(index.save() or b""), np.uint8)}

        key = {"vectors": digest(x_IX), "usearch": usearch.__version__, **shape}
        self.index = Index(**shape)
        self.index.load(cache.arrays("index", key, build)["graph"].tobytes())

    def search(self, user_UV: np.ndarray, count: int) -> np.ndarray:
        """item_UC, positions of about the largest u·v_i + b_i, -1 where fewer were found."""
        query_UX = np.concatenate([user_UV, np.ones((len(user_UV), 1)), np.zeros((len(user_UV), 1))], 1).astype(np.float32)
        found = self.index.search(query_UX, count)
        keys_UC = np.asarray(found.keys).astype(np.int64).reshape(len(query_UX), -1)
        counts_U = np.asarray(getattr(found, "counts", [keys_UC.shape[1]])).reshape(-1, 1)
        return np.where(np.arange(keys_UC.shape[1])[None] < counts_U, keys_UC, -1)
