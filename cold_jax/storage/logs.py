"""Log lines that hold no control character, and a log file that is no link: a run's folder may be somebody else's."""

import logging
import os
from typing import Any

from cold_jax.storage.files import append_opener

# C0, DEL and C1, the separators that some programs take for line ends, and what turns the direction of text
_CONTROL = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED = {code: repr(chr(code))[1:-1] for code in _CONTROL}


def escape_control(text: str) -> str:
    r"""Control characters as Python spells them (`\n`, `\x1b`), so that no text can end a line or steer a terminal."""
    return text.translate(_ESCAPED)


class Formatter(logging.Formatter):
    """A message in one line; a traceback's lines are indented below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escape_control(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"    {escape_control(line)}" for line in super().formatException(ei).split("\n"))


class FileHandler(logging.FileHandler):
    """Appends to a plain file. Where that is a link, or cannot be written, nothing is: what opens the folder next says so."""

    def _open(self) -> Any:
        try:
            return open(self.baseFilename, self.mode, encoding="utf-8", errors="backslashreplace", opener=append_opener)
        except OSError:
            return open(os.devnull, "w", encoding="utf-8")


def escape_handlers() -> None:
    """From now on no line of the program's log, in a terminal or a file, holds a control character."""
    for handler in logging.getLogger().handlers:
        form = handler.formatter
        if type(form) is logging.Formatter:
            handler.setFormatter(Formatter(form._fmt, form.datefmt))
