"""Mistakes that a user can mend: each error says what was wrong, where, and what to do."""

import difflib
from collections.abc import Sequence

_LISTED, _LONGEST = 10, 80  # names in a message, and characters of each


class UserError(Exception):
    """Something that a user can mend. A command prints the message alone, in one line; anything else keeps its traceback."""


class ConfigError(UserError, ValueError):
    """A setting is unknown, missing or of another type; the message names the key."""


class ProcessLost(UserError, RuntimeError):
    """A process of a run of many has stopped; the message says which, on which machine."""


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


class NotEnoughMemory(UserError, RuntimeError):
    """A closed form needs more memory than there is; the message names it, the gigabytes and the setting that helps."""


class ExistsError(UserError, FileExistsError):
    """A folder or a file that is to be new is there already."""


class LeakError(UserError, ValueError):
    """A cold entity's interactions, or a task's targets, would reach training."""


def nearest_name(name: str, names: Sequence[str]) -> str:
    """A phrase for the end of an error message: the name that was probably meant, or some of those that exist.

    >>> nearest_name("adaptor", ["adapter", "encoder"])
    'did you mean adapter?'
    """
    short = [known for known in names if len(known) <= _LONGEST]
    close = difflib.get_close_matches(name, short, 1) if len(name) <= _LONGEST else []
    if close:
        return f"did you mean {close[0]}?"
    listed = ", ".join(repr(known[:_LONGEST]) for known in names[:_LISTED])
    return f"there are {listed}" + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
