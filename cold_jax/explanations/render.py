"""An explanation for a terminal, or as one HTML page that needs nothing else."""

import html
import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cold_jax.explanations.explanation import Explanation, Words
from cold_jax.storage.logs import escape_control

LARGEST = 6  # words that are listed with what they add
_UP, _DOWN = (22, 120, 60), (176, 40, 40)  # colours of words that raise and lower the score

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }}
table {{ border-collapse: collapse }} td, th {{ padding: .1em .8em; text-align: left }} td.number {{ text-align: right; font-variant-numeric: tabular-nums }}
h1 {{ font-size: 1.3em }} h2 {{ font-size: 1.05em; margin-top: 1.6em }} .words span {{ padding: .1em .15em; border-radius: .2em }} small {{ color: #555 }}
</style></head><body>
{body}
</body></html>
"""


def title_of(found: Explanation) -> str:
    """One line."""
    return f"{found.item_id} for {'a new user' if found.user is None else f'user {found.user}'}: score {found.score:.4f}"


def terms_of(found: Explanation) -> list[tuple[str, float]]:
    """The terms of the score; their sum is the score."""
    terms = [("the item, whoever the user is", found.item), ("the user's profile", found.profile)]
    if found.user_bias:
        terms.append(("the user's bias, the same for all items", found.user_bias))
    return [*terms, ("the user's history", found.history)]


def largest_words(found: Explanation, count: int) -> list[tuple[str, float]]:
    """The words that moved the score most, over all texts."""
    pairs = [pair for text in found.words for pair in text.words]
    return sorted(pairs, key=lambda pair: -abs(pair[1]))[:count]


def in_one_line(found: Explanation) -> str:
    """The largest shares and words, for a cell of a table."""
    shares = ", ".join(f"{one.item_id} {one.share:+.3f}" for one in found.shares[:2])
    words = ", ".join(f"{word} {value:+.3f}" for word, value in largest_words(found, 3))
    return "; ".join(filter(None, [shares, words]))


def for_terminal(found: Explanation) -> Group:
    """Terms, shares, words (coloured, and the largest with what they add), nearest items."""
    terms = _table("what the score is the sum of", ["term", "adds"], [(name, f"{value:+.4f}") for name, value in terms_of(found)])
    parts: list[Text | Table] = [Text(escape_control(line), "bold") for line in (title_of(found), found.text)]
    parts.append(terms)
    if found.shares:
        rows = [(one.item_id, one.text, f"{one.share:+.4f}") for one in found.shares[:10]]
        parts.append(
            _table(f"the history's {len(found.shares)} items, the largest shares first", ["item_id", "text", "adds"], rows)
        )
    if found.attributes:
        rows = [(one.name, f"{one.share:+.4f}") for one in found.attributes[:10]]
        parts.append(_table("the profile's parts, the largest first", ["attribute", "adds"], rows))
    if found.people:
        rows = [(one.user_id, one.text, f"{one.share:+.4f}") for one in found.people[:10]]
        parts.append(_table("training users with similar profiles who took it", ["user_id", "text", "adds"], rows))
    largest = _largest(found)
    for text in found.words:
        line = Text(f"{_name(text)}: ", "bold")
        for word, value in text.words:
            line.append(escape_control(f"{word} "), _style(value, largest))
        parts.append(line)
    by_size = sorted(((word, value, text) for text in found.words for word, value in text.words), key=lambda row: -abs(row[1]))
    rows = [(word, _name(text), f"{value:+.4f}") for word, value, text in by_size[:LARGEST] if value]
    if rows:
        parts.append(_table("words that moved the score most", ["word", "of", "adds"], rows))
    rows = [(one.item_id, one.text, f"{one.cosine:.3f}", "yes" if one.in_history else "") for one in found.nearest]
    parts.append(_table("training items with similar texts", ["item_id", "text", "cosine", "in the history"], rows))
    parts += [Text(line) for line in _footer(found)]
    return Group(*parts)


def _table(title: str, header: list[str], rows: list[tuple[str, ...]]) -> Table:
    drawn = Table(*header, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*(Text(escape_control(cell)) for cell in row))
    return drawn


def for_html(found: Explanation) -> str:
    """A whole page, without scripts or links."""
    body = [f"<h1>{html.escape(title_of(found))}</h1><p>{html.escape(found.text)}</p>"]
    body += ["<h2>What the score is the sum of</h2>", _rows([(name, f"{value:+.4f}") for name, value in terms_of(found)])]
    if found.shares:
        body += [f"<h2>The history's {len(found.shares)} items</h2>"]
        body += [_rows([(one.item_id, one.text, f"{one.share:+.4f}") for one in found.shares[:20]])]
    if found.attributes:
        body += ["<h2>The profile's parts</h2>", _rows([(one.name, f"{one.share:+.4f}") for one in found.attributes[:20]])]
    if found.people:
        rows = [(one.user_id, one.text, f"{one.share:+.4f}") for one in found.people[:20]]
        body += ["<h2>Training users with similar profiles who took it</h2>", _rows(rows)]
    largest = _largest(found)
    if found.words:
        body.append("<h2>Words that raise (green) and lower (red) the score</h2>")
    for text in found.words:
        spans = [
            f'<span title="{value:+.5f}" style="background: rgba{(*_colour(value), _strength(value, largest))}">{html.escape(word)}</span>'
            for word, value in text.words
        ]
        body.append(f'<p class="words"><b>{html.escape(_name(text))}:</b> {" ".join(spans)}</p>')
    body.append("<h2>Training items with similar texts</h2>")
    body.append(
        _rows([(one.item_id, one.text + " (in the history)" * one.in_history, f"{one.cosine:.3f}") for one in found.nearest])
    )
    body += [f"<p><small>{html.escape(line)}</small></p>" for line in _footer(found)]
    return _PAGE.format(title=html.escape(title_of(found)), body="\n".join(body))


def _rows(rows: list[tuple[str, ...]]) -> str:
    cells = [[f"<td>{html.escape(cell)}</td>" for cell in row[:-1]] + [f'<td class="number">{row[-1]}</td>'] for row in rows]
    return "<table>" + "".join(f"<tr>{''.join(row)}</tr>" for row in cells) + "</table>"


def _footer(found: Explanation) -> list[str]:
    c = found.completeness
    if c is None:
        return [f"{found.method}: every term is exact", *found.notes]
    sums = (
        f"words: integrated gradients over token embeddings, {c.steps} steps; they sum to {c.sum:+.5f} where the score of masked"
    )
    return [f"{sums} texts differs by {c.difference:+.5f}: completeness error {c.error:.2%}", *found.notes]


def _name(text: Words) -> str:
    return "the user's profile" if text.of == "profile" else f"{'this item' if text.of == 'item' else 'history'} {text.item_id}"


def _largest(found: Explanation) -> float:
    return max((abs(value) for text in found.words for _, value in text.words), default=0.0)


def _strength(value: float, largest: float) -> float:
    return round(math.sqrt(abs(value) / largest), 2) if largest else 0.0


def _colour(value: float) -> tuple[int, int, int]:
    return _UP if value > 0 else _DOWN


def _style(value: float, largest: float) -> str:
    """Faint words are left as they are."""
    strength = _strength(value, largest)
    return "" if strength < 0.3 else f"{'bold ' * (strength > 0.7)}rgb({','.join(map(str, _colour(value)))})"
