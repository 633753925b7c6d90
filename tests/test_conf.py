"""Every file of conf/ composes, and its keys are its dataclass's fields."""

import itertools
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cold_jax import CONF, build, command  # noqa: F401  (command registers the resolvers)

FOLDER = Path(CONF)
CHOICES = [path.relative_to(FOLDER) for path in sorted(FOLDER.glob("*/*.yaml")) if path.parent.name != "experiment"]
EXPERIMENTS = sorted(path.stem for path in (FOLDER / "experiment").glob("*.yaml"))
SPLITS = sorted(path.stem for path in (FOLDER / "split").glob("*.yaml"))
ADAPTERS = sorted(path.stem for path in (FOLDER / "adapter").glob("*.yaml"))
# what a user has to give, for the choices that ask for it
GIVEN = {
    "data/tables": ["data.interactions=a.csv", "data.items=b.csv", "data.item_texts={line: '{title}'}"],
    "data/recbole": ["data.root=.", "data.member=x", "data.item_texts={line: '{title}'}"],
    "encoder/hub": ["encoder.id=folder"],
    "split/from_file": ["split.path=split.csv"],
}


def settings(*overrides: str) -> build.Settings:
    with initialize_config_dir(CONF, version_base="1.3"):
        return build.settings(compose("train", list(overrides)))


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_choice_is_its_dataclass(choice: Path) -> None:
    group, name = choice.parent.name, choice.stem
    chosen = f"{group}=[{name}]" if group in build.MANY else f"{group}={name}"
    made = settings(chosen, *GIVEN.get(f"{group}/{name}", []))
    field = f"{group}s" if group in build.MANY else group
    value = getattr(made, field)
    target = str(OmegaConf.load(FOLDER / choice)._target_).rsplit(".", 1)[-1]
    assert type(value[name] if group in build.MANY else value).__name__ == target


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_takes_every_adapter_and_split(experiment: str) -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        for adapter, split in itertools.product(ADAPTERS, SPLITS):
            overrides = [f"+experiment={experiment}", f"adapter={adapter}", f"split={split}", *GIVEN.get(f"split/{split}", [])]
            assert build.settings(compose("train", overrides)).experiment == experiment


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_file_says_what_it_is_and_fits_on_a_screen(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert any(line.startswith("# ") and "@package" not in line for line in lines[:3])
    assert path.parent == FOLDER or len(lines) <= 25


def test_a_sweep_cannot_hide_in_the_defaults() -> None:
    """`experiment` in train.yaml's defaults would make `+experiment=NAME` fail."""
    assert not any("experiment" in entry for entry in OmegaConf.load(FOLDER / "train.yaml").defaults if entry != "_self_")
