"""Which interactions count as positives: a comparison of their values."""

import operator
import re

import numpy as np

from cold_jax.data.files import number

COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def parse_rule(rule: str) -> tuple[str, float]:
    """Comparison and number of a rule such as ">=4". Raises ValueError, which names data.positive."""
    match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*", rule)
    try:
        if match is None:
            raise ValueError(f"{rule!r} has no comparison")
        return match[1], number(match[2])
    except ValueError as error:
        raise ValueError(f"data.positive: {error}; give one of {' '.join(COMPARISONS)} and a number, as in '>=4'") from None


def positive_mask(value_N: np.ndarray, rule: str) -> np.ndarray:
    """bool: the interaction's value satisfies the rule, compared in single precision, in which values are kept."""
    comparison, bound = parse_rule(rule)
    return COMPARISONS[comparison](value_N, np.float32(bound))
