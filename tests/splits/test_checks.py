"""Settings that are checked are named."""

import pytest

from cold_jax.splits.checks import require_sizes


def test_sizes_are_different_and_not_negative():
    require_sizes(support=[0, 5])
    for wrong in ([], [-1], [1, 1]):
        with pytest.raises(ValueError, match=r"split\.support: .* must be one or more sizes"):
            require_sizes(support=wrong)
