"""What a user can mend: each error says what was wrong, where, and what to do."""

import difflib
from collections.abc import Sequence


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says which, why, and what to do."""


class DataError(ValueError):
    """The data, or a file of it, is wrong; the message names file, line and value, and says what to do."""


class WeightsError(ValueError):
    """A checkpoint is not there, or is not what the table says; the message lists all that is wrong."""


class LockedError(RuntimeError):
    """Another process works in the folder, or may do so."""


class NonFinite(FloatingPointError):
    """A loss, gradient or validation metric was NaN or infinite; training stopped before the update."""


class NoRoom(OSError):
    """A file could not be written whole; the message names it and the room that is left."""


class LeakError(ValueError):
    """A cold entity's interactions, or a part's answers, would reach training."""


def nearest_name(name: str, names: Sequence[str]) -> str:
    """A phrase for the end of an error message: the name that was probably meant, or all there are."""
    close = difflib.get_close_matches(name, names, 1)
    return f"the nearest is {close[0]!r}" if close else f"there are {', '.join(map(repr, names))}"
