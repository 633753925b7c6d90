"""Every file of conf/ composes, and its keys are its dataclass's fields."""

import itertools
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from cold_jax import CONF, config
from cold_jax.errors import ConfigError

FOLDER = Path(CONF)
OF_CHOICES = [path.relative_to(FOLDER) for path in sorted(FOLDER.glob("*/**/*.yaml"))]
CHOICES = [path for path in OF_CHOICES if path.parts[0] not in ("experiment", "sweep", "launcher")]
EXPERIMENTS = sorted(path.stem for path in (FOLDER / "experiment").glob("*.yaml"))
SPLITS = sorted(path.stem for path in (FOLDER / "split").glob("*.yaml"))
ADAPTERS = sorted(path.stem for path in (FOLDER / "adapter").glob("*.yaml"))
# the package of a group's classes, where it is not the group's plural
PACKAGES = {
    "data": "data",
    "batching": "batching",
    "init": "models",
    "ensemble": "models",
    "objective": "training",
    "parallel": "training",
    "privacy": "training",
}
# what a user has to give, for the choices that ask for it
GIVEN = {
    "data/tables": ["data.interactions=a.csv", "data.items=b.csv", "data.item_texts={line: '{title}'}"],
    "data/sql": [
        "data.uri=env:SHOP_DB",
        "data.interactions='SELECT user_id, item_id FROM clicks'",
        "data.items='SELECT * FROM products'",
        "data.item_texts={line: '{title}'}",
    ],
    "data/mongodb": [
        "data.uri=env:SHOP_DB",
        "data.interactions=clicks",
        "data.items=products",
        "data.item_texts={line: '{title}'}",
    ],
    "data/recbole": ["data.root=.", "data.name=x", "data.item_texts={line: '{title}'}"],
    "data/sequences": ["data.item_texts={line: '{title}'}"],
    "encoder/hub": ["encoder.id=folder"],
    "privacy/dp": ["privacy.users=100"],
    "split/from_file": ["split.path=split.csv"],
    "split/file_pointwise": ["split.path=split.csv"],
}


MAY_BE_NEGATIVE = (
    "threshold",  # of ratings, which a shop may give below 0
    "popularity_weight",  # rare items first
    "calibration",
)


@cache
def nodes() -> dict[Path, DictConfig]:
    """What each choice composes to in a run's config: the first of every group in one config, then the second of every group, and so on."""
    groups = {name: [choice for choice in CHOICES if choice.parts[0] == name] for name in {choice.parts[0] for choice in CHOICES}}
    found: dict[Path, DictConfig] = {}
    for n in range(max(len(of) for name, of in groups.items() if name not in config.MANY)):
        chosen = {
            name: of if name in config.MANY else of[n : n + 1] for name, of in groups.items() if name not in config.MANY or n == 0
        }
        overrides = []
        for name, of in chosen.items():
            names = [choice.relative_to(name).with_suffix("").as_posix() for choice in of]
            overrides += [f"{name}=[{','.join(names)}]"] if name in config.MANY else [f"{name}={one}" for one in names]
            overrides += [f"++{given}" for one in names for given in GIVEN.get(f"{name}/{one}", [])]
        cfg = config.compose(overrides)
        found |= {
            choice: cfg[name][choice.stem] if name in config.MANY else cfg[name] for name, of in chosen.items() for choice in of
        }
    return found


def node_of(choice: Path) -> DictConfig:
    return nodes()[choice]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_choice_is_its_dataclass(choice: Path) -> None:
    """Its keys are the fields, in each a value of the right type; `make` refuses any other."""
    node = node_of(choice)
    assert type(config.make(node, choice.parts[0])).__name__ == str(node._target_).rsplit(".", 1)[-1]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_number_below_zero_is_refused_by_its_key(choice: Path) -> None:
    """All but MAY_BE_NEGATIVE, and the weights of a kernel's formula, which has a check of its own."""
    node, group = node_of(choice), choice.parts[0]
    name = f"{group}.{choice.stem}" if group in config.MANY else group
    wrong = []
    for key, value in node.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or key in MAY_BE_NEGATIVE:
            continue
        changed = node.copy()
        changed[key] = type(value)(-1)
        try:
            config.make(changed, name)
            message = "accepted"
        except ConfigError as error:
            message = str(error)
        if not (message.startswith(f"{name}.") and key in message):
            wrong.append((key, message))
    assert wrong == []


def test_a_group_has_several_choices() -> None:
    """A single one is a block of base.yaml, or of its command's file."""
    assert not [
        folder.name for folder in FOLDER.iterdir() if folder.name in config.PACKAGES and len(list(folder.rglob("*.yaml"))) < 2
    ]


@pytest.mark.parametrize("command", ["train", "pretrain"])
@pytest.mark.parametrize("block", ["optimizer", "loop", "evaluation"])
def test_a_block_is_its_dataclass(block: str, command: str) -> None:
    node = config.compose((), command)[block]
    assert type(config.make(node, block)).__name__ == str(node._target_).rsplit(".", 1)[-1]


def test_a_block_is_changed_by_key() -> None:
    """By an experiment, and by the command line after it."""
    made = config.settings(
        config.compose(["+experiment=text_metric", "data.root=.", "optimizer.learning_rate=0.1", "loop.patience=null"])
    )
    assert (made.optimizer.learning_rate, made.optimizer.clip, made.optimizer.b2) == (0.1, 1000.0, 0.999)
    assert (made.loop.patience, made.loop.max_steps, made.loop.epochs) == (None, 400, 10)
    assert made.evaluation.metric == "ndcg@10"
    assert config.settings(config.compose((), "pretrain")).optimizer.learning_rate == 5e-5


def test_the_search_of_a_command_is_its_dataclass() -> None:
    assert config.make_search() == config.make(config.compose(["run=."], "recommend").search, "search")


def compose_all(experiment: str, pairs: Iterable[tuple[str, str]]) -> None:
    """`settings` refuses a key that a choice does not know, so an experiment sets only such as every choice has."""
    with initialize_config_dir(CONF, version_base="1.3"):
        for adapter, split in pairs:
            overrides = [f"+experiment={experiment}", f"adapter={adapter}", f"split={split}", *GIVEN.get(f"split/{split}", [])]
            assert config.settings(compose("train", overrides)).experiment == experiment


def adapters_of(experiment: str) -> list[str]:
    """What privacy=dp trains is a head on a frozen encoder; it refuses the others by name."""
    return ["frozen"] if experiment == "dp_user_cold" else ADAPTERS


def own_blocks(experiment: str) -> DictConfig:
    """What an experiment's file sets, on top of what the experiments that it begins from set."""
    node = OmegaConf.load(FOLDER / "experiment" / f"{experiment}.yaml")
    assert isinstance(node, DictConfig)
    entries = node.pop("defaults")
    bases = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]
    made = OmegaConf.merge(*map(own_blocks, bases), node)
    assert isinstance(made, DictConfig)
    return made


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_takes_every_adapter_and_every_split(experiment: str) -> None:
    """What it sets of the group fits each choice; one pair is composed as a command composes it, and all pairs in the slow test."""
    blocks = own_blocks(experiment)
    for choice in CHOICES:
        group = choice.parts[0]
        if group in ("adapter", "split"):
            config.make(OmegaConf.merge(node_of(choice), blocks.get(group, {})), group)
    at, adapters = EXPERIMENTS.index(experiment), adapters_of(experiment)
    compose_all(experiment, [(adapters[at % len(adapters)], SPLITS[at % len(SPLITS)])])


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_takes_every_adapter_with_every_split(experiment: str) -> None:
    compose_all(experiment, itertools.product(adapters_of(experiment), SPLITS))


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice.parts[0] not in config.MANY], ids=str)
def test_a_group_chooses_by_its_name(choice: Path) -> None:
    """train.yaml has the group; every choice of it is a class of its package."""
    group = choice.parts[0]
    package = str(node_of(choice)._target_).split(".")[1]
    assert group in config.GROUPS
    assert package == PACKAGES.get(group, f"{group}s")


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_file_says_what_it_is_and_fits_on_a_screen(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert any(line.startswith("# ") and "@package" not in line for line in lines[:3])
    assert path.parent == FOLDER or len(lines) <= 25


def test_a_sweep_cannot_hide_in_the_defaults() -> None:
    """`experiment` in train.yaml's defaults would make `+experiment=NAME` fail."""
    assert not any("experiment" in entry for entry in OmegaConf.load(FOLDER / "train.yaml").defaults if entry != "_self_")


@pytest.mark.parametrize(
    ("overrides", "item_sets"),
    [
        ([], {"categories": " > "}),
        (["data.item_sets=null"], {}),
        (["data.item_sets=null", "data.item_sets={brand: ','}"], {"brand": ","}),
        (["~data.item_sets.categories"], {}),
    ],
)
def test_a_dict_of_a_data_set_can_be_cleared_and_replaced(overrides: list[str], item_sets: dict[str, str]) -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        node = compose("train", ["data=amazon2014", *overrides]).data
    assert config.make(node, "data").item_sets == item_sets


def test_a_separator_and_a_rule_pass_the_command_line() -> None:
    """As a shell passes them: words for signs, and Hydra's quotes round a comparison."""
    with initialize_config_dir(CONF, version_base="1.3"):
        node = compose("train", ["data=tables", *GIVEN["data/tables"], "data.separator=semicolon", 'data.positive=">=4"']).data
    made = config.make(node, "data")
    assert (made.separator, made.positive) == ("semicolon", ">=4")


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "sweep").glob("*.yaml")))
def test_a_sweep_is_one_with_every_launcher(name: str) -> None:
    """Its settings are settings of a run, and a value of each composes."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    for launcher in sorted(path.stem for path in (FOLDER / "launcher").glob("*.yaml")):
        cfg = config.compose([f"+sweep={name}", f"+launcher={launcher}", "+experiment=smoke"], with_hydra=True)
        assert cfg.hydra.mode.name == "MULTIRUN"
        assert {"processes": "basic"}.get(launcher, launcher.partition("_")[0]) in cfg.hydra.launcher._target_
        assert not {"sweep", "launcher"} & cfg.keys()
        assert name != "adapter_study" or cfg.hydra.sweeper.direction == "maximize"
        values = {
            key: re.findall(r"[\w.-]+", str(value).rpartition("(")[2])[0] for key, value in cfg.hydra.sweeper.params.items()
        }
        config.settings(config.compose(["+experiment=smoke", *(f"{key}={value}" for key, value in values.items())]))
