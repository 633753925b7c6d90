"""Typed values of JSON, Parquet and databases as the text of a cell."""

from datetime import date
from decimal import Decimal
from uuid import UUID

from cold_jax.data.files import excerpt
from cold_jax.errors import DataError

IDS = ("user", "item", "user_id", "item_id")  # settings that name a column of ids


def cell_text(value: object, place: str, key: str) -> str | None:
    """A value as text, None for null; a list of texts has a line for each.

    Args:
      place: file, line and column, for error messages.
      key: the setting that names the column: ids are no lists.

    Raises:
      DataError: the value is of another type, or not valid Unicode.
    """
    if isinstance(value, list) and key not in IDS and all(isinstance(member, str) and "\n" not in member for member in value):
        value = "\n".join(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place} {excerpt(value)} is not valid Unicode ({error.reason}); replace the lone surrogate"
            ) from error
        return value
    if value is None:
        return None
    if isinstance(value, int | float | Decimal):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise DataError(f"{place} {excerpt(str(value))} is neither text nor number nor a list of one-line texts; write it as text")


def database_text(value: object, source: str, row: int, name: str, key: str) -> str | None:
    """`cell_text` of what a database gives: also dates and times as ISO 8601, UUIDs, and bytes that are UTF-8.

    Args:
      source, row, name: query or collection, row and column, for error messages.
      key: the setting that names the column: ids are text or whole numbers.
    """
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    place = f"{source}:{row}: {name}"
    if isinstance(value, bytes | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise DataError(f"{place} {bytes(value)[:20]!r} is not UTF-8; turn it into text in the query") from None
    if key in IDS and (isinstance(value, float) or (isinstance(value, Decimal) and value != value.to_integral_value())):
        raise DataError(f"{place} {value} is no id, since ids are text or whole numbers; turn it into text in the query")
    if isinstance(value, Decimal) and key in IDS:
        return str(int(value))
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else cell_text(value, place, key)
