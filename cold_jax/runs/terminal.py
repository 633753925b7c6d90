"""Tables on stdout. What only shows a list imports this, and nothing that compares runs, which takes polars (0.2 s)."""

from collections.abc import Iterable

from rich.console import Console, RenderableType


def show(tables: Iterable[RenderableType]) -> None:
    """On stdout. A terminal has an edge to wrap at, a file has none."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    for table in tables:
        console.print(table)


def escape_control(text: str) -> str:
    """Control characters as their pictures (ESC as ␛), so that no name in a file can steer the terminal."""
    pictures = {code: 0x2400 + code for code in range(32)} | {0x7F: 0x2421}
    return text.translate(pictures | {code: f"\\x{code:x}" for code in range(0x80, 0xA0)})
