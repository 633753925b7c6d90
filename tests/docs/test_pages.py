"""The pages of docs/ name what exists: commands compose, tables list every choice, blocks of Python run."""

import importlib
import itertools
import re
import shlex
from pathlib import Path

import generated
import pytest
from omegaconf import OmegaConf

from cold_jax import CONF, config
from cold_jax.evaluation import metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "generated" not in path.parts]
TEXT = {path.relative_to(DOCS).as_posix(): path.read_text() for path in PAGES}
BLOCKS = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINES = sorted(
    {
        (page, shlex.join(words))
        for page, text in TEXT.items()
        for kind, block in BLOCKS.findall(text)
        if kind == "sh"
        if page != "own_data.md"  # tests/test_own_data.py runs it
        for words in (shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines())
        if words
    }
)
LINKS = sorted({(page, link) for page, text in TEXT.items() for link in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", text)})
OPTIONS = re.compile(r"--(?:user|profile|item|items|users|liked|query|where|attribute|exclude)$")


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_composes(page: str, line: str) -> None:
    words = list(
        itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), shlex.split(line))
    )  # without variables of the environment
    if words[:2] != ["python", "-m"]:
        assert words[0] in ("make", "source", "export", "pip", "git", "cd", "python") or words[0].isidentifier(), page
        if words[0] == "python":
            assert (ROOT / words[1]).is_file(), page
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), page
        return
    module, *arguments = words[2:]
    name = module.removeprefix("cold_jax.")
    if not (Path(CONF) / f"{name}.yaml").is_file():
        assert importlib.util.find_spec(module), f"{page}: {module}"
        assert name in generated.commands()
        if name != "data":
            return
        name, arguments = "train", [word for word in arguments if word != "check" and not word.startswith("--")]
        arguments = [word for word in arguments if "=" in word]
    after_options = [
        word for before, word in itertools.pairwise(["", *arguments]) if not word.startswith("-") and not OPTIONS.match(before)
    ]
    multirun = "-m" in arguments
    values = [
        [choice if n == 0 else f"{word.partition('=')[0]}={choice}" for n, choice in enumerate(word.split(","))]
        if multirun and "[" not in word
        else [word]
        for word in after_options
        if "=" in word
    ]
    places = () if name in ("train", "pretrain") else ("data.root", "encoder.id")
    for overrides in {tuple(of[n] for of in values) for n in (0, -1)}:  # the first and the last job of a sweep
        chosen = [f"++{word}" if word.startswith(places) and places else word for word in overrides]
        config.compose(chosen, name)


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_somewhere(page: str, link: str) -> None:
    assert (DOCS / page).parent.joinpath(link).exists(), page
    if "experiments/" in link or "/conf/" in link:  # the site has a page of it
        assert "generated/" in generated.inside(f"[x]({link})"), page


def test_the_table_of_choices_lists_every_choice() -> None:
    rows = re.findall(r"^\|[^|]*\| `(\w+)=(\S+)` \|(.*)\|$", TEXT["reference/index.md"], re.MULTILINE)
    assert {group for group, _, _ in rows} == {*config.GROUPS, "logger"} - {"data", "optimizer", "loop", "evaluation"}
    defaults = OmegaConf.to_container(OmegaConf.load(Path(CONF) / "train.yaml").defaults)
    assert isinstance(defaults, list)
    for group, default, choices in rows:
        named = {word for word in re.findall(r"`([^`]+)`", choices) if re.fullmatch(r"\w+", word)}
        assert named == {path.stem for path in (Path(CONF) / group).glob("*.yaml")}, group
        made = next(entry[group] for entry in defaults if isinstance(entry, dict) and group in entry)
        assert set(default.strip("[]").split(",")) == set(made if isinstance(made, list) else [made]), group


def test_every_baseline_experiment_and_metric_has_its_place() -> None:
    baselines = {
        path.relative_to(Path(CONF) / "baseline").with_suffix("").as_posix() for path in Path(CONF).glob("baseline/**/*.yaml")
    }
    assert {word for word in re.findall(r"`([\w/]+)`", TEXT["reference/baselines.md"])} >= baselines
    for path in (ROOT / "experiments").glob("*/README.md"):
        assert f"](../../experiments/{path.parent.name}/README.md)" in TEXT["results/index.md"], path.parent.name
        assert f"../generated/results/{path.parent.name}\n" in TEXT["results/index.md"], path.parent.name
    for metric in (*metrics.AT_K, *metrics.WHOLE, *metrics.POINTWISE, *metrics.BEYOND_ACCURACY):
        assert metric in TEXT["reference/metrics.md"].replace("\\_", "_"), metric


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {
        (DOCS / page).parent.joinpath(f"{line.strip()}").resolve().relative_to(DOCS).as_posix()
        for page, text in TEXT.items()
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.strip() and not line.startswith(":")
    }
    assert {page.removesuffix(".md") for page in TEXT} - listed == {"index"}


def test_the_metrics_can_be_recomputed_from_a_run_s_folder(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block of own_scores.md, on a run: its figure is that of results.json."""
    import json

    (source,) = [block for kind, block in BLOCKS.findall(TEXT["tutorials/own_scores.md"]) if kind == "python"]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "smoke").symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "own_scores.md", "exec"), {})
    value = json.loads((finished / "results.json").read_text())["test"]["support_5"]["recall@20"]
    assert capsys.readouterr().out == f"recall@20 of support_5: {value:.4f}\n"
