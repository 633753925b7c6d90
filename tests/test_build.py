"""From a config to typed objects: a wrong key has a name before any data is read, and a config runs nothing."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cold_jax import CONF, build, command  # noqa: F401
from cold_jax.adapters import Lora
from cold_jax.results import Run

LORA = {"_target_": "cold_jax.adapters.Lora", "rank": 8, "alpha": 16, "dropout": 0.0, "rslora": False, "targets": [".*"]}


def settings(*overrides: str) -> build.Settings:
    with initialize_config_dir(CONF, version_base="1.3"):
        return build.settings(compose("train", list(overrides)))


def test_make_gives_the_dataclass() -> None:
    made = build.make(OmegaConf.create(LORA), "adapter")
    assert made == Lora(rank=8, alpha=16.0, dropout=0.0, rslora=False, targets=(".*",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rnak": 4}, r"adapter.rnak: cold_jax.adapters.Lora has no such key; did you mean rank\?"),
        ({"rank": "eight"}, "adapter.rank: Value 'eight'"),
        ({"rank": "???"}, "adapter.*rank"),
        ({"rank": None}, "adapter.rank"),
        ({"rank": 0}, "adapter.rank: 0 is not a rank"),
        ({"dropout": 1.0}, "adapter.dropout: 1.0"),
    ],
)
def test_a_wrong_value_is_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(build.ConfigError, match=message):
        build.make(OmegaConf.create({**LORA, **change}), "adapter")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(build.ConfigError, match="adapter.rank: is missing"):
        build.make(OmegaConf.create({key: value for key, value in LORA.items() if key != "rank"}), "adapter")


@pytest.mark.parametrize(
    "target",
    [
        "builtins.open",
        "shutil.copyfile",
        "os.system",
        "subprocess.run",
        "numpy.load",
        "cold_jax.adapters.merge",
        "cold_jax_evil.X",
        "",
        "os.getcwd",
    ],
)
def test_nothing_else_is_made(target: str) -> None:
    with pytest.raises(build.ConfigError, match=r"adapter._target_"):
        build.make(OmegaConf.create({"_target_": target, "file": "x"}), "adapter")


def test_a_nested_target_is_a_value_and_runs_nothing(tmp_path: Path) -> None:
    nested = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "made")}
    with pytest.raises(build.ConfigError, match="adapter"):
        build.make(OmegaConf.create({**LORA, "rank": nested}), "adapter")
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_key_of_an_experiment_file_is_refused() -> None:
    with pytest.raises(build.ConfigError, match=r"loop.epoch: .* did you mean epochs\?"):
        settings("+loop.epoch=3")
    with pytest.raises(build.ConfigError, match="lop: there is no such key; did you mean loop"):
        settings("+lop.epochs=3")


def test_a_seed_is_a_number() -> None:
    with pytest.raises(build.ConfigError, match="seed: 'one'"):
        settings("seed=one")


@pytest.mark.parametrize("payload", ["${oc.env:HOME}", "${oc.decode:1}", "${.x}"])
def test_a_run_s_config_with_an_interpolation_is_refused(tmp_path: Path, payload: str) -> None:
    (tmp_path / "config.yaml").write_text(f"seed: '{payload}'\n")
    with pytest.raises(build.ConfigError, match="holds an interpolation"):
        build.read_config(Run(tmp_path))


def test_place_names_the_unknown_id() -> None:
    assert build.place(("7", "007"), "007", "user") == 1
    with pytest.raises(build.ConfigError, match="user: the data has no id '07'"):
        build.place(("7", "007"), "07", "user")
