"""The command python -m cold_jax.env."""

import getpass
import platform
from importlib.metadata import version

import pytest

import cold_jax
from cold_jax.env import main


def test_it_prints_versions_devices_and_cache(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    main([])
    shown = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert shown["cold_jax"] == cold_jax.__version__
    assert shown["jax"] == version("jax")
    assert shown["python"].startswith(platform.python_version())
    assert shown["platform"] == "cpu"
    assert shown["cache"].startswith("0.0 MB in ")
    assert shown["HF_HUB_OFFLINE"] == "1"
    assert "secret" not in str(shown)
    assert platform.node() not in str(shown) or platform.node() in getpass.getuser()
