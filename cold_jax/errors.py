"""What a user can mend: each error says what was wrong, where, and what to do."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """Something that a user can mend. A command prints the message alone, in one line; anything else keeps its traceback."""


class ConfigError(UserError, ValueError):
    """A setting is unknown, missing or of another type; the message names the key."""


class DataError(UserError, ValueError):
    """The data, or a file of it, is wrong; the message names file, line and value, and says what to do."""


class WeightsError(UserError, ValueError):
    """A checkpoint is not there, or is not what the architecture's table of names says; the message lists all that is wrong."""


class RunError(UserError, ValueError):
    """A run's folder cannot be used: a damaged file, another format, a link out of it, or a setting that has to be given again."""


class CheckpointError(UserError, RuntimeError):
    """A saved state of training cannot be used; the message says which, why, and what to do."""


class LockedError(UserError, RuntimeError):
    """Another process works in the folder, or may do so."""


class NonFinite(UserError, FloatingPointError):
    """A loss, gradient or validation metric was NaN or infinite; training stopped before the update."""


class WriteError(UserError, OSError):
    """A file could not be written; the message names it and says why."""


class NoRoom(WriteError):
    """A file could not be written whole; the message names it and the room that is left."""


class ExistsError(UserError, FileExistsError):
    """A folder or a file that is to be new is there already."""


class LeakError(UserError, ValueError):
    """A cold entity's interactions, or a test answer, would reach training."""


def nearest_name(name: str, names: Sequence[str]) -> str:
    """A phrase for the end of an error message: the name that was probably meant, or all there are."""
    close = difflib.get_close_matches(name, names, 1)
    return f"the nearest is {close[0]!r}" if close else f"there are {', '.join(map(repr, names))}"
