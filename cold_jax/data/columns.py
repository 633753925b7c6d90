"""Interactions of large separated files without a Python loop over their rows.

Only of files that need no second look: rows without quotes and empty lines, all of one width, with ids, numbers and times that read
alike. Of all others nothing is returned, and the readers that look at each row find the reason, or read what is unusual about them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from cold_jax.data.files import LARGEST, number
from cold_jax.data.times import parse_time

Source = TypeVar("Source")
Columns = Callable[[Source, Mapping[str, str]], pa.Table | None]
"""(source, {wanted column: the setting that names it}) → the columns as text, a row for each line after the header, or None."""


def split_columns(data: bytes, names: Sequence[str], wanted: Sequence[str], separator: str) -> pa.Table | None:
    """The wanted columns of valid UTF-8, as text; None where rows are not just what is between two line ends and two separators.

    names: those of all columns, which the first line stands for.
    """
    breaks, returns = data.count(b"\n"), data.count(b"\r")
    is_crlf = returns > 0
    if is_crlf and not returns == data.count(b"\r\n") == breaks:
        return None
    if len(separator.encode()) != 1 or not set(wanted) <= set(names) or len(set(names)) < len(names):
        return None
    if data.startswith((b"\n", b"\r")) or (b"\r\n\r\n" if is_crlf else b"\n\n") in data or b"\0" in data:
        return None
    try:
        return csv.read_csv(
            pa.py_buffer(data),
            csv.ReadOptions(column_names=list(names), skip_rows=1),
            csv.ParseOptions(delimiter=separator, quote_char=False, double_quote=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=list(wanted),
                null_values=[],
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, ValueError):
        return None


def integer_ids(column: pa.ChunkedArray, known: dict[str, int]) -> np.ndarray | None:
    """An integer id for each row; new ids get the next one, in the order of their first rows, in `known` itself. None: one is empty."""
    coded = column.dictionary_encode().combine_chunks()
    code_N, ids = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    if "" in ids or None in ids:
        return None
    first_D = np.zeros(len(ids), np.int64)
    first_D[code_N[::-1]] = np.arange(len(code_N))[::-1]  # the last to be assigned is the first row
    integer_D = np.zeros(len(ids), np.int32)
    for code in np.argsort(first_D):
        integer_D[code] = known.setdefault(ids[code], len(known))
    return integer_D[code_N]


def numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """Finite numbers, of float64; None where a row's is none."""
    return _as_floats(column, number)


def times(column: pa.ChunkedArray) -> np.ndarray | None:
    """Seconds, of float64; None where a row has no time, or one in another format than the rows before."""
    forms: set[str] = set()

    def parse(cell: str) -> float:
        seconds, form = parse_time(cell)
        forms.add(form)
        return seconds

    second_N = _as_floats(column, parse)
    return second_N if len(forms) < 2 else None


def _as_floats(column: pa.ChunkedArray, parse: Callable[[str], float]) -> np.ndarray | None:
    """Plain numbers all at once; where there are others, `parse` of each distinct cell."""
    try:
        value_N = pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowException:
        coded = column.dictionary_encode().combine_chunks()
        try:
            value_N = np.array([parse(cell) for cell in coded.dictionary.to_pylist()])[coded.indices.to_numpy()]
        except ValueError:
            return None
    return value_N if (np.abs(value_N) <= LARGEST).all() else None
