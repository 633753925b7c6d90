"""Rules by their comparisons, written out."""

import re

import numpy as np
import pytest

from cold_jax.data.positives import parse_rule, positive_mask

VALUE_N = np.array([1, 4, 3.5, 5, 4], np.float32)


@pytest.mark.parametrize(
    ("rule", "mask"),
    [
        (">=4", [0, 1, 0, 1, 1]),
        (" > 4 ", [0, 0, 0, 1, 0]),
        ("<=4", [1, 1, 1, 0, 1]),
        ("<4.0", [1, 0, 1, 0, 0]),
        ("==4", [0, 1, 0, 0, 1]),
        ("!=4", [1, 0, 1, 1, 0]),
        (">=-1e3", [1, 1, 1, 1, 1]),
    ],
)
def test_a_rule_compares(rule: str, mask: list[int]) -> None:
    assert positive_mask(VALUE_N, rule).tolist() == [bool(one) for one in mask]


def test_a_bound_is_rounded_as_values_are() -> None:
    assert positive_mask(np.array([0.1], np.float32), ">=0.1").tolist() == [True]
    assert positive_mask(np.array([0.1], np.float32), ">0.1").tolist() == [False]


def test_a_rule_is_a_comparison_and_a_number() -> None:
    assert parse_rule(">=4") == (">=", 4.0)
    with pytest.raises(ValueError, match=r"data\.positive: '=4' has no comparison; give one of >= <= == != > < and a number"):
        parse_rule("=4")
    assert parse_rule(" < -0.5 ") == ("<", -0.5)
    for rule, says in (
        (">four", "'four' is not a number"),
        (">=4,5", "'4,5' is not a number"),
        (">=nan", "'nan' is not a finite number"),
        (">=inf", "'inf' is not a finite number"),
        ("4", "'4' has no comparison"),
        (">=", "'=' is not a number"),
        ("", "'' has no comparison"),
        (">=4 or <2", "'>=4 or <2' has no comparison"),
        ("=>4", "'=>4' has no comparison"),
        ("__import__('os')", "has no comparison"),
    ):
        with pytest.raises(ValueError, match=rf"data\.positive: .*{re.escape(says)}; give one of"):
            parse_rule(rule)
