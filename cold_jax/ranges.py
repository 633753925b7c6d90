"""The numbers that a setting may take, refused by the name of its key before any data is read."""

from collections.abc import Callable, Sequence

from cold_jax.errors import ConfigError


def require(
    group: str,
    choice: object,
    *,
    at_least_1: Sequence[str] = (),
    at_least_0: Sequence[str] = (),
    above_0: Sequence[str] = (),
    fractions: Sequence[str] = (),
) -> None:
    """Raises ConfigError for the first key whose value, or one of whose values, is out of its range. null is never out of range.

    Args:
        group: what stands before the key on the command line: "loop" of loop.epochs.
        choice: the object that has the keys.
        fractions: keys whose values are in [0, 1).
    """
    ranges: tuple[tuple[Sequence[str], Callable[[float], bool], str], ...] = (
        (at_least_1, lambda value: value >= 1, "must be 1 or more"),
        (at_least_0, lambda value: value >= 0, "must be 0 or more"),
        (above_0, lambda value: value > 0, "must be more than 0"),
        (fractions, lambda value: 0 <= value < 1, "is not a fraction: give 0 or more, and less than 1"),
    )
    for keys, is_in, wrong in ranges:
        for key in keys:
            given = getattr(choice, key)
            for value in given if isinstance(given, Sequence) else [given]:
                if value is not None and not is_in(value):
                    raise ConfigError(f"{group}.{key}: {value} {wrong}")
