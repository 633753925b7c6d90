"""Typed values of JSON and Parquet as the text of a cell."""

from decimal import Decimal

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
