"""What an explanation looks like."""

import io
import re

from rich.console import Console

from cold_jax.explanations.explanation import Completeness, Explanation, Neighbour, Share, Words
from cold_jax.explanations.render import for_html, for_terminal, in_one_line, terms_of

FOUND = Explanation(
    user=None,
    item_id="<1>",
    text="a <script>b\x1b[2J",
    score=1.0,
    item=0.5,
    user_bias=0.0,
    profile=0.2,
    history=0.3,
    shares=[Share("7", "seven", 0.4), Share("8", "eight", -0.1)],
    words=[Words("item", "<1>", [("<script>", 0.5), ("up", -0.25), ("flat", 0.0)])],
    completeness=Completeness(0.25, 0.2501, 0.0004, 16),
    nearest=[Neighbour("9", "nine", 0.75, True)],
    notes=["a note"],
)


def test_the_terms_sum_to_the_score() -> None:
    assert abs(sum(value for _, value in terms_of(FOUND)) - FOUND.score) < 1e-12


def test_a_page_needs_nothing_else_and_quotes_what_is_data() -> None:
    page = for_html(FOUND)
    assert not set(re.findall(r"<(\w+)", page)) & {"script", "link", "img", "iframe"}
    assert "&lt;script&gt;" in page
    assert "http" not in page
    for text in ("seven", "+0.4000", "0.750", "(in the history)", "completeness error 0.04%", "a note"):
        assert text in page
    assert page.count("rgba(22, 120, 60, 1.0)") == 1
    assert page.count("rgba(176, 40, 40, 0.71)") == 1


def test_a_terminal_gets_colours_and_no_orders() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="truecolor", width=120).print(for_terminal(FOUND))
    text = out.getvalue()
    assert "\x1b[2J" not in text
    assert "38;2;22;120;60" in text
    assert "38;2;176;40;40" in text
    assert "0.04%" in text


def test_without_colours_the_largest_words_have_figures() -> None:
    out = io.StringIO()
    Console(file=out, color_system=None, width=120).print(for_terminal(FOUND))
    rows = [line.split("│") for line in out.getvalue().splitlines() if "this item <1>" in line and "│" in line]
    assert [(row[1].strip(), row[3].strip()) for row in rows] == [("<script>", "+0.5000"), ("up", "-0.2500")]


def test_a_cell_has_the_largest() -> None:
    assert in_one_line(FOUND) == "7 +0.400, 8 -0.100; <script> +0.500, up -0.250, flat +0.000"
