"""What is typed after a command: options that Hydra never reads, and what is wrong with a word that it refuses."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cold_jax import CONF, config
from cold_jax.errors import ConfigError, nearest_name
from cold_jax.usage import choices


class Request(NamedTuple):
    """Of `recommend`, `search` and `explain`: texts, ids and files, as the shell passed them."""

    user: str | None = None
    profile: str | None = None
    query: str | None = None
    liked: Sequence[str] = ()
    exclude: Sequence[str] = ()
    where: Sequence[str] = ()
    attribute: Sequence[str] = ()  # NAME=VALUE of a new item
    item: str | None = None
    items: str | None = None
    users: str | None = None
    add: bool = False


def take_request(arguments: Sequence[str]) -> tuple[Request, list[str]]:
    """(the options that are a request's, the other arguments). Raises ConfigError where one lacks its value."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, empty in Request._field_defaults.items():
        if empty is False:
            parser.add_argument(f"--{name}", action="store_true")
        elif empty == ():
            parser.add_argument(f"--{name}", action="append", default=[])
        else:
            parser.add_argument(f"--{name}")
    try:
        found, others = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise ConfigError(f"{error.argument_name}: {error.message}, as in {error.argument_name} TEXT") from None
    return Request(**vars(found)), others


def pairs(texts: Sequence[str], key: str) -> dict[str, str]:
    """NAME=VALUE, each. Raises ConfigError for another text."""
    if wrong := [text for text in texts if not text.partition("=")[0] or "=" not in text]:
        raise ConfigError(f"{key}: {wrong[0]!r} is not NAME=VALUE, as in genre=Drama")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def of_text(name: str, request: Request, cfg: DictConfig) -> str | None:
    """What the option says, or else the key."""
    given: str | None = getattr(request, name)
    return given if given is not None or cfg[name] is None else str(cfg[name])


def of_list(name: str, request: Request, cfg: DictConfig) -> list[str]:
    """What the key holds, where a single text counts as a list of one, then what the options say."""
    own = [cfg[name]] if isinstance(cfg[name], str) else cfg[name]
    return [*(str(one) for one in own), *getattr(request, name)]


def require_no_password(arguments: Sequence[str]) -> None:
    """Raises ConfigError for data.uri=ADDRESS, before Hydra reads it: what is typed lands in logs and in overrides.json."""
    from cold_jax.data.databases import check_uri

    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        if key == "data.uri":
            try:
                check_uri(value.strip("'\""))
            except ValueError as error:
                raise ConfigError(str(error)) from None


def quoted(argument: str) -> str:
    """KEY=VALUE for a shell, with the value as one text for Hydra, whatever is in it."""
    key, _, value = argument.partition("=")
    value = re.sub(r'(\\*)"', r'\1\1\\"', value)
    if trailing := re.search(r"\\+$", value):
        value += trailing[0]
    return shlex.quote(f'{key}="{value.replace("${", chr(92) + "${")}"')


def explain(error: HydraException | OmegaConfBaseException, arguments: Sequence[str], config_name: str) -> str:
    """In one line what Hydra refused, which word of the command line it was, and what to write for it."""
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    if isinstance(error, OverrideParseException):
        refused = next((word for word in words if str(error.override) in word), str(error.override))
        return f"{refused}: Hydra cannot read the value; quote it twice, for the shell and for Hydra: {quoted(refused)}"
    if "Ambiguous value" in str(error):
        refused = next((word for word in words if word in str(error)), "")
        key, _, value = refused.partition("=")
        return (
            f"{refused}: a comma separates the values of a sweep, which needs --multirun; for one text write {quoted(refused)}, "
            f"for a list {shlex.quote(f'{key}=[{value}]')}"
        )
    for word in words:
        for problem in _problems(word, words, config_name):
            return problem
    message = f"{error} {error.__cause__ or ''}".split("full_key:")[0]
    plugins = "|".join([*choices("launcher"), "optuna"])
    if plugin := re.search(rf"hydra/(?:launcher|sweeper)/(?:{plugins})\b", message):
        return f"{plugin[0]} is not installed: pip install 'cold_jax[sweep]'"
    return " ".join(message.replace("Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace", "").split())


def _problems(word: str, words: Sequence[str], config_name: str) -> Iterator[str]:
    prefix, key, value = re.fullmatch(r"([+~]*)([^=]*)=(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
    key = key.partition("@")[0]
    groups = [path.name for path in Path(CONF).iterdir() if path.is_dir()]
    if key.startswith("hydra") or "/" in key:
        return
    if key in groups:
        names = choices(key)
        for choice in _names(value):
            if choice not in names:
                yield f"{key}={choice}: there is no such file in conf/{key}; {nearest_name(choice, names)}"
        if key == "experiment" and not prefix:
            yield f"{word}: an experiment is added to the defaults: write +{word}"
        return
    known = _known(words, config_name)
    if not known or key in known:
        return
    if "." not in key:
        top = [*groups, *(name for name in known if "." not in name and name not in groups)]
        close = difflib.get_close_matches(key, top, 1)
        close = [f"{close[0]}={value}"] if close else [f"{name}={value}" for name in known if name.rpartition(".")[2] == key]
        yield f"{word}: there is no such key; " + (f"did you mean {close[0]}?" if close else nearest_name(key, top))
    elif not prefix:
        yield f"{key}: there is no such key; {_nearest_key(key, known)}"


def _known(words: Sequence[str], config_name: str) -> list[str]:
    """All keys of the config with the choices among `words` that exist."""
    chosen = []
    for word in words:
        group, _, value = word.lstrip("+~").partition("=")
        if group.isidentifier() and (names := _names(value)) and set(names) <= set(choices(group)):
            chosen.append(word)
    try:
        return _keys(OmegaConf.to_container(config.compose(chosen, config_name), resolve=False))
    except HydraException:
        return []


def _names(value: str) -> list[str]:
    """Of one choice, or of a list of them."""
    return [name for name in re.split(r"[\[\],\s'\"]+", value) if name]


def _nearest_key(key: str, known: Sequence[str]) -> str:
    """A phrase: by spelling, by initials (lr of learning_rate), by the last part alone, or what the group has."""
    parent, _, name = key.rpartition(".")
    siblings = {path.rpartition(".")[2]: path for path in known if path.rpartition(".")[0] == parent}
    close = difflib.get_close_matches(name, siblings, 1)
    initials = [sibling for sibling in siblings if "".join(word[:1] for word in sibling.split("_")) == name]
    for match in (*close, *initials):
        return f"did you mean {siblings[match]}?"
    for path in (*difflib.get_close_matches(key, known, 1, 0.8), *(path for path in known if path.rpartition(".")[2] == name)):
        if path != parent:
            return f"did you mean {path}?"
    return f"{parent} has {', '.join(siblings)}" if siblings else nearest_name(key, list(known))


def _keys(value: object, path: str = "") -> list[str]:
    inner = (
        [key for name, child in value.items() for key in _keys(child, f"{path}.{name}".lstrip("."))]
        if isinstance(value, dict)
        else []
    )
    return [path, *inner] if path else inner
