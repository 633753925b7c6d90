"""Rules by their comparisons, written out."""

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
    with pytest.raises(ValueError, match=r"data\.positive: 'four' is not a number"):
        parse_rule(">four")
