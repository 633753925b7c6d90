"""Item and user attributes rendered into text by templates.

A template is text with fields: "{title} ({year}). Genres: {genres}". Where every field of it has a value, the fields are replaced and
nothing else changes. Where some are empty, what belongs to them goes too, so that no stray punctuation is left:

    clauses   apart by `. `, `, `, `; ` and the like, by ` - `, ` / `, by `/` and `|`, and by `: ` after a field
    words     of a clause, apart by blanks; brackets with a field in them are one word: "({year})"
    units     of a word: its fields and brackets

A clause, a word, or brackets whose fields are all empty is left out, and so is an empty unit, each with the separator before it (at the
start, after it). Clauses and words without a field stay. A text of which all fields are empty is empty.

    {title} ({year}). Genres: {genres}     no year     Title. Genres: War       no genres     Title (1999)       no title   (1999). Genres: War
    A {age}-year-old {gender}              no age      A woman                  no gender     A 24-year-old
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cold_jax.errors import ConfigError, nearest_name

_FIELD = re.compile(r"\{([^{}]*)\}")
_UNIT = "\ufdd0"  # stands for a field or brackets where only the text around them matters; Unicode reserves it for such use
_CLAUSE_END = re.compile(r"[.,;!?]+(?:\s+|$)|\s+[-–—·|/]+\s+|[|/]|\s*\n\s*|(?<=" + _UNIT + r"):\s+")
_BLANK = re.compile(r"\s+")
_CLOSING = {"(": ")", "[": "]"}


class Brackets(NamedTuple):
    """Brackets with at least one field in them, and what they hold."""

    opening: str
    inner: "list[str | Field | Brackets]"


class Field(NamedTuple):
    column: str


Pieces = list[str | Field | Brackets]


def columns_of(template: str) -> tuple[str, ...]:
    """The names of a template's columns.

    >>> columns_of("{title} ({year})")
    ('title', 'year')
    """
    return tuple(_FIELD.findall(template))


def render_template(
    template: str, columns: Mapping[str, Sequence[str]], words: Mapping[str, Mapping[str, str]]
) -> tuple[str, ...]:
    """A text for each row of the columns, by the rules above.

    Args:
      template: such as "{title} ({year})". Values are put in as they are and never read as templates themselves.
      columns: name → values, all of one length; at least one column.
      words: name → {value of that column: what to write instead}.

    Raises:
      ValueError: the template names a column that does not exist.

    >>> render_template("{title} ({year}). Genres: {genres}", {"title": ["Heat", "Alien"], "year": ["1995", ""], "genres": ["", "Horror"]}, {})
    ('Heat (1995)', 'Alien. Genres: Horror')
    """
    names = columns_of(template)
    for name in names:
        if name not in columns:
            raise ConfigError(f"template {template!r}: no column {name!r}; {nearest_name(name, list(columns))}")
    literals = _FIELD.split(template)[::2]
    written = [[words.get(name, {}).get(value, value) for value in columns[name]] for name in names]
    pieces = _parse(template)
    texts = []
    for row in range(len(next(iter(columns.values())))):
        values = [column[row] for column in written]
        if all(value.strip() for value in values):
            texts.append(literals[0] + "".join(value + literal for value, literal in zip(values, literals[1:], strict=True)))
        else:
            texts.append(_render(pieces, dict(zip(names, values, strict=True))).strip())
    return tuple(texts)


def _parse(template: str) -> Pieces:
    """Characters, fields and brackets, in their order."""
    open_pieces: list[Pieces] = [[]]  # what each bracket that is still open begins with and holds; first, what none holds
    for n, text in enumerate(_FIELD.split(template)):
        for piece in [Field(text)] if n % 2 else text.replace(_UNIT, ""):
            inner = open_pieces[-1]
            if piece in _CLOSING:
                open_pieces.append([piece])
            elif len(open_pieces) > 1 and piece == _CLOSING[str(inner[0])]:
                open_pieces.pop()
                has_field = any(not isinstance(one, str) for one in inner)
                open_pieces[-1] += [Brackets(str(inner[0]), inner[1:])] if has_field else [*inner, piece]
            else:
                inner.append(piece)
    return [piece for inner in open_pieces for piece in inner]  # brackets that nothing closes are text


def _render(pieces: Pieces, values: Mapping[str, str]) -> str:
    """The text of pieces of which some are empty; "" where all fields are."""
    outline = "".join(piece if isinstance(piece, str) else _UNIT for piece in pieces)
    return _fill(outline, [_unit(piece, values) for piece in pieces if not isinstance(piece, str)], [_CLAUSE_END, _BLANK]) or ""


def _unit(piece: Field | Brackets, values: Mapping[str, str]) -> str:
    if isinstance(piece, Field):
        return values[piece.column] if values[piece.column].strip() else ""
    inner = _render(piece.inner, values)
    return piece.opening + inner + _CLOSING[piece.opening] if inner else ""


def _fill(outline: str, units: list[str], separators: Sequence[re.Pattern[str]]) -> str | None:
    """The text of an outline with its units put in; None where it has units and all are empty.

    It is taken apart by the first of the separators, its parts by the next, and at last into the units themselves.
    """
    if units and not any(units):
        return None
    if not separators:
        before, *after = outline.split(_UNIT)
        return before + _join(["", *after[:-1]], [unit or None for unit in units]) + after[-1] if units else outline
    found = list(separators[0].finditer(outline))
    starts, ends = [0, *(match.end() for match in found)], [*(match.start() for match in found), len(outline)]
    parts, used = [], 0
    for start, end in zip(starts, ends, strict=True):
        count = outline.count(_UNIT, start, end)
        parts.append(_fill(outline[start:end], units[used : used + count], separators[1:]))
        used += count
    return _join(["", *(match[0] for match in found)], parts)


def _join(separators: Sequence[str], parts: Sequence[str | None]) -> str:
    """The parts that are not None, each with the separator before it; the first without."""
    kept = [(separator, part) for separator, part in zip(separators, parts, strict=True) if part is not None]
    return "".join(part if n == 0 else separator + part for n, (separator, part) in enumerate(kept))
