"""Templates put values in and nothing else; where values are missing, no stray punctuation is left."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_jax.text.templates import columns_of, render_template

PAYLOADS = [
    "{0.__class__}",
    "{a}",
    "{b.__init__.__globals__}",
    "${oc.env:HOME}",
    "{{7*7}}",
    "%s",
    "\\1",
    "\\g<0>",
    "{",
    "}",
    "",
    "é\n\x00'\"",
]


@settings(deadline=None)
@given(st.lists(st.tuples(st.text() | st.sampled_from(PAYLOADS), st.text() | st.sampled_from(PAYLOADS)), max_size=5))
def test_values_are_put_in_and_never_read(rows: list[tuple[str, str]]) -> None:
    columns = {"a": [a for a, _ in rows], "b c": [b for _, b in rows]}
    made = render_template("{b c}: {a} {a}%s", columns, {})
    for (a, b), text in zip(rows, made, strict=True):
        if a.strip() and b.strip():
            assert text == b + ": " + a + " " + a + "%s"
        else:
            assert text == (a + " " + a + "%s" if a.strip() else b if b.strip() else "").strip()


def test_words_replace_whole_values_of_their_own_column() -> None:
    columns = {"gender": ["M", "F", "MF", ""], "code": ["M", "M", "M", "M"]}
    made = render_template("{gender}/{code}", columns, {"gender": {"M": "man", "F": "{code}"}, "other": {"M": "x"}})
    assert made == ("man/M", "{code}/M", "MF/M", "M")


@pytest.mark.parametrize(
    ("template", "says"),
    [("{titel}", "did you mean title"), ("{title.__class__}", "title.__class__"), ("{}", "''"), ("{0}", "'year'")],
)
def test_an_unknown_column_is_named(template: str, says: str) -> None:
    with pytest.raises(ValueError, match="no column") as raised:
        render_template(template, {"title": ["a"], "year": ["1"]}, {})
    assert says in str(raised.value)


def test_a_template_without_columns_is_the_same_for_all() -> None:
    assert render_template("a }{ b", {"x": ["1", "2"]}, {}) == ("a }{ b", "a }{ b")
    assert columns_of("{a} {b.c}{a}") == ("a", "b.c", "a")


MISSING = [
    ("{t} ({y}). Genres: {g}", "t", "(1999). Genres: War"),
    ("{t} ({y}). Genres: {g}", "y", "Title. Genres: War"),
    ("{t} ({y}). Genres: {g}", "g", "Title (1999)"),
    ("{t} ({y}). Genres: {g}", "ty", "Genres: War"),
    ("{t} ({y}). Genres: {g}", "yg", "Title"),
    ("{t} ({y}). Genres: {g}", "tyg", ""),
    ("{t}. {g}", "t", "War"),
    ("{t}. {g}", "g", "Title"),
    ("{t}. {g}.", "g", "Title."),
    ("{t}. {g}.", "t", "War."),
    ("{t}, {g}; {y}!", "g", "Title; 1999!"),
    ("{t}: {g}", "t", "War"),
    ("{t}: {g}", "g", "Title"),
    ("{t} - {g} - {y}", "g", "Title - 1999"),
    ("{t} | {g}", "t", "War"),
    ("{t}|{g}", "g", "Title"),
    ("{t}/{g}/{y}", "t", "War/1999"),
    ("{t}-{g}", "t", "War"),
    ("{t} {g} {y}", "g", "Title 1999"),
    ("{t}\n{g}", "t", "War"),
    ("{t} [{g}, {y}]", "g", "Title [1999]"),
    ("{t} [{g}, {y}]", "gy", "Title"),
    ("{t} ({g} [{y}])", "y", "Title (War)"),
    ('"{t}" of {y}', "t", "of 1999"),
    ("Directed by {t}, starring {g}. {y}", "t", "starring War. 1999"),
    ("Directed by {t}, starring {g}. {y}", "tg", "1999"),
    ("A {y}-year-old {g} called {t}", "y", "A War called Title"),
    ("A {y}-year-old {g}", "g", "A 1999-year-old"),
    ("Film. {t}. {g}", "t", "Film. War"),
    (":) {t}, {g}", "g", ":) Title"),
    ("({t} {g}", "t", "War"),
    ("({t} {g}", "g", "(Title"),
]


@pytest.mark.parametrize(("template", "missing", "text"), MISSING)
def test_what_belongs_to_a_missing_value_goes_too(template: str, missing: str, text: str) -> None:
    values = {"t": "Title", "y": "1999", "g": "War"}
    columns = {
        name: ["" if name in missing else value, value, " " if name in missing else value] for name, value in values.items()
    }
    whole = re.sub(r"\{(.)\}", lambda match: values[match[1]], template)
    assert render_template(template, columns, {}) == (text, whole, text)


def test_a_word_that_replaces_by_nothing_is_missing() -> None:
    assert render_template("{a}, {b}", {"a": ["x"], "b": ["unknown"]}, {"b": {"unknown": ""}}) == ("x",)


PIECE = st.sampled_from(["{a}", "{b}", "(", ")", "[", "]", ". ", ", ", ": ", " - ", "/", " ", "-", "x", "yz", "\n"])


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECE, max_size=12).map("".join), st.sampled_from(["A", ""]), st.sampled_from(["B", ""]))
def test_values_come_in_their_order_and_nothing_is_made_up(template: str, a: str, b: str) -> None:
    (text,) = render_template(template, {"a": [a], "b": [b]}, {})
    whole = template.replace("{a}", a).replace("{b}", b)
    if (a or "{a}" not in template) and (b or "{b}" not in template):
        assert text == whole
    left = iter(whole)
    assert all(character in left for character in text)  # a subsequence
    assert text.count("A") == whole.count("A")
    assert text.count("B") == whole.count("B")
