"""Item and user attributes rendered into text by templates."""

import re
from collections.abc import Mapping, Sequence
from itertools import repeat

from cold_jax.errors import nearest_name

_FIELD = re.compile(r"\{([^{}]*)\}")


def columns_of(template: str) -> tuple[str, ...]:
    """The names of the columns that a template of `render` speaks of."""
    return tuple(_FIELD.findall(template))


def render_template(
    template: str, columns: Mapping[str, Sequence[str]], words: Mapping[str, Mapping[str, str]]
) -> tuple[str, ...]:
    """A text for each row of the columns: `{name}` becomes the row's value of that column, all else stays as it is.

    Args:
      template: such as "{title} ({year})". Values are put in as they are and never read as templates themselves.
      columns: name → values, all of one length; at least one column.
      words: name → {value of that column: what to write instead}.

    Raises:
      ValueError: the template names a column that is not there.
    """
    pieces = []
    for i, piece in enumerate(_FIELD.split(template)):
        if i % 2 == 0:
            pieces.append(repeat(piece))
        elif piece in columns:
            written = words.get(piece, {})
            pieces.append([written.get(value, value) for value in columns[piece]])
        else:
            raise ValueError(f"template {template!r}: no column {piece!r}; {nearest_name(piece, list(columns))}")
    rows = len(next(iter(columns.values())))
    return tuple("".join(row) for _, *row in zip(range(rows), *pieces, strict=False))
