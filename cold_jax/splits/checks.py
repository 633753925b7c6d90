"""Checks of the settings that splits share."""

from collections.abc import Sequence


def require_fractions(**shares: float) -> None:
    for key, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"split.{key}: {share} is not a share: give 0 or more, and less than 1")


def require_sizes(**sizes: Sequence[int]) -> None:
    for key, size in sizes.items():
        if not size or min(size) < 0 or len(set(size)) < len(size):
            raise ValueError(f"split.{key}: {list(size)} is not one or more sizes, each named once and none below 0")
