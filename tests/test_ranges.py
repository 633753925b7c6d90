"""Numbers out of their range are refused by the key that holds them."""

from types import SimpleNamespace

import pytest

from cold_jax.errors import ConfigError
from cold_jax.ranges import require

NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        ("at_least_1", [1, 2.5], [0, -1, 0.5, NAN]),
        ("at_least_0", [0, 0.0, 3], [-1, -1e-9, NAN]),
        ("above_0", [1e-9, 3], [0, -1, NAN]),
        ("fractions", [0, 0.999], [1, -0.1, NAN]),
    ],
)
def test_edges(kind: str, inside: list[float], outside: list[float]):
    for value in (*inside, None):
        require("loop", SimpleNamespace(a=value, b=[value, *inside]), **{kind: ["a", "b"]})
    for value in outside:
        for given in (value, [inside[0], value]):
            with pytest.raises(ConfigError, match=rf"^loop\.a: {value} "):
                require("loop", SimpleNamespace(a=given, b=0), **{kind: ["a"]})
