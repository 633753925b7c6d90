"""A composed config → typed settings. Besides this module only experiment.py, cli.py and the entry points see `cfg`."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cold_jax import CONF
from cold_jax.errors import ConfigError, nearest_name

if TYPE_CHECKING:
    from cold_jax.adapters.base import Adapter
    from cold_jax.baselines.base import Baseline
    from cold_jax.batching.batch import Batching
    from cold_jax.data.attributes import Attributes
    from cold_jax.data.dataset import Dataset
    from cold_jax.encoders import EncoderConfig
    from cold_jax.evaluation.evaluate import EvaluationConfig, Scorer
    from cold_jax.models.base import ModelConfig, TowerInit
    from cold_jax.models.personalized_search import Search
    from cold_jax.runs.loggers import Logger
    from cold_jax.splits.assemble import Split
    from cold_jax.splits.tasks import EvalTask, TrainView
    from cold_jax.training.loop import Loop
    from cold_jax.training.objectives import Objective
    from cold_jax.training.optimizers import AdamW
    from cold_jax.training.parallel import DataParallel
    from cold_jax.training.privacy import NoPrivacy

    class Source(Protocol):
        @property
        def attributes(self) -> Attributes: ...
        def __call__(self) -> Dataset: ...

    class Splitter(Protocol):
        def __call__(self, dataset: Dataset) -> Split: ...

    class Initializer(Protocol):
        def __call__(self, train: TrainView, width: int) -> TowerInit | None: ...
        def needs(self, train: TrainView) -> int: ...

    class Ensemble(Protocol):
        def __call__(self, model: Scorer, train: TrainView, validation: Mapping[str, EvalTask]) -> Scorer: ...


# group → the package that holds its choices' classes
PACKAGES = {
    "data": "data",
    "split": "splits",
    "encoder": "encoders",
    "adapter": "adapters",
    "model": "models",
    "init": "models",
    "objective": "training",
    "batching": "batching",
    "privacy": "training",
    "optimizer": "training",
    "loop": "training",
    "parallel": "training",
    "evaluation": "evaluation",
    "ensemble": "models",
    "baseline": "baselines",
    "logger": "runs",
    "search": "models",
}
LARGEST_SEED = 2**32 - 1  # that jax.random.key takes
MANY = ("baseline", "logger")  # several choices at once, by name
GROUPS = tuple(group for group in PACKAGES if group not in (*MANY, "search"))
SINGLE: dict[str, tuple[type, str]] = {
    "seed": (int, "a whole number"),
    "profile": (bool, "true or false"),
    "keep_memory": (bool, "true or false"),
    "user_attributes": (bool, "true or false"),
}


class Settings(NamedTuple):
    """Every choice of a run as a typed object; nothing has been read yet."""

    data: Source
    split: Splitter
    encoder: EncoderConfig
    adapter: Adapter
    model: ModelConfig
    init: Initializer
    objective: Objective
    batching: Batching
    privacy: NoPrivacy
    optimizer: AdamW
    loop: Loop
    parallel: DataParallel
    evaluation: EvaluationConfig
    ensemble: Ensemble
    baselines: Mapping[str, Baseline]
    loggers: Mapping[str, Callable[[], Logger]]
    seed: int
    profile: bool
    user_attributes: bool
    experiment: str


def compose(overrides: Sequence[str], config_name: str = "train", *, with_hydra: bool = False) -> DictConfig:
    """The config that a command line of these overrides gives.

    Args:
        overrides: as on the command line, "+experiment=lora_user_cold", "adapter=frozen", "loop.max_steps=100".
        config_name: train, pretrain or another file of conf/.
        with_hydra: with Hydra's own node, which holds the run's folder.

    Raises:
        HydraException: an override is wrong.
    """
    GlobalHydra.instance().clear()  # one of a command that runs in this process would be in the way
    with initialize_config_dir(CONF, version_base="1.3"):
        return hydra_compose(config_name, [*overrides, *own_choices()], return_hydra_config=with_hydra)


def own_folders() -> list[Path]:
    """conf/ of the current folder, if it is another one than the project's and holds choices of data."""
    folder = Path("conf").absolute()
    return [folder] if (folder / "data").is_dir() and folder != Path(CONF) else []


def own_choices() -> list[str]:
    """The override by which Hydra searches `own_folders` too, after the project's conf/: data=NAME is conf/data/NAME.yaml there."""
    return [f"hydra.searchpath=['file://{folder}']" for folder in own_folders()]


def make_search() -> Search:
    """The search block of conf/search.yaml."""
    return cast("Search", make(compose((), "search").search, "search"))


class Choices(Mapping[str, object]):
    """The choices of one of MANY by name, each made when it is first read: an answer fits no baseline and logs nothing."""

    def __init__(self, group: str, nodes: DictConfig):
        self.group, self.nodes = group, nodes
        self.made: dict[str, object] = {}

    def __getitem__(self, name: str) -> object:
        if name not in self.made:
            self.made[name] = make(self.nodes[name], f"{self.group}.{name}")
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return map(str, self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return repr(dict(self))


def settings(cfg: DictConfig, *, later: bool = False) -> Settings:
    """All of a run's choices, made. Raises ConfigError for the first key that is wrong, before any data is read.

    later: baselines and loggers are made, and their keys checked, when they are first read.
    """
    known = [*GROUPS, *MANY, *SINGLE, "resume", "experiment"]
    for key in cfg:
        if key not in known:
            raise ConfigError(f"{key}: there is no such key; {nearest_name(str(key), known)}")
    for key in (*GROUPS, *SINGLE, "experiment"):
        if key not in cfg:
            raise ConfigError(f"{key}: is missing")
    for key in MANY:
        if key in cfg and not OmegaConf.is_dict(cfg[key]):
            raise ConfigError(f"{key}: {cfg[key]!r} does not name its choices")
    for key, (wanted, name) in SINGLE.items():
        if type(cfg[key]) is not wanted:
            raise ConfigError(f"{key}: {cfg[key]!r} is not {name}")
    _require_seed("seed", cfg.seed)
    if not isinstance(cfg.experiment, str | None):
        raise ConfigError(f"experiment: {str(cfg.experiment)[:80]!r} is not a name")
    one = {group: make(cfg[group], group) for group in GROUPS}
    several = [Choices(group, cfg[group]) if group in cfg else {} for group in MANY]
    baselines, loggers = several if later else map(dict, several)
    cast("NoPrivacy", one["privacy"]).require(one)
    single = {
        "seed": cfg.seed,
        "profile": cfg.profile,
        "user_attributes": cfg.user_attributes,
        "experiment": cfg.experiment or "none",
    }
    return Settings(**cast("dict", one | {"baselines": baselines, "loggers": loggers} | single))


def make(node: DictConfig, name: str) -> object:
    """The frozen dataclass that `node._target_` names, filled with the node's values, which must be its fields exactly.

    A run's folder holds a config that may be somebody else's, so only dataclasses of the group's own package are made, whatever
    else Hydra would take.

    Args:
        name: the group, or group.NAME of one of several choices.

    Raises:
        ConfigError: a key is unknown, missing or of another type; the message names it.
    """
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"{name}: {node!r} is not a choice of this group; a choice has keys, the first of them _target_")
    try:
        values = cast("dict[str, object]", OmegaConf.to_container(node, resolve=True, throw_on_missing=True))
    except OmegaConfBaseException as error:
        key = str(error.full_key or "").removeprefix(f"{name}.")
        raise ConfigError(f"{name}.{key}: {str(error).splitlines()[0]}; give it, as in {name}.{key}=VALUE") from None
    cls = _class(str(values.pop("_target_", "")), name)
    fields = [field.name for field in dataclasses.fields(cls)]
    target = f"{cls.__module__}.{cls.__name__}"
    for key in (key for key in values if key not in fields):
        raise ConfigError(f"{name}.{key}: {target} has no such key; {nearest_name(key, fields)}")
    for key in (field for field in fields if field not in values):
        raise ConfigError(f"{name}.{key}: is missing; {target} needs {', '.join(fields)}")
    for key, value in _leaves(values, name):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}: {value} is not a finite number")
        if isinstance(value, int) and value.bit_length() > 63:
            raise ConfigError(f"{key}: a whole number of {value.bit_length()} bits; give one of up to 63")
        if key.endswith(".seed"):
            _require_seed(key, value)
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), values))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{name}.{error.full_key or ''}: {str(error).splitlines()[0]}") from None
    except ValueError as error:  # a baseline does not know its name, nor that it is an ensemble or a start
        raise ConfigError(re.sub(r"^baseline\.", f"{name}.", str(error))) from None


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if below is None:
        yield name, value
    else:
        for key, item in below:
            yield from _leaves(item, f"{name}.{key}")


def _require_seed(key: str, value: object) -> None:
    if isinstance(value, int) and not 0 <= value <= LARGEST_SEED:
        raise ConfigError(f"{key}: {value} is not a seed; give 0 to {LARGEST_SEED}")


def _class(target: str, name: str) -> type:
    group = name.partition(".")[0]
    package = f"cold_jax.{PACKAGES[group]}."
    if not target.startswith(package):
        raise ConfigError(f"{name}._target_: {target!r} is not a class of {package.rstrip('.')}")
    try:
        cls = get_class(target)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{name}._target_: {str(error).splitlines()[0]}") from None
    if not dataclasses.is_dataclass(cls) or not f"{cls.__module__}.".startswith(package):
        raise ConfigError(f"{name}._target_: {target} is not a choice of {group}")
    return cls
