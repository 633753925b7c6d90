"""Checks of the settings that several splits have."""

from collections.abc import Sequence

from cold_jax.errors import ConfigError


def require_sizes(**sizes: Sequence[int]) -> None:
    """Raises ConfigError, which names the setting, for sizes that are none, negative or repeated."""
    for key, size in sizes.items():
        if not size or min(size) < 0 or len(set(size)) < len(size):
            raise ConfigError(f"split.{key}: {list(size)} must be one or more sizes, each once and none below 0")
