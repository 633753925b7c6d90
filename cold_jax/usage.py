"""What --help prints: what a command does, examples, its groups and keys with the comments of conf/."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cold_jax import CONF
from cold_jax.config import own_folders

# groups by what they decide
PURPOSES = {
    "what is learnt from": ("data", "split"),
    "what learns": ("encoder", "adapter", "model", "init", "ensemble"),
    "how it learns": ("objective", "batching", "privacy", "parallel"),
    "what is measured and shown": ("baseline", "logger"),
}
# choices that a command has no use for, and refuses
_TOKENS = {"model": ("language_model",), "objective": ("token_cross_entropy",), "batching": ("masked_tokens",)}
REFUSED: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {**_TOKENS, "experiment": ("contrastive", "contrastive_sequences", "queries")},
    "pretrain": {"adapter": ("frozen", "zero_shot")},
}
_WIDTH = 118


def text(config_name: str, arguments: Sequence[str]) -> str:
    """The help of a command; of each GROUP=CHOICE among the arguments its file instead."""
    files = [Path(CONF, group, f"{name}.yaml") for group, _, name in (word.lstrip("+").partition("=") for word in arguments)]
    chosen = [f"conf/{path.parent.name}/{path.name}\n{path.read_text()}" for path in files if path.is_file()]
    return "\n".join(chosen) if chosen else "\n".join(_help(config_name)).rstrip()


def _help(config_name: str) -> Iterator[str]:
    source = Path(CONF, f"{config_name}.yaml").read_text()
    yield from (line.removeprefix("#").removeprefix(" ") for line in source.split("defaults:")[0].splitlines())
    defaults = dict(re.findall(r"^  - (\w+): ([^#\n]+)", source, re.MULTILINE))
    about = dict(re.findall(r"^  - (\w+): [^#\n]+# (.+)$", Path(CONF, "train.yaml").read_text(), re.MULTILINE))
    refused = REFUSED.get(config_name, {})
    if "data" in defaults:
        yield "\n+experiment=NAME: a whole experiment; what is typed besides changes it"
        yield from _wrapped([name for name in choices("experiment") if name not in refused.get("experiment", ())])
    for purpose, groups in PURPOSES.items():
        ours = [group for group in groups if group in defaults]
        if ours:
            yield f"\n{purpose} (GROUP=CHOICE, * the default)"
        for group in ours:
            default = defaults[group].strip().strip("[]").split(", ")
            names = [f"{name}{'*' * (name in default)}" for name in choices(group) if name not in refused.get(group, ())]
            yield from _wrapped(names, f"  {group:<11}")
            if group in about:
                yield f"{'':<13}# {about[group]}"
    yield "\nkeys (KEY=VALUE, of a block BLOCK.KEY=VALUE)"
    yield from (f"  {line}".rstrip() for line in _bodies(config_name))
    yield "\n--help GROUP=CHOICE shows the keys of a choice with their comments, --cfg job the whole config that would run, -m runs every"
    yield "combination of values separated by commas. A text with commas or quotes needs quotes for the shell and for Hydra:"
    yield "'KEY=\"Köln, student\"'."


def _bodies(config_name: str) -> Iterator[str]:
    """The keys of a config's file and of the files that it includes, without Hydra's own."""
    source = Path(CONF, f"{config_name}.yaml").read_text()
    for included in re.findall(r"^  - (\w+)$", source, re.MULTILINE):
        if included != "_self_":
            yield from _bodies(included)
    body = re.sub(r"^defaults:\n(  .*\n)*", "", source, flags=re.MULTILINE).partition("\nhydra:")[0]
    lines = [line for line in body.splitlines() if line.strip() and not line.lstrip().startswith(("#", "_target_"))]
    yield from lines


def choices(group: str) -> list[str]:
    """The files of conf/GROUP, as they are typed, and those in conf/ of the current folder."""
    folders = [Path(CONF, group), *(Path(folder, group) for folder in own_folders())]
    return sorted({path.relative_to(folder).with_suffix("").as_posix() for folder in folders for path in folder.rglob("*.yaml")})


def _wrapped(names: Sequence[str], start: str = "  ") -> Iterator[str]:
    line = start
    for name in names:
        if len(line) + len(name) > _WIDTH:
            yield line.rstrip()
            line = " " * len(start)
        line += f"{name} "
    yield line.rstrip()
