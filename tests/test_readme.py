"""README.md works as written: the commands of seconds run, in order, in one process; the others compose; its tables name what exists."""

import csv
import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import runs

from cold_jax import CONF, config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
LINES = [
    shlex.split(line, comments=True) for kind, block in BLOCKS if kind == "sh" for line in block.replace("\\\n", " ").splitlines()
]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
OURS = [(line[2].removeprefix("cold_jax."), line[3:]) for line in LINES if line[:2] == ["python", "-m"]]
# Shrinks a command of minutes that has to run, because its data are the reader's.
SHRUNK = ["encoder=tiny", "loop.max_steps=1", "evaluation.resamples=10", "logger=none"]
OWN_DATA = ("data=tables", "data=recbole")
DRIVER = """
import importlib, json, sys, traceback
for module, arguments in json.load(sys.stdin):
    sys.argv = [module, *arguments]
    error = None
    try:
        if module == "python":
            exec(compile(arguments[0], "README.md", "exec"), {})
        else:
            importlib.import_module(f"cold_jax.{module}").main()
    except SystemExit as stop:
        error = f"exit code {stop.code}" if stop.code else None
    except BaseException:
        error = traceback.format_exc()
    print("OUTCOME", json.dumps([module, arguments, error]), file=sys.stderr, flush=True)
"""


def is_of_seconds(module: str, arguments: list[str]) -> bool:
    """Whether a command runs here; any other is a training on fetched data, or prints what the tests of cli print."""
    return module not in ("train", "pretrain") or bool({"+experiment=smoke", "resume=runs/smoke", *OWN_DATA} & {*arguments})


RUN = [
    (module, arguments + SHRUNK * bool({*OWN_DATA} & {*arguments}))
    for module, arguments in OURS
    if is_of_seconds(module, arguments)
]
COMPOSED = [(module, arguments) for module, arguments in OURS if not is_of_seconds(module, arguments)]


def write_shop(folder: Path) -> None:
    """The files that "Your own data" names."""
    folder.mkdir()
    clicks = [
        (f"c{u:02d}", f"s{i:02d}", 1000 * u + i) for u, i in itertools.product(range(60), range(40)) if (u * i + u + i) % 3 == 0
    ]
    with (folder / "clicks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("customer", "sku", "at"), *clicks])
    with (folder / "customers.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("customer", "city", "segment"), *((f"c{u:02d}", f"city {u % 5}", f"segment {u % 3}") for u in range(60))]
        )
    products = [
        {"sku": f"s{i:02d}", "title": f"thing {i}", "brand": f"brand {i % 4}", "tags": f"tag{i % 3}|tag{i % 7}"}
        for i in range(40)
    ]
    (folder / "products.jsonl").write_text("".join(json.dumps(product) + "\n" for product in products))
    inter = [("user_id:token", "item_id:token", "timestamp:float"), *clicks]
    (folder / "shop.inter").write_text("".join("\t".join(map(str, row)) + "\n" for row in inter))
    (folder / "shop.item").write_text(
        "".join(f"{i}\t{t}\n" for i, t in [("item_id:token", "title:token_seq"), *((p["sku"], p["title"]) for p in products)])
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """Command → its error. In the order of the README, as a reader would type them."""
    folder = tmp_path_factory.mktemp("readme")
    write_shop(folder / "shop")
    sources = [("python", [source]) for source in PYTHON]
    first = next(n for n, (module, _) in enumerate(RUN) if module == "train")
    commands = [*RUN[: first + 1], *sources, *RUN[first + 1 :]]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(commands),
        cwd=folder,
        env=runs.environment(folder / "cache") | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_backend_optimization_level=0"},
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
    if line[0] == "make":
        subprocess.run([*line, "--dry-run"], cwd=ROOT, check=True, capture_output=True)
    else:
        assert line == ["source", ".venv/bin/activate"]
        assert "VENV ?= .venv\n" in (ROOT / "Makefile").read_text()


def test_inline_commands_exist() -> None:
    for target, name in re.findall(r"`make (\w+)(?: NAME=(\w+))?`", README):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
        assert (ROOT / "experiments" / name / "experiment.yaml").is_file() or not name
    for path in re.findall(r"`pytest (\S+)`|\]\(([^)#:]+)\)|`(conf/[\w/.]+yaml)`", README):
        assert (ROOT / "".join(path)).exists() or "NAME" in "".join(path), path
    for extra in re.findall(r"cold_jax\[(\w+)\]", README):
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE), extra


def expanded(pattern: str) -> list[str]:
    """What a shell makes of {a,b}_c."""
    parts = re.split(r"\{([\w,]+)\}", pattern)
    return [
        "".join(chosen) for chosen in itertools.product(*(part.split(",") if n % 2 else [part] for n, part in enumerate(parts)))
    ]


def test_the_table_lists_every_choice() -> None:
    rows = re.findall(r"^\|[^|]*\| `(\w+)=(\S+)` \|(.*)\|$", README, re.MULTILINE)
    assert {group for group, _, _ in rows} == {*config.GROUPS, "logger"} - {"data", "optimizer", "loop", "evaluation"}
    for group, default, choices in rows:
        named = {word for word in re.findall(r"`([^`]+)`", choices) if re.fullmatch(r"\w+", word)}
        assert named == {path.stem for path in (Path(CONF) / group).glob("*.yaml")}, group
        assert set(default.strip("[]").split(",")) == set(made if isinstance(made := list_of(group), list) else [made]), group


def list_of(group: str) -> str | list[str]:
    """train.yaml's default choice."""
    from omegaconf import OmegaConf

    entries = OmegaConf.to_container(OmegaConf.load(Path(CONF) / "train.yaml").defaults)
    assert isinstance(entries, list)
    return next(entry[group] for entry in entries if isinstance(entry, dict) and group in entry)


def test_every_experiment_is_named() -> None:
    (sentence,) = re.findall(r"Experiments are (.*?)\. A misspelt", README, re.DOTALL)
    named = {name for pattern in re.findall(r"`(?:\+experiment=)?([^`]+)`", sentence) for name in expanded(pattern)}
    assert named == {path.stem for path in (Path(CONF) / "experiment").glob("*.yaml")}
    assert all(f"experiments/{path.parent.name}/README.md" in README for path in (ROOT / "experiments").glob("*/experiment.yaml"))


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150
