"""Pages made from the code: keys of conf/, helps of the commands, tables of experiments/, the layers of the packages.

Sphinx calls `write` before it reads the pages (docs/conf.py); what it writes is in docs/generated, which is not committed.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import enum
import importlib
import io
import re
import shlex
import shutil
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

import cold_jax
from cold_jax import CONF, config, usage

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
OUT = DOCS / "generated"
BLOCKS = ("optimizer", "loop", "evaluation", "search")  # groups without choices: a block of base.yaml or search.yaml
TITLES = {
    "data": "Data",
    "split": "Splits",
    "encoder": "Encoders",
    "adapter": "Adapters",
    "model": "Models",
    "init": "Initialisation",
    "objective": "Objectives",
    "batching": "Batching",
    "parallel": "Devices",
    "ensemble": "Ensembles",
    "baseline": "Baselines",
    "logger": "Loggers",
    "privacy": "Privacy",
    "optimizer": "Optimizer",
    "loop": "Training loop",
    "evaluation": "Evaluation",
    "search": "Search",
}
_LINE = re.compile(r"^(\s*)([\w.()]+):(?:\s+(.*?))??(?:\s+#\s(.*))?$")


class Key(typing.NamedTuple):
    """A key of a choice, as a page shows it."""

    name: str
    value: object  # the default, as YAML holds it; "???" where it has to be given
    type: str
    meaning: str


class Choice(typing.NamedTuple):
    """A file of conf/GROUP, or a block of base.yaml."""

    group: str
    name: str
    about: str
    cls: type
    keys: list[Key]
    parent: str  # the choice whose keys it changes, "" where it stands alone
    own: list[str]  # the keys that its file sets


def file_comments(path: Path) -> tuple[str, dict[str, str]]:
    """(the comment at the top, key → the comment beside or above it) of a YAML file; of nested keys the dotted path."""
    about, above, comment_of, open_keys = [], [], {}, []
    started = False
    for line in path.read_text().splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            text = stripped.removeprefix("#").strip()
            (above if started else about).append(text)
        elif found := _LINE.match(line):
            started = True
            indent, key, _, comment = found.groups()
            open_keys = [(depth, name) for depth, name in open_keys if depth < len(indent)]
            open_keys.append((len(indent), key))
            dotted = ".".join(name for _, name in open_keys)
            if text := " ".join([*above, *([comment] if comment else [])]):
                comment_of[dotted] = text
            above = []
    return " ".join(line for line in about if not line.startswith("@package")), comment_of


def choices(group: str) -> Iterator[Choice]:
    """All choices of a group, those that others build on first; or the group's block."""
    if group in BLOCKS:
        yield _block(group)
        return
    names = usage.choices(group)
    found = [_choice(group, name) for name in names]
    yield from sorted(found, key=lambda choice: ("/" in choice.name, bool(choice.parent), choice.name))


def _block(group: str) -> Choice:
    path = Path(CONF, "search.yaml" if group == "search" else "base.yaml")
    _, comment_of = file_comments(path)
    node = OmegaConf.load(path)[group]
    own = {key.removeprefix(f"{group}."): text for key, text in comment_of.items() if key.startswith(f"{group}.")}
    return _described(group, group, "", node, own, "", [])


def _choice(group: str, name: str) -> Choice:
    path = Path(CONF, group, f"{name}.yaml")
    about, _ = file_comments(path)
    node, comment_of, parent = _loaded(path)
    own = [str(key) for key in OmegaConf.load(path) if key not in ("_target_", "defaults")] if parent else []
    return _described(group, name, about, node, comment_of, parent, own)


def _loaded(path: Path) -> tuple[DictConfig, dict[str, str], str]:
    """(keys with those of the files it builds on, key → comment, the name of the choice it builds on)."""
    own = OmegaConf.load(path)
    assert isinstance(own, DictConfig)
    _, comment_of = file_comments(path)
    entries = [str(entry).partition("@")[0] for entry in own.pop("defaults", []) if entry != "_self_"]
    if not entries:
        return own, comment_of, ""
    [entry] = entries
    base = Path(CONF, entry.lstrip("/")) if entry.startswith("/") else path.parent / entry
    node, inherited, _ = _loaded(base.with_suffix(".yaml"))
    for key in own:  # a mapping is replaced where its keys are the user's own, as OmegaConf merges them otherwise
        node[key] = (
            OmegaConf.merge(node[key], own[key]) if OmegaConf.is_dict(own[key]) and OmegaConf.is_dict(node.get(key)) else own[key]
        )
    return (
        node,
        inherited | comment_of,
        entry.lstrip("/").removeprefix("baseline/") if path.parent.name == "baseline" else entry.lstrip("/"),
    )


def _described(
    group: str, name: str, about: str, node: DictConfig, comment_of: dict[str, str], parent: str, own: list[str]
) -> Choice:
    module, _, class_name = str(node["_target_"]).rpartition(".")
    cls = getattr(importlib.import_module(module), class_name)
    hints = typing.get_type_hints(cls)
    values = OmegaConf.to_container(node, resolve=False)
    assert isinstance(values, dict)
    documented = _docstring_keys(cls)
    keys = [
        Key(
            field.name,
            values.get(field.name, "???"),
            type_name(hints[field.name]),
            comment_of.get(field.name) or documented.get(field.name, ""),
        )
        for field in dataclasses.fields(cls)
    ]
    return Choice(group, name, about, cls, keys, parent, own)


def _docstring_keys(cls: type) -> dict[str, str]:
    """Key → what the docstrings of a class and its bases, or the comment beside the field, say of it."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        if not dataclasses.is_dataclass(base):
            continue
        names = [field.name for field in dataclasses.fields(base)]
        text = " ".join((base.__doc__ or "").split())
        for name, meaning in re.findall(rf"\b({'|'.join(names)}): (.*?)(?:[.;](?= |$)|$)", text) if names else ():
            found.setdefault(name, meaning)
        source = Path(importlib.import_module(base.__module__).__file__ or "").read_text()
        body = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef) and node.name == base.__name__)
        for line in source.splitlines()[body.lineno - 1 : body.end_lineno]:
            if beside := re.match(r"^    (\w+): [^#]+#\s+(?!pyright|type|noqa)(.+)$", line):
                found[beside[1]] = beside[2]
    return found


def type_name(hint: object) -> str:
    """As people write it: int, list[str], float or null, one of an enum's values."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(str(member.value) for member in hint)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join("null" if one is type(None) else type_name(one) for one in typing.get_args(hint))
    if origin := typing.get_origin(hint):
        return f"{origin.__name__}[{', '.join(map(type_name, typing.get_args(hint)))}]"
    return hint.__name__ if isinstance(hint, type) else str(hint)


def yaml_value(value: object) -> str:
    """In YAML's flow style, as it is typed after KEY=."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            keys = [re.sub(r"([()])", r"\\\1", str(key)) for key in value]  # Hydra reads a bare parenthesis as a function's
            return "{" + ", ".join(f"{key}: {yaml_value(inner)}" for key, inner in zip(keys, value.values(), strict=True)) + "}"
        case list():
            return "[" + ", ".join(map(yaml_value, value)) + "]"
        case str() if not re.fullmatch(r"[\w.@/\-]+", value) or value in ("null", "true", "false"):
            return '"' + re.sub(r'(\\*)"', r'\1\1\\"', value) + '"'  # Hydra's rule: only what stands before a quote is escaped
        case _:
            return str(value)


def override(prefix: str, key: Key) -> str:
    """PREFIX.KEY=VALUE, for a shell; its default is its example."""
    value = "VALUE" if key.value == "???" else yaml_value(key.value)
    return shlex.quote(f"{prefix}.{key.name}={value}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def group_page(group: str) -> str:
    """The reference page of a group of conf/."""
    typed = "" if group in BLOCKS else f" (`{group}=…`)"
    lines = [f"# {TITLES[group]}{typed}", ""]
    about = dict(re.findall(r"^  - (\w+): [^#\n]+# (.+)$", Path(CONF, "train.yaml").read_text(), re.MULTILINE)).get(group)
    lines += [f"{about[0].upper()}{about[1:]}.", ""] if about else []
    everything = list(choices(group))
    several = group in config.MANY
    if several:
        lines += [f"Several at once: `'{group}=[{everything[0].name},{everything[1].name}]'`. Keys are `{group}.NAME.KEY`.", ""]
    for choice in everything:
        lines += [] if group in BLOCKS else [f"## `{group}={choice.name}`", "", _sentence(choice.about), ""]
        source = f"`{choice.cls.__module__}.{choice.cls.__name__}`"
        if choice.parent:
            lines += [f"As `{choice.parent}` ({source}), with:", ""]
        else:
            lines += [f"Class: {source}" + ("; it has no keys." if not choice.keys else "."), ""]
        shown = [key for key in choice.keys if not choice.parent or key.name in choice.own]
        if shown:
            prefix = f"{group}.{Path(choice.name).name}" if several else group
            lines += ["| key and default, as an override | type | meaning |", "|---|---|---|"]
            lines += [f"| `{_cell(override(prefix, key))}` | {_cell(key.type)} | {_cell(key.meaning)} |" for key in shown]
            lines.append("")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return _escaped(text if text.endswith((".", "…")) else f"{text}.")


def _escaped(text: str) -> str:
    """Prose for Markdown: what looks like code becomes code, and nothing becomes HTML or emphasis."""
    text = re.sub(r"(?<![\w`'\"])([a-z_]+(?:\.[a-z_]+)*=[\w./\[\],{}+-]*[\w\]}])", r"`\1`", text)
    return re.sub(r"(?<!`)([<*_])(?![^`]*`)", r"\\\1", text) if "`" not in text else text


def experiments_page() -> str:
    lines = [
        "# Experiments (`+experiment=…`)",
        "",
        "Files of differences from the defaults; what is typed besides wins over them.",
        "",
    ]
    lines += ["| experiment | what it is |", "|---|---|"]
    for name in usage.choices("experiment"):
        about, _ = file_comments(Path(CONF, "experiment", f"{name}.yaml"))
        lines.append(f"| `+experiment={name}` | {_cell(re.sub(r'python -m [^ ]+ [+]experiment=[^ :]+:?', '', about).strip())} |")
    return "\n".join([*lines, ""])


def run_keys_page() -> str:
    """The keys of a run that belong to no group."""
    _, comment_of = file_comments(Path(CONF, "base.yaml"))
    values = OmegaConf.load(Path(CONF, "base.yaml"))
    lines = ["# Keys of a whole run", "", "| key and default | meaning |", "|---|---|"]
    for key in [*config.SINGLE, "resume", "experiment"]:
        lines.append(f"| `{key}={yaml_value(values[key])}` | {_cell(comment_of.get(key, ''))} |")
    lines += ["", "`hydra.run.dir=DIR` names the run's folder; by default it is a new one under `runs/`.", ""]
    return "\n".join(lines)


def commands() -> dict[str, str]:
    """Name → module of every command, as pyproject.toml has them."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    modules = [target.partition(":")[0] for target in scripts.values()]
    return {module.removeprefix("cold_jax.").removesuffix(".__main__"): module for module in modules}


def command_help(name: str, module: str) -> str:
    """What `python -m cold_jax.NAME --help` prints."""
    if Path(CONF, f"{name}.yaml").is_file():
        return usage.text(name, [])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["check", "--help"] if name == "data" else ["--help"])
    return re.sub(r"\x1b\[[\d;]*m", "", printed.getvalue())


def commands_page() -> str:
    lines = [
        "# Commands",
        "",
        "Each is `python -m cold_jax.NAME`, or `cold-jax-NAME` where the package is installed. `--help` prints what is below.",
        "",
    ]
    for name, module in commands().items():
        lines += [f"## {name}", "", "```text", command_help(name, module).rstrip(), "```", ""]
    return "\n".join(lines)


def results_page(readme: Path) -> str:
    """An experiment's README as a page: links to other experiments lead to their pages, to files to their names; pictures are NAME-FILE."""
    text = re.sub(r"(!\[[^\]]*\]\()(\w+\.svg\))", rf"\g<1>{readme.parent.name}-\g<2>", readme.read_text())
    text = re.sub(r"\]\(\.\./(\w+)/README\.md\)", r"](\1.md)", text)
    text = re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?!\w+\.md)([^)]+)\)", r"\1 (`\2`)", text)
    return re.sub(r"^(    (?:make|python) .*(?:\n    .*)*)$", r"\1", text, flags=re.MULTILINE)


def inside(text: str) -> str:
    """A page whose links lead to experiments/NAME/README.md and conf/GROUP, as they do in the repository, with links to the site's pages."""
    text = re.sub(r"\]\((?:\.\./)+experiments/(\w+)/README\.md\)", r"](/generated/results/\1.md)", text)
    return re.sub(r"\]\((?:\.\./)+conf/(\w+)\)", r"](/generated/config/\1.md)", text)


def layers_page() -> str:
    """The import order of the packages, as their imports give it."""
    return "\n".join(["```text", *layer_lines(), "```", ""])


def imports() -> dict[str, set[str]]:
    """Package, or module at the top → those it imports from, without the commands' own imports within functions."""
    code, found = ROOT / "cold_jax", {}
    for path in sorted(code.rglob("*.py")):
        name = path.relative_to(code).with_suffix("").parts[0]
        if name == "__init__" or path.stem == "__main__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module == "cold_jax":
                modules += [f"cold_jax.{alias.name}" for alias in node.names]
            of = {module.split(".")[1] for module in modules if module.startswith("cold_jax.")}
            found.setdefault(name, set()).update(of - {name, "CONF"})
    return {name: {other for other in of if other in found} for name, of in found.items()}


def layer_lines() -> list[str]:
    """A line for each layer: whatever imports only from the layers above it. Commands are one line, the last."""
    of, own = imports(), set(commands())
    commands_line = sorted(own & set(of))
    remaining, above, lines = {name for name in of if name not in own or name == "data"}, set(), []
    while remaining:
        layer = sorted(name for name in remaining if of[name] <= above)
        if not layer:
            raise ValueError(f"the packages import each other in a circle: {', '.join(sorted(remaining))}")
        lines.append(f"{len(lines) + 1:2}  " + "  ".join(layer))
        above |= set(layer)
        remaining -= set(layer)
    return [*lines, "    " + "  ".join(name for name in commands_line if name != "data")]


def write() -> None:
    """All generated pages, into docs/generated. A page that has not changed is not written again, for incremental builds."""
    pages = {f"config/{group}.md": group_page(group) for group in (*TITLES,)}
    pages |= {"config/experiment.md": experiments_page(), "config/run.md": run_keys_page(), "commands.md": commands_page()}
    pages |= {f"results/{readme.parent.name}.md": results_page(readme) for readme in sorted(ROOT.glob("experiments/*/README.md"))}
    pages |= {
        "legend.md": f"```text\n{(cold_jax.__doc__ or '').strip()}\n```\n",
        "layers.md": layers_page(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
    }
    for name, text in pages.items():
        path = OUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for picture in ROOT.glob("experiments/*/*.svg"):
        shutil.copy(picture, OUT / "results" / f"{picture.parent.name}-{picture.name}")
    for path in OUT.rglob("*.md"):
        if path.relative_to(OUT).as_posix() not in pages:
            path.unlink()
