import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from cold_jax.runs.terminal import escape_control, show


@given(st.text())
def test_visible_text_cannot_steer_a_terminal(text: str) -> None:
    shown = escape_control(text)
    assert not [c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160]
    assert escape_control(shown) == shown
    assert not text.isprintable() or shown == text


def test_a_table_in_a_file_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show([Text("x" * 150)])
    assert capsys.readouterr().out == "x" * 150 + "\n"
