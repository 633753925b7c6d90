"""--help."""

import re

import pytest
from hydra.errors import HydraException

from cold_jax import config, experiment, usage
from cold_jax.errors import ConfigError


@pytest.mark.parametrize("command", ["train", "pretrain", "evaluate", "recommend", "search", "export"])
def test_help_fits_on_two_screens_and_names_every_key(command: str) -> None:
    text = usage.text(command, [])
    assert len(text.splitlines()) <= 100
    assert max(map(len, text.splitlines())) <= 150
    assert text.count(f"python -m cold_jax.{command}") >= 2
    run = [] if command in ("train", "pretrain") else ["run=x"]
    for key in config.compose(run, command):
        assert str(key) in text


def test_choices_that_are_refused_are_not_listed() -> None:
    """Each is refused, and no other choice of its group is missing."""
    text = usage.text("train", [])
    for group, names in usage.REFUSED["train"].items():
        for name in names:
            assert not re.search(rf" {name}\b", text)
            if group != "experiment":
                with pytest.raises(ConfigError):
                    experiment.is_language_modelling(config.settings(config.compose([f"{group}={name}"])))
        assert all(f" {name}" in text for name in usage.choices(group) if name not in names)
    with pytest.raises((ConfigError, HydraException)):
        config.compose(["model=nothing"])


def test_a_choice_s_file_is_shown() -> None:
    text = usage.text("train", ["adapter=lora", "--help"])
    assert text.startswith("conf/adapter/lora.yaml")
    assert "rank:" in text
