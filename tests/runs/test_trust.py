"""Somebody else's run names nothing that is read: every such setting has to be given again."""

import functools
from pathlib import Path
from typing import Any

import pytest
import runs
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from cold_jax import CONF
from cold_jax.errors import ConfigError, RunError
from cold_jax.runs.folder import Run, create
from cold_jax.runs.trust import NAMING, accept
from cold_jax.storage import signatures

EXPERIMENTS = sorted(path.stem for path in Path(CONF, "experiment").glob("*.yaml"))
SMALL = ["data=synthetic", "encoder=tiny"]
TABLES = ["data=tables", "data.interactions=a.csv", "data.items=b.csv", "data.item_texts={line: '{title}'}", "encoder=tiny"]


@functools.cache
def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("train", list(overrides))


def config_of(*overrides: str) -> dict[str, Any]:
    """A new one, which may be changed."""
    return OmegaConf.to_container(composed(*overrides), resolve=True)  # type: ignore[return-value]


def run_of(folder: Path, config: dict[str, Any]) -> Run:
    run = create(folder)
    run.write_config(OmegaConf.to_yaml(OmegaConf.create(config)))
    return run


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """From now on this is another user's machine; the folder for runs that came to it."""
    signatures.sign(b"")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another user's"))
    return tmp_path


def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> Run:
    with monkeypatch.context() as theirs:
        theirs.setenv("XDG_DATA_HOME", str(tmp_path / "theirs"))
        return run_of(tmp_path / "run", config)


def test_a_run_made_here_goes_on_as_its_config_says(tmp_path: Path) -> None:
    config = config_of(*TABLES, "data.root=/somewhere")
    run = run_of(tmp_path / "run", config)
    assert run.made_here
    assert accept(run, {}) == config
    moved = accept(run, {"data.root": "/elsewhere"})
    assert moved == {**config, "data": {**config["data"], "root": "/elsewhere"}}


@pytest.mark.parametrize("key", ["data.root", "data.users.x", "", "encoder._target_", "logger.wandb.key", "adapter.rnak", "x"])
def test_what_the_config_does_not_have_cannot_be_given(tmp_path: Path, key: str) -> None:
    run = run_of(tmp_path / "run", config_of(*SMALL))
    with pytest.raises(ConfigError, match=f"{key}: the config of the run in .* has no such setting"):
        accept(run, {key: 1})


def test_a_single_altered_byte_makes_it_a_stranger_s(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", config_of(*TABLES))
    runs.edit_config(run.path, lambda text: text.replace("a.csv", "../a.csv"))
    assert not run.made_here
    with pytest.raises(RunError, match=r"this run was not made here.*data\.root=… data\.interactions=… data\.items=…"):
        accept(run, {})


def test_random_data_and_encoder_need_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(*SMALL)
    run = foreign(tmp_path, monkeypatch, config)
    accepted = accept(run, {})
    assert "logger" in config
    assert accepted == {key: value for key, value in config.items() if key != "logger"}


@pytest.mark.parametrize(
    ("overrides", "changes", "wanted"),
    [
        ([], {}, []),  # MovieLens and MiniLM: package, sha256 and member are those of conf/
        (["encoder=smollm2"], {}, []),
        ([], {"data.package": "recbole==1.2.0"}, ["data.package", "data.sha256", "data.member"]),
        ([], {"data.sha256": "0" * 64}, ["data.package", "data.sha256", "data.member"]),
        ([], {"data.member": "recbole/other"}, ["data.package", "data.sha256", "data.member"]),
        ([], {"encoder.package": "--index-url=http://evil"}, ["encoder.package", "encoder.sha256", "encoder.member"]),
        ([], {"data.root": "/etc"}, ["data.root"]),
        (["encoder=bert_base"], {}, ["encoder.id"]),
        (["encoder=hub", "encoder.id=/etc"], {}, ["encoder.id"]),
        ([], {"adapter.init_from": "../x"}, ["adapter.init_from"]),
        (["split=from_file", "split.path=/etc/passwd"], {}, ["split.path"]),
        (TABLES, {}, ["data.root", "data.interactions", "data.items"]),
        (TABLES, {"data.users": "/u"}, ["data.root", "data.interactions", "data.items", "data.users"]),
        ([], {"model.some_new_setting": "s3://x"}, ["model.some_new_setting"]),
        ([], {"optimizer.state": {"from": ["/x"]}}, ["optimizer.state"]),
        ([], {"baseline.popularity.file": "/x"}, ["baseline.popularity.file"]),
        ([], {"seed": "/x"}, ["seed"]),
    ],
)
def test_what_has_to_be_given_again(
    overrides: list[str], changes: dict[str, Any], wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = OmegaConf.create(config_of(*overrides))
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    run = foreign(tmp_path, monkeypatch, OmegaConf.to_container(cfg))  # type: ignore[arg-type]
    if not wanted:
        accept(run, {})
        return
    with pytest.raises(RunError) as raised:
        accept(run, {})
    assert "\n" not in str(raised.value)
    assert {word.removesuffix("=…") for word in str(raised.value).split() if word.endswith("=…")} == set(wanted)
    known = {key: "mine" for key in wanted if key.split(".")[-1] in NAMING.get(key.split(".")[0], ())}
    if len(known) == len(wanted):
        accepted = accept(run, known)
        assert all(OmegaConf.select(OmegaConf.create(accepted), key) == "mine" for key in wanted)


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("split", "cold_jax.data.tables.Tables"),
        ("split", "os.system"),
        ("model", "cold_jax.runs.loggers.wandb.Wandb"),
        ("data", None),
        ("data", ["x"]),
        ("../../tmp", "x"),
        ("new_group", "cold_jax.data.tables.Tables"),
    ],
)
def test_a_class_is_a_choice_of_its_group(group: str, target: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**config_of(*SMALL), group: {"_target_": target, "root": "/etc"}}
    with pytest.raises(RunError, match="is no choice of"):
        accept(foreign(tmp_path, monkeypatch, config), {})


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_settings_of_experiments_are_known_to_be_harmless(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new setting of text is added to HARMLESS or to NAMING in runs/trust.py."""
    config = config_of(f"+experiment={experiment}", *(["split.path=x"] if experiment in ("collm_ml1m",) else []))
    try:
        accept(foreign(tmp_path, monkeypatch, config), {})
    except RunError as error:
        wanted = {word.removesuffix("=…") for word in str(error).split() if word.endswith("=…")}
        assert wanted
        assert wanted <= {f"{group}.{name}" for group, names in NAMING.items() for name in names}


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda text: "${" not in text)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["data", "split", "encoder", "adapter", "init", "loop", "parallel"]), st.text("abcdef", min_size=3), texts)
def test_no_text_of_an_unknown_key_is_taken(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, group: str, key: str, value: str
) -> None:
    config = config_of(*SMALL)
    config[group][key] = value
    with pytest.raises(RunError, match=f"{group}.{key}=…"):
        accept(foreign(tmp_path_factory.mktemp("x"), monkeypatch, config), {})
