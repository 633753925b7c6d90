"""Arrays as safetensors with a digest in the metadata, as the format itself notices no flipped bit."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cold_jax.storage.files import digest


def pack_tensors(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file; `sha256`, over names, types, shapes and values, is added to its metadata."""
    # C order, because safetensors 0.8 writes the values of other arrays in a wrong order, without a word
    in_order = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    return save(in_order, {**metadata, "sha256": _digest(in_order)})


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """An open safetensors file (`safe_open`) that names each tensor once: of two of one name, readers take either.

    Raises:
      FileNotFoundError, OSError: the file cannot be opened.
      SafetensorError: it is no whole safetensors file, or holds a name twice.
    """
    with safe_open(path, framework="numpy") as file:
        with open(path, "rb") as raw:  # the header is known to be whole, and JSON
            json.loads(raw.read(int.from_bytes(raw.read(8), "little")), object_pairs_hook=_require_once)
        yield file


def _require_once(pairs: list[tuple[str, Any]]) -> None:
    name, times = Counter(name for name, _ in pairs).most_common(1)[0] if pairs else ("", 0)
    if times > 1:
        raise SafetensorError(f"the header holds {name[:80]!r} twice")


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no whole safetensors file, or a bit is not as it was written.
    """
    try:
        with open_tensors(path) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a whole safetensors file: {' '.join(str(error).split())[:200]}") from error
    if "sha256" not in metadata:
        raise ValueError("it holds no sha256 of its contents")
    if metadata["sha256"] != (found := _digest(tensors)):
        raise ValueError(f"sha256 {found} where {metadata['sha256'][:64]} was written")
    return tensors, metadata


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    return digest(*(part for name in sorted(tensors) for part in (name, tensors[name])))
