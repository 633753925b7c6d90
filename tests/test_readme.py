"""README.md works as written: the commands of seconds run, in order, in one process; the others compose; README.zh.md has the same."""

import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import runs

from cold_jax import config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
LINES = [
    shlex.split(line, comments=True) for kind, block in BLOCKS if kind == "sh" for line in block.replace("\\\n", " ").splitlines()
]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
OURS = [(line[2].removeprefix("cold_jax."), line[3:]) for line in LINES if line[:2] == ["python", "-m"]]
DRIVER = """
import importlib, json, sys, traceback
for module, arguments in json.load(sys.stdin):
    sys.argv = [module, *arguments]
    error = None
    try:
        if module == "python":
            exec(compile(arguments[0], "README.md", "exec"), {})
        else:
            name = "data.__main__" if module == "data" else module  # the command of a package
            importlib.import_module(f"cold_jax.{name}").main()
    except SystemExit as stop:
        error = f"exit code {stop.code}" if stop.code else None
    except BaseException:
        error = traceback.format_exc()
    print("OUTCOME", json.dumps([module, arguments, error]), file=sys.stderr, flush=True)
"""


def is_of_seconds(module: str, arguments: list[str]) -> bool:
    """Whether a command runs here; any other is a training on fetched data, or prints what the tests of cli print."""
    return module not in ("train", "pretrain") or bool({"+experiment=smoke", "resume=runs/smoke"} & {*arguments})


RUN = [(module, arguments) for module, arguments in OURS if is_of_seconds(module, arguments)]
COMPOSED = [(module, arguments) for module, arguments in OURS if not is_of_seconds(module, arguments)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """Command → its error. In the order of the README, as a reader would type them."""
    folder = tmp_path_factory.mktemp("readme")
    sources = [("python", [source]) for source in PYTHON]
    first = next(n for n, (module, _) in enumerate(RUN) if module == "train")
    commands = [*RUN[: first + 1], *sources, *RUN[first + 1 :]]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(commands),
        cwd=folder,
        env=runs.environment(folder / "cache") | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    found = [json.loads(line.removeprefix("OUTCOME ")) for line in done.stderr.splitlines() if line.startswith("OUTCOME ")]
    assert len(found) == len(commands), done.stderr
    return {key(module, arguments): error and f"{error}\n{done.stdout}\n{done.stderr}" for module, arguments, error in found}


def key(module: str, arguments: list[str]) -> str:
    return shlex.join([module, *arguments])


@pytest.mark.parametrize(
    "command",
    [key(*command) for command in RUN] + [key("python", [source]) for source in PYTHON],
    ids=lambda command: command[:60],
)
def test_a_command_of_seconds_runs(outcomes: dict[str, str | None], command: str) -> None:
    assert outcomes[command] is None, outcomes[command]


@pytest.mark.parametrize(
    ("module", "arguments"), COMPOSED, ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60]
)
def test_a_longer_command_composes(module: str, arguments: list[str]) -> None:
    """Every job of a sweep."""
    flags = [argument for argument in arguments if argument.startswith("-") or argument == "job"]
    assert set(flags) <= {"-m", "--help", "--cfg", "job"}
    swept = [
        argument.split(",") if "-m" in flags and "[" not in argument else [argument]
        for argument in arguments
        if argument not in flags
    ]
    values = [
        [choice if n == 0 else f"{several[0].partition('=')[0]}={choice}" for n, choice in enumerate(several)]
        for several in swept
    ]
    for overrides in itertools.product(*values):
        config.settings(config.compose(overrides, module))


@pytest.mark.parametrize(
    "line", [line for line in LINES if line[:2] != ["python", "-m"] and line[:1] not in ([], ["export"])], ids=" ".join
)
def test_any_other_line_is_of_the_makefile(line: list[str]) -> None:
    assert line == ["make", "install", "&&", "source", ".venv/bin/activate"]
    subprocess.run([*line[:2], "--dry-run"], cwd=ROOT, check=True, capture_output=True)
    assert "VENV ?= .venv\n" in (ROOT / "Makefile").read_text()


def test_inline_commands_exist() -> None:
    for target, name in re.findall(r"`make (\w+)(?: NAME=(\w+))?`", README):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
        assert (ROOT / "experiments" / name / "experiment.yaml").is_file() or not name
    for path in re.findall(r"`pytest (\S+)`|\]\(([^)#:]+)\)|`(conf/[\w/.]+yaml)`", README):
        assert (ROOT / "".join(path)).exists() or "NAME" in "".join(path), path
    for extra in re.findall(r"cold_jax\[(\w+)\]", README):
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE), extra


def figures(text: str) -> list[str]:
    """The numbers of the tables and of the text."""
    return re.findall(r"[−+]?\d*\.\d+", text.replace("Apache-2.0", ""))


def test_the_chinese_page_has_the_same_commands_figures_and_links() -> None:
    other = (ROOT / "README.zh.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", other, re.MULTILINE | re.DOTALL)
    plain = [[(kind, re.sub(r" *#.*", "", block)) for kind, block in of] for of in (BLOCKS, blocks)]
    assert plain[0] == plain[1]
    assert figures(other) == figures(README)
    links = [re.findall(r"\]\(([^)]+)\)", text) for text in (README, other)]
    assert [link.replace("README.zh.md", "README.md") for link in links[0]] == links[1]
    assert "README.zh.md" in links[0]


@pytest.mark.parametrize("data", ["Beauty", "Toys"])
def test_figures_are_those_of_the_experiment(data: str) -> None:
    """The first table is of experiments/amazon2014/table.json."""
    rows = json.loads((ROOT / "experiments" / "amazon2014" / "table.json").read_text())
    table = re.findall(r"^\| \**([^|*]+?)\**(?: \(ours\))? +\| \**([\d.]+)\** \| \**([\d.]+)\** \|$", README, re.MULTILINE)
    assert len(table) == 6
    names = {"texts + transitions, no training (ours)": "texts + transitions, no training"}
    for name, beauty, toys in table:
        (row,) = [
            row
            for row in rows
            if (row["data"], row["part"], row["metric"]) == (data, "unmasked", "recall@10")
            and row["method"] == names.get(name, name)
        ]
        shown = row["mean"] if row["mean"] is not None else row["reference"]
        assert f"{shown:.4f}" == (beauty if data == "Beauty" else toys), name


def test_it_is_two_screens() -> None:
    assert len(README.splitlines()) <= 100
