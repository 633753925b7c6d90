"""Settings that are checked are named."""

import pytest

from cold_jax.splits.checks import require_fractions, require_sizes


def test_a_fraction_is_less_than_one():
    require_fractions(a=0, b=0.999)
    for wrong in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match=rf"split\.b: {wrong} is not a fraction"):
            require_fractions(a=0, b=wrong)


def test_sizes_are_different_and_not_negative():
    require_sizes(support=[0, 5])
    for wrong in ([], [-1], [1, 1]):
        with pytest.raises(ValueError, match=r"split\.support: .* must be one or more sizes"):
            require_sizes(support=wrong)
