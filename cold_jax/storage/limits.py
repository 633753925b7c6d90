"""Reading what may come from elsewhere: plain files only, no larger than a limit, and never more nested than a reader can take.

Every function raises the error class that it is given, in one line that names the file and the limit.
"""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from cold_jax.errors import UserError

KiB, MiB, GiB = 2**10, 2**20, 2**30
DEPTH = 64  # of nested brackets
DIGITS = 64  # of a number in YAML, which knows of base 60: reading it takes time by the square of its length


def read_file(path: Path, largest: int, error: type[UserError]) -> bytes:
    """The bytes of a plain file. A link, a pipe or a device is refused, as is a file of more than `largest` bytes.

    Raises:
      FileNotFoundError: there is nothing at `path`.
    """
    with _opened(path, largest, error) as (file, size):
        return file.read(size)


def require_plain(path: Path, largest: int, error: type[UserError]) -> None:
    """Refuses what `read_file` refuses, for readers that take a path. Raises FileNotFoundError as it does."""
    with _opened(path, largest, error):
        pass


@contextmanager
def _opened(path: Path, largest: int, error: type[UserError]) -> Iterator[tuple[BinaryIO, int]]:
    """(the file, its size), where it is plain and not too large."""
    try:
        with open(path, "rb", opener=_plain) as file:
            if (size := os.fstat(file.fileno()).st_size) > largest:
                raise error(f"{path}: {size:,} bytes, more than the {largest:,} that are read of such a file")
            yield file, size
    except (FileNotFoundError, UserError):
        raise
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror or problem})") from problem


def _plain(path: str, flags: int) -> int:
    """Opens a file without following a link at its name, and without waiting for the other end of a pipe."""
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "not a plain file", path)
    return descriptor


def parse_json(data: bytes | str, where: str, error: type[UserError]) -> Any:
    """The value of a JSON text; NaN, infinities and more than DEPTH nested brackets are refused."""
    try:
        value = json.loads(data, parse_constant=_no_constant)
    except RecursionError:
        raise error(f"{where}: damaged (brackets nested more than {DEPTH} deep)") from None
    except ValueError as problem:
        raise error(f"{where}: damaged ({problem})") from None
    if _deeper(value, DEPTH):
        raise error(f"{where}: damaged (brackets nested more than {DEPTH} deep)")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _deeper(value: object, depth: int) -> bool:
    """Whether containers are nested more than `depth` deep."""
    level = [value]
    for _ in range(depth + 1):
        inner: list[object] = []
        for each in level:
            inner += each.values() if isinstance(each, dict) else each if isinstance(each, list) else []
        if not (level := inner):
            return False
    return True


def read_json(path: Path, largest: int, error: type[UserError]) -> Any:
    """`read_file` and `parse_json` in one."""
    return parse_json(read_file(path, largest, error), str(path), error)


def parse_yaml(data: bytes, where: str, error: type[UserError]) -> Any:
    """The value of a YAML text of plain scalars, lists and mappings, each key once.

    Anchors, aliases and tags are refused: two kilobytes of aliases unfold to gigabytes, and no file of ours has any.
    """
    try:
        text = data.decode()
        _require_plain_yaml(text)
        loader = _PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as problem:
        raise error(f"{where}: is not the config of a run ({' '.join(str(problem).split())[:200]})") from None


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has libyaml


def _require_plain_yaml(text: str) -> None:
    """ValueError for what a loader would unfold, build or descend into, before one sees it."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError("it holds an anchor or an alias (& or *)")
        if getattr(event, "tag", None):
            raise ValueError("it holds a tag (!)")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError(f"nested more than {DEPTH} deep")


class _PlainLoader(_Loader):
    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(node.value) > DIGITS:
            raise ValueError(f"a number of {len(node.value):,} characters")
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        twice = [key for key, times in Counter(key.value for key, _ in node.value).items() if times > 1]
        if twice:
            raise ValueError(f"the key {str(twice[0])[:80]!r} is there twice")
        return super().construct_mapping(node, deep)


# dates stay text, as Hydra has them
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
