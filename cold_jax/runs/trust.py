"""What a run's config may decide, where the run may be somebody else's.

A run that this user made goes on as its config says. The config of any other is data: it may name choices of this project and numbers,
but nothing that would be read or fetched (a path, a package, a repository of a hub) unless the user names that again, and no logger.
Whatever is not known to be harmless counts as such a name.
"""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cold_jax import CONF
from cold_jax.errors import ConfigError, RunError
from cold_jax.storage.limits import MiB, parse_yaml, read_file

if TYPE_CHECKING:
    from cold_jax.runs.folder import Run

# settings that name what is read, by group
NAMING = {
    "data": ("root", "uri", "database", "interactions", "items", "users", "package", "sha256", "member"),
    "split": ("path",),
    "encoder": ("id", "package", "packages", "sha256", "member", "parts", "folder"),
    "adapter": ("init_from",),
}
ASSET = ("package", "sha256", "member")
# settings of text that name nothing outside of the data: words of templates, columns, choices
HARMLESS = {
    "data": (
        *("name", "user", "item", "value", "time", "item_id", "user_id", "unknown", "words", "separator", "positive"),
        *("item_texts", "user_texts", "item_sets", "user_sets", "item_bins", "user_bins"),
    ),
    "adapter": ("layers", "targets"),
    "encoder": ("dtype", "pooling", "prompts", "base_model"),
    "split": ("side",),
    "optimizer": ("schedule",),
    "loop": ("step",),
    "evaluation": ("metrics", "metric"),
    "model": ("title", "profile_prompt", "liked_prompt", "question"),
    "baseline": ("text", "metric", "members", "line", "title", "kernel", "texts", "user_kernel"),
    "ensemble": ("members", "line", "title", "metric", "kernel", "user_kernel"),
}
PLACES = tuple(f"{group}.{name}" for group, names in NAMING.items() for name in names)
NAMED = ("baseline", "logger")  # groups of several choices, by name


def accept(run: "Run", given: Mapping[str, Any]) -> dict[str, Any]:
    """The config to go by.

    Args:
      given: settings by their dotted keys, as the user gives them now.

    Raises:
      ConfigError: the config has no setting of a key that is given.
      RunError: the run is not this user's, and its config names what is not given, or a class that is no choice of conf/.
    """
    config = run.read_config()
    for key, value in given.items():
        node: Any = config
        *groups, name = key.split(".")
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        if not isinstance(node, dict) or name not in node or name == "_target_":
            raise ConfigError(f"{key}: the config of the run in {run.path} has no such setting")
        node[name] = value
    if run.made_here:
        return config
    config.pop("logger", None)
    config["resume"] = None
    wanted = [key for key in _names(config) if key not in given]
    if wanted:
        keys = " ".join(f"{key}=…" for key in wanted)
        raise RunError(
            f"{run.path}: this run was not made here (its config.yaml is not signed by your key), so nothing that it names is read "
            f"or fetched; if you trust what config.yaml says there, give it again: {keys}"
        )
    return config


def _names(config: Mapping[str, Any]) -> Iterator[str]:
    """The settings that name, or may name, what would be read or fetched. RunError for a class that is no choice of conf/."""
    for group, node in config.items():
        if group == "experiment" or not _has_text(node):
            continue
        if not isinstance(node, dict):
            yield group
            continue
        choices = _choices(group)
        for place, one in (
            {f"{group}.{name}": inner for name, inner in node.items()} if group in NAMED else {group: node}
        ).items():
            if not isinstance(one, dict) or one.get("_target_") not in [c["_target_"] for c in choices if "_target_" in c]:
                raise RunError(f"{place}: {str(one)[:80]!r} is no choice of {CONF}/{group}, and the run was not made here")
            yield from (f"{place}.{name}" for name in _of_choice(group, one, choices))


def _of_choice(group: str, node: Mapping[str, Any], choices: list[dict[str, Any]]) -> Iterator[str]:
    """The keys of one choice that count as names."""
    pinned = any(all(choice.get(key) == node.get(key) is not None for key in ASSET) for choice in choices)
    for key, value in node.items():
        naming = key in NAMING.get(group, ())
        known = pinned if key in ASSET else not naming and any(key in choice and choice[key] == value for choice in choices)
        if _has_text(value) and key != "_target_" and key not in HARMLESS.get(group, ()) and not known:
            yield key


@functools.cache
def _choices(group: str) -> list[dict[str, Any]]:
    """The choices of conf/GROUP, each as its file has it; or the block of that name in a file of conf/, where there is one choice."""
    if not group.isidentifier():
        return []
    files = sorted(Path(CONF, group).rglob("*.yaml"))
    found = [_parsed(path) for path in files] or [_parsed(path).get(group) for path in sorted(Path(CONF).glob("*.yaml"))]
    return [choice for choice in found if isinstance(choice, dict)]


def _parsed(path: Path) -> dict[str, Any]:
    return parse_yaml(read_file(path, MiB, ConfigError), str(path), ConfigError)


def _has_text(value: Any) -> bool:
    """Whether there is any text in it."""
    if isinstance(value, dict):
        return any(map(_has_text, [*value, *value.values()]))
    return any(map(_has_text, value)) if isinstance(value, list) else isinstance(value, str)
