"""Points in time, as data files write them, to seconds."""

import re
from datetime import UTC, datetime, timedelta

from cold_jax.data.files import excerpt, number

FORMATS = "a number, ISO 8601 (2024-05-31 or 2024-05-31T12:00:00Z), or MM DD, YYYY (05 31, 2024)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH_DAY_YEAR = re.compile(r"(\d{1,2}) (\d{1,2}), (\d{4})", re.ASCII)


def parse_time(cell: str | None) -> tuple[float, str]:
    """Seconds, and the name of the format: a column must not mix formats, since they do not order together.

    A number stays as it is, whatever its unit. Dates are midnight, and times without a zone are UTC; they count from 1970, to the
    microsecond.

    Raises:
      ValueError: the cell is in none of the formats; the message names them.
    """
    text = (cell or "").strip()
    try:
        return number(text), "a number"
    except ValueError as error:
        if str(error).endswith("finite number"):
            raise
    try:
        if match := _MONTH_DAY_YEAR.fullmatch(text):
            month, day, year = map(int, match.groups())
            return _seconds(datetime(year, month, day)), "MM DD, YYYY"
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{excerpt(cell or '')} is not a time; a time is {FORMATS}") from None
    if moment.tzinfo is not None:
        return _seconds(moment), "an ISO 8601 time with its zone"
    return _seconds(moment), "an ISO 8601 date" if len(text) <= len("2024-05-31") else "an ISO 8601 time without a zone"


def _seconds(moment: datetime) -> float:
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) / timedelta(seconds=1)
