"""Checks of the settings that several splits have."""

from collections.abc import Sequence


def require_fractions(**fractions: float) -> None:
    """Raises ValueError, which names the setting, for a fraction that is not in [0, 1)."""
    for key, fraction in fractions.items():
        if not 0 <= fraction < 1:
            raise ValueError(f"split.{key}: {fraction} is not a fraction: give 0 or more, and less than 1")


def require_sizes(**sizes: Sequence[int]) -> None:
    """Raises ValueError, which names the setting, for sizes that are none, negative or repeated."""
    for key, size in sizes.items():
        if not size or min(size) < 0 or len(set(size)) < len(size):
            raise ValueError(f"split.{key}: {list(size)} must be one or more sizes, each once and none below 0")
