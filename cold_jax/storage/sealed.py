"""JSON objects that hold the sha256 of their own contents, one in a file or one a line: a flipped bit never passes for a value."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cold_jax.errors import UserError
from cold_jax.storage.limits import parse_json

KEY = "sha256"


def to_json(value: Any, allow_nan: bool = False, **style: Any) -> bytes:
    """Floats as repr writes them, NumPy's scalars as Python's; ValueError for NaN and infinity, which JSON has not."""
    return json.dumps(value, allow_nan=allow_nan, default=lambda scalar: scalar.item(), **style).encode()


def content_digest(document: Mapping[str, Any]) -> str:
    """sha256 of an object as JSON with sorted keys and no spaces, without its own `sha256`."""
    contents = {key: value for key, value in document.items() if key != KEY}
    try:
        return hashlib.sha256(to_json(contents, sort_keys=True, separators=(",", ":"))).hexdigest()
    except ValueError:  # a number beyond what a float holds
        return "none"


def seal(document: Mapping[str, Any], **style: Any) -> bytes:
    """The object as JSON, with its digest. ValueError for NaN and infinity."""
    return to_json({**document, KEY: content_digest(document)}, **style)


def unseal(value: Any, where: str, error: type[UserError]) -> dict[str, Any]:
    """What was sealed. Raises `error` where it is no object, or a value is not as it was written."""
    if not isinstance(value, dict):
        raise error(f"{where}: damaged (it is no object)")
    if (written := value.get(KEY)) != (found := content_digest(value)):
        raise error(f"{where}: damaged (sha256 {found} where {str(written)[:64]} was written)")
    return {key: inner for key, inner in value.items() if key != KEY}


def read_lines(data: bytes, where: str, error: type[UserError]) -> list[dict[str, Any]]:
    """The objects of a file with a sealed one in each line. What a killed process left of the last line is no line."""
    *lines, rest = data.split(b"\n")
    if _is_whole(rest[:-1]):
        lines.append(rest)  # the byte that ended it was altered, as no kill does
    return [unseal(parse_json(line, f"{where}:{n}", error), f"{where}:{n}", error) for n, line in enumerate(lines, 1)]


def _is_whole(line: bytes) -> bool:
    try:
        unseal(parse_json(line, "", UserError), "", UserError)
    except UserError:
        return False
    return True
