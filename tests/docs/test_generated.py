"""docs/extensions/generated.py: the reference pages hold every key of conf/, and what they show can be typed."""

import re
import shlex
from pathlib import Path

import generated
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from cold_jax import CONF, config, usage

GROUPS = {path.name for path in Path(CONF).iterdir() if path.is_dir()} - {"experiment", "launcher", "sweep"}


@pytest.fixture(scope="module")
def choices() -> dict[str, list[generated.Choice]]:
    return {group: list(generated.choices(group)) for group in generated.TITLES}


def test_every_key_of_every_choice_is_there(choices: dict[str, list[generated.Choice]]) -> None:
    """Against what Hydra composes."""
    assert set(generated.TITLES) == GROUPS | set(generated.BLOCKS)
    assert {*config.GROUPS, *config.MANY, "search"} == set(generated.TITLES)
    for group in sorted(GROUPS):
        assert {choice.name for choice in choices[group]} == set(usage.choices(group))
        page = generated.group_page(group)
        for choice in choices[group]:
            node = OmegaConf.load(Path(CONF, group, f"{choice.name}.yaml"))
            for key in [str(key) for key in node if key not in ("_target_", "defaults")]:
                assert re.search(rf"^\| `'?{group}\.(\w+\.)?{key}=", page, re.MULTILINE), f"{group}={choice.name}: {key}"


@pytest.mark.parametrize(
    "choice", ["adapter=lora_last_2", "encoder=bert_base", "data=ml_100k", "init=fold_in", "baseline=ridge_svd_cv"]
)
def test_defaults_are_those_that_hydra_composes(choice: str, choices: dict[str, list[generated.Choice]]) -> None:
    group, _, name = choice.partition("=")
    (found,) = [one for one in choices[group] if one.name == name]
    cfg = config.compose([f"{group}=[{name}]" if group in config.MANY else choice])
    composed = OmegaConf.to_container(cfg[group][name] if group in config.MANY else cfg[group], resolve=False)
    assert isinstance(composed, dict)
    assert {key.name: key.value for key in found.keys} == {key: value for key, value in composed.items() if key != "_target_"}


def test_every_key_has_a_type_and_a_meaning(choices: dict[str, list[generated.Choice]]) -> None:
    without = [
        f"{one.group}={one.name}: {key.name}" for of in choices.values() for one in of for key in one.keys if not key.meaning
    ]
    assert not without, "give each a comment beside it in conf/"
    assert all(key.type for of in choices.values() for one in of for key in one.keys)


def test_an_override_means_its_default(choices: dict[str, list[generated.Choice]]) -> None:
    """Typed in a shell and read by Hydra, it is the value of the file."""
    parser = OverridesParser.create()
    for of in choices.values():
        for choice in of:
            for key in choice.keys:
                (word,) = shlex.split(generated.override(choice.group, key))
                if key.value != "???" and "${" not in str(key.value):
                    assert parser.parse_overrides([word])[0].value() == key.value, word


def test_the_layers_have_no_import_upwards() -> None:
    lines = [line.split() for line in generated.layer_lines()]
    layer = {name: number for number, (_, *names) in enumerate(lines[:-1]) for name in names}
    for name, of in generated.imports().items():
        if name in layer:
            assert all(layer[other] < layer[name] for other in of), name


def test_links_of_a_readme_lead_to_pages() -> None:
    for name in ("amazon2014", "adapter_study", "training_free"):
        text = generated.results_page(generated.ROOT / "experiments" / name / "README.md")
        assert not re.search(r"\]\(\.\./", text)


def test_each_page_of_results_shows_its_own_pictures() -> None:
    for readme in sorted(generated.ROOT.glob("experiments/*/README.md")):
        name = readme.parent.name
        shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", generated.results_page(readme))
        assert shown
        assert {picture.partition("-")[0] for picture in shown} == {name}
        assert {(readme.parent / picture.removeprefix(f"{name}-")).is_file() for picture in shown} == {True}
