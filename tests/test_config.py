"""From a config to typed objects: a wrong key has a name before any data is read, and a config runs nothing."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cold_jax import CONF, cli, config, experiment
from cold_jax.adapters.lora import Lora
from cold_jax.errors import ConfigError, RunError
from cold_jax.runs.folder import Run

LORA = {
    "_target_": "cold_jax.adapters.lora.Lora",
    "lr_scale": 10.0,
    "layers": "all",
    "rank": 8,
    "alpha": 16,
    "dropout": 0.0,
    "rslora": False,
    "dora": False,
    "targets": [".*"],
    "init_from": None,
}


@functools.cache
def settings(*overrides: str) -> config.Settings:
    with initialize_config_dir(CONF, version_base="1.3"):
        return config.settings(compose("train", list(overrides)))


def test_make_gives_the_dataclass() -> None:
    made = config.make(OmegaConf.create(LORA), "adapter")
    assert made == Lora(
        lr_scale=10.0, layers="all", rank=8, alpha=16.0, dropout=0.0, rslora=False, dora=False, targets=(".*",), init_from=None
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rnak": 4}, r"adapter.rnak: cold_jax.adapters.lora.Lora has no such key; did you mean rank\?"),
        ({"rank": "eight"}, "adapter.rank: Value 'eight'"),
        ({"rank": "???"}, r"^adapter.rank: Missing mandatory value: rank; give it, as in adapter.rank=VALUE"),
        ({"rank": None}, "adapter.rank"),
        ({"rank": 0}, "adapter.rank: 0 is not a rank"),
        ({"dropout": 1.0}, "adapter.dropout: 1.0"),
        ({"layers": "last_0"}, "adapter.layers: 'last_0' is neither all nor last_N"),
        ({"lr_scale": -1.0}, "adapter.lr_scale: -1.0 must be 0 or more"),
    ],
)
def test_a_wrong_value_is_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.make(OmegaConf.create({**LORA, **change}), "adapter")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": -1}, "data.users: -1 must be 1 or more"),
        ({"items": 1 << 63}, "data.items: a whole number of 64 bits"),
        ({"seed": 1 << 30_000}, "data.seed: a whole number of 30001 bits"),
    ],
)
def test_a_number_has_a_range(change: dict, message: str) -> None:
    data = {"name": "x", "users": 4, "items": 4, "interactions_per_user": 2, "seed": 1, "positive": None}
    with pytest.raises(ConfigError, match=message):
        config.make(OmegaConf.create({"_target_": "cold_jax.data.synthetic.Synthetic", **data, **change}), "data")


def test_whole_numbers_have_63_bits() -> None:
    node = {"_target_": "cold_jax.data.synthetic.Synthetic", "name": "x", "users": (1 << 63) - 1, "items": 4, "seed": 1}
    assert config.make(OmegaConf.create({**node, "interactions_per_user": 2, "positive": None}), "data").users == (1 << 63) - 1


def test_an_interpolation_is_resolved_in_the_whole_config() -> None:
    cfg = OmegaConf.create({"rank": 5, "adapter": {**LORA, "rank": "${rank}", "alpha": "${.rank}"}})
    made = config.make(cfg.adapter, "adapter")
    assert isinstance(made, Lora)
    assert (made.rank, made.alpha) == (5, 5.0)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="adapter.rank: is missing"):
        config.make(OmegaConf.create({key: value for key, value in LORA.items() if key != "rank"}), "adapter")


@pytest.mark.parametrize(
    "target",
    [
        "builtins.open",
        "shutil.copyfile",
        "os.system",
        "subprocess.run",
        "numpy.load",
        "cold_jax.adapters.merge.delta",
        "cold_jax_evil.X",
        "",
        "os.getcwd",
    ],
)
def test_nothing_else_is_made(target: str) -> None:
    with pytest.raises(ConfigError, match=r"adapter._target_"):
        config.make(OmegaConf.create({"_target_": target, "file": "x"}), "adapter")


def test_a_nested_target_is_a_value_and_runs_nothing(tmp_path: Path) -> None:
    nested = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "made")}
    with pytest.raises(ConfigError, match="adapter"):
        config.make(OmegaConf.create({**LORA, "rank": nested}), "adapter")
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_key_of_an_experiment_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loop.epoch: .* did you mean epochs\?"):
        settings("+loop.epoch=3")
    with pytest.raises(ConfigError, match="lop: there is no such key; did you mean loop"):
        settings("+lop.epochs=3")


def test_a_seed_is_a_number() -> None:
    with pytest.raises(ConfigError, match="seed: 'one'"):
        settings("seed=one")
    for wrong in (-1, 2**32):
        with pytest.raises(ConfigError, match=f"seed: {wrong} is not a seed"):
            settings(f"seed={wrong}")
    assert settings(f"seed={2**32 - 1}").seed == 2**32 - 1


def test_an_experiment_has_a_name() -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["+experiment=smoke"])
    cfg.experiment = ["x"]
    with pytest.raises(ConfigError, match=r"experiment: .* is not a name"):
        config.settings(cfg)


@pytest.mark.parametrize("payload", ["${oc.env:HOME}", "${oc.decode:1}", "${.x}"])
def test_a_run_s_config_with_an_interpolation_is_refused(tmp_path: Path, payload: str) -> None:
    (tmp_path / "config.yaml").write_text(f"format: 3\nseed: '{payload}'\n")
    with pytest.raises(RunError, match="holds an interpolation"):
        cli.read_config(Run(tmp_path))


def test_place_names_the_unknown_id() -> None:
    assert experiment.id_to_index({"7": 0, "007": 1}, "007", "user") == 1
    with pytest.raises(ConfigError, match="user: the data has no id '07'"):
        experiment.id_to_index({"7": 0, "007": 1}, "07", "user")


# what stands in a run's folder may be somebody else's


@pytest.fixture(scope="module")
def smoke() -> dict[str, Any]:
    with initialize_config_dir(CONF, version_base="1.3"):
        return OmegaConf.to_container(compose("train", ["+experiment=smoke"]), resolve=True)  # type: ignore[return-value]


def replaced(group: str, value: Any) -> Callable[[dict], None]:
    return lambda config: config.update({group: value})


def inside(group: str, **values: Any) -> Callable[[dict], None]:
    return lambda config: config[group].update(values)


MAKES = {"_target_": "os.makedirs", "name": "canary"}
HOSTILE: list[tuple[Callable[[dict], Any], str]] = [
    (inside("adapter", _target_="builtins.open", file="canary", mode="w"), "adapter._target_"),
    (replaced("adapter", {"_target_": "builtins.open", "file": "canary", "mode": "w"}), "adapter._target_"),
    (replaced("data", {"_target_": "shutil.copyfile", "src": "/etc/hostname", "dst": "canary"}), "data._target_"),
    (replaced("split", {"_target_": "os.system", "command": "touch canary"}), "split._target_"),
    (replaced("split", {"_target_": "builtins.eval", "_args_": ["open('canary', 'w')"]}), "split._target_"),
    (replaced("split", {"_target_": "pathlib.Path.touch", "_partial_": True, "self": "canary"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax.training.loop.os.makedirs", "name": "canary"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax.config.dataclasses.make_dataclass", "cls_name": "x"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax.runs.folder.create", "path": "canary"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax.runs.folder.Path"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax.train.main"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax.errors.ConfigError"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax.nowhere.X"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax.runs.folder.Nothing"}), "split._target_"),
    (replaced("split", {"_target_": "cold_jax..results"}), "split._target_"),
    (replaced("split", {"_target_": ["cold_jax.runs.folder.Run"]}), "split._target_"),
    (replaced("split", {"_target_": None}), "split._target_"),
    (replaced("split", {}), "split._target_"),
    (inside("adapter", rank=MAKES), "adapter.rank"),
    (inside("data", name={"_target_": "os.getcwd"}), "data.name"),
    (inside("adapter", _partial_=True), "adapter._partial_"),
    (inside("adapter", _args_=["canary"]), "adapter._args_"),
    (inside("adapter", _recursive_=True), "adapter._recursive_"),
    (inside("logger", x=MAKES), "logger.x._target_"),
    (replaced("baseline", {"x": MAKES}), "baseline.x._target_"),
    (replaced("baseline", [MAKES]), "baseline"),
    (replaced("adapter", [MAKES]), "adapter"),
    (replaced("adapter", "cold_jax.adapters.full.Full"), "adapter"),
    (replaced("hydra", {"run": {"dir": "canary"}}), "hydra"),
    (replaced("callback", MAKES), "callback"),
    (inside("adapter", rank="${oc.env:HOME}"), "interpolation"),
    (lambda config: config.pop("adapter"), "adapter: is missing"),
    (lambda config: config.pop("seed"), "seed: is missing"),
    (replaced("seed", True), "seed: True"),
]
TEXTS = [
    "adapter: !!python/object/apply:os.system ['touch canary']",
    "a: !!python/name:os.system",
    "- 1",
    "5",
    "a: [",
    "seed: 1\nseed: 2",
    "seed: \x00",
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_config_runs_nothing_and_is_refused_by_key(
    smoke: dict[str, Any], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, key = HOSTILE[number]
    written = copy.deepcopy(smoke)
    change(written)
    monkeypatch.chdir(tmp_path)
    Run(tmp_path).write_config(OmegaConf.to_yaml(OmegaConf.create(written)))
    with pytest.raises((ConfigError, RunError), match=key):
        config.settings(cli.read_config(Run(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_config_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    Run(tmp_path).write_config(text)
    with pytest.raises(RunError, match=r"config.yaml: is not the config of a run"):
        config.settings(cli.read_config(Run(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_an_honest_config_is_taken(smoke: dict[str, Any], tmp_path: Path) -> None:
    Run(tmp_path).write_config(OmegaConf.to_yaml(OmegaConf.create(smoke)))
    assert config.settings(cli.read_config(Run(tmp_path))) == settings("+experiment=smoke")
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(RunError, match="no config.yaml in it; give the folder of a run"):
        cli.read_config(Run(tmp_path))


# resuming: which configs agree


def opened(folder: Path, *overrides: str) -> config.Settings:
    """The settings that a command of these overrides goes by, after what it writes."""
    cfg, job = config.compose(overrides), cli.Invocation(folder, overrides, None)
    cfg, chosen, run = cli.open_run_dir(cfg, job)
    with cli.new_folder(run, cfg, job):
        return chosen


FIRST = ("+experiment=smoke", "logger=none", "parallel=mesh", "loop.max_steps=20")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    opened(folder, *FIRST)
    return folder


def test_a_new_run_writes_its_config_once(first: Path) -> None:
    assert config.settings(cli.read_config(Run(first))) == settings(*FIRST)
    with pytest.raises(ConfigError, match="holds a run already; choose another folder, or resume="):
        opened(first, *FIRST)


def test_resuming_with_nothing_else_is_the_same_run(first: Path) -> None:
    assert opened(first, f"resume={first}") == settings(*FIRST)


def test_resuming_may_change_what_changes_no_figure(first: Path) -> None:
    before = (first / "config.yaml").read_bytes()
    changed = opened(first, f"resume={first}", "logger=console", "parallel.devices=1")
    assert set(changed.loggers) == {"console"}
    assert changed._replace(loggers={}, parallel=None) == settings(*FIRST)._replace(loggers={}, parallel=None)
    assert (first / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("longer", ["loop.max_steps=20", "loop.max_steps=30", "loop.max_steps=null", "loop.epochs=99"])
def test_resuming_may_take_longer(first: Path, longer: str) -> None:
    assert opened(first, *FIRST, longer, f"resume={first}") == settings(*FIRST, longer)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.max_steps=19", "loop.max_steps: 19 here, 20 in"),
        ("loop.epochs=1", "loop.epochs: 1 here, 10 in"),
        ("loop.validate_every=6", "loop.validate_every: 6 here, 5 in"),
        ("seed=2", "seed: 2 here, 1 in"),
        ("split.seed=1", "split.seed: 1 here, 42 in"),
        ("data.users=100", "data.users: 100 here, 200 in"),
        ("adapter.rank=4", "adapter.rank: 4 here, 8 in"),
        ("adapter=full", "adapter._target_: cold_jax.adapters.full.Full here, cold_jax.adapters.lora.Lora in"),
        ("optimizer.learning_rate=0.1", "optimizer.learning_rate: 0.1 here, 0.001 in"),
        ("batching.support=[0]", r"batching.support: \[0\] here, \[0, 1, 5, 10\] in"),
        ("baseline=[popularity]", "baseline.popularity._target_: .* here, None in"),
        ("evaluation.top=10", "evaluation.top: 10 here, 100 in"),
    ],
)
def test_resuming_with_other_figures_is_refused_by_key(first: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{message} .*/config.yaml; resume=.* alone goes on with the saved config"):
        opened(first, *FIRST, override, f"resume={first}")


def test_a_choice_that_only_the_saved_config_has_counts(tmp_path: Path) -> None:
    opened(tmp_path, *FIRST, "baseline=[popularity]")
    with pytest.raises(ConfigError, match="baseline.popularity._target_: None here, .*Popularity in"):
        opened(tmp_path, *FIRST, f"resume={tmp_path}")


def test_a_relative_path_is_of_the_folder_that_a_run_was_started_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = (
        "data=tables",
        "data.root=shop",
        "data.interactions=a.csv",
        "data.items=b.csv",
        "data.item_texts={line: '{title}'}",
    )
    opened(tmp_path / "run", *overrides, "encoder=hub", "encoder.id=org/name")
    saved = cli.read_config(Run(tmp_path / "run"))
    assert (saved.data.root, saved.encoder.id) == (str(tmp_path / "shop"), "org/name")


def test_a_dict_that_clears_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.item_sets: \{\} is merged with what is there .* use data.item_sets=null"):
        opened(tmp_path / "run", "data=ml_100k", "data.item_sets={}")
    assert not (tmp_path / "run").exists()


def test_runs_of_one_moment_get_folders_of_their_own() -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        folders = {compose("train", return_hydra_config=True).hydra.run.dir for _ in range(5)}
        resumed = compose("train", ["resume=some/folder"], return_hydra_config=True).hydra.run.dir
    assert len(folders) == 5
    assert resumed == "some/folder"


# the parts


def test_rows_of_the_split_are_the_interactions(prepared: experiment.Prepared) -> None:
    rows, order_N = experiment.split_rows(prepared)
    d = prepared.dataset
    assert rows.user_id == [d.users.ids[u] for u in d.user_N]
    assert rows.part == prepared.split.part_N.tolist()
    for user in set(rows.user_id):
        mine = [n for n, id_ in enumerate(rows.user_id) if id_ == user]
        assert [order_N[n] for n in sorted(mine, key=lambda n: (d.time_N[n], n))] == list(range(len(mine)))


def test_what_is_kept_of_a_training_is_delta_and_head(prepared: experiment.Prepared) -> None:
    le = small.train_setup(prepared, small.LORA, small.TWO_TOWER)
    s = config.Settings(**{**dict.fromkeys(config.Settings._fields), "adapter": small.LORA})
    delta, head = experiment.export_parameters(s, le, small.perturbed(le).partition.trainable)
    sizes = sum(array.size for array in (*delta.values(), *head.values()))
    assert sizes == le.sizes[0] < sum(le.sizes)
    assert all(name.startswith("encoder.") for name in delta)
    assert not any(name.startswith("encoder.") for name in head)
    assert all(np.isfinite(array).all() for array in (*delta.values(), *head.values()))


def test_a_split_without_validation_chooses_no_step() -> None:
    """From Python, a split whose labels have no validation; where nothing learns, none is needed."""
    chosen = settings("+experiment=smoke", "logger=none")
    prepared = experiment.prepare(chosen)
    prepared = prepared._replace(split=dataclasses.replace(prepared.split, validation={}))
    train_setup = experiment.setup(chosen, prepared)
    assert train_setup.validate is not None
    with pytest.raises(ConfigError, match="it has no validation part"):
        train_setup.validate(train_setup.partition.trainable)
    train_setup = experiment.setup(settings("+experiment=smoke", "logger=none", "adapter=zero_shot", "model=cosine"), prepared)
    assert train_setup.validate is None


def test_choices_are_made_when_they_are_read() -> None:
    cfg = config.compose(["+experiment=smoke"])
    now, later = config.settings(cfg).baselines, config.settings(cfg, later=True).baselines
    assert {name: later[name] for name in later} == now
    assert repr(later) == repr(now)
    cfg = config.compose(["+experiment=smoke", "+baseline@baseline.wrong=popularity", "+baseline.wrong.speed=1"])
    later = config.settings(cfg, later=True).baselines
    for read in (lambda: config.settings(cfg), lambda: later["wrong"]):
        with pytest.raises(ConfigError, match=r"baseline.wrong.speed: .* has no such key"):
            read()
