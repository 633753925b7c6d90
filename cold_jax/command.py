"""What surrounds a command's job: where a run's folder lies, and errors said in one line that names the key."""

import csv
import ctypes
import difflib
import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from cold_jax import CONF
from cold_jax.build import ConfigError

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h
FORMULA = ("=", "+", "-", "@", "\t", "\r")
log = logging.getLogger(__name__)


def new_run(parent: str) -> str:
    from cold_jax.runs.folder import new_name

    return f"{parent}/{new_name()}"


OmegaConf.register_new_resolver("or", lambda first, second: first or second, replace=True)
OmegaConf.register_new_resolver("new_run", new_run, use_cache=True, replace=True)


def keep_memory() -> None:
    """Tells glibc to keep what is freed: XLA's large arrays are mapped, zeroed and given back to the kernel on every call otherwise.

    For one's own process, before JAX starts threads. Nothing on another C library, or where JAX has a GPU.
    """
    if sys.platform != "linux" or any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1)):
            mallopt(parameter, value)


def run(job: Callable[[DictConfig], None], cfg: DictConfig) -> None:
    """The job, with programs compiled once kept on disk. A user's mistake ends it with its message alone and exit code 1."""
    if "keep_memory" in cfg and cfg.keep_memory:
        keep_memory()
    import jax

    from cold_jax.storage import cache

    for library in ("jax", "absl", "orbax"):
        logging.getLogger(library).setLevel(logging.WARNING)
    jax.config.update("jax_compilation_cache_dir", str(cache.root() / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        job(cfg)
    except MissingMandatoryValue as error:
        log.error("%s: is missing; give it, as in %s=VALUE", error.full_key, error.full_key)
        sys.exit(1)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        if HydraConfig.get().mode is RunMode.MULTIRUN or not type(error).__module__.startswith("cold_jax"):
            raise  # a sweep goes on to its next job and reports this one; what is nobody's mistake keeps its traceback
        log.error("%s", error)
        sys.exit(1)


# on resuming, besides longer loop.epochs and loop.max_steps
MAY_CHANGE = ("resume", "logger", "parallel", "profile", "keep_memory")


def open_run(cfg: DictConfig) -> tuple[DictConfig, Any]:
    """The run's folder, Hydra's own, with the resolved config in it, written once; and the config to go by.

    With nothing but `resume=DIR` the folder's config is taken; beside other overrides both must agree but for MAY_CHANGE. Raises ConfigError.
    """
    from cold_jax.runs.folder import Run

    hydra = HydraConfig.get()
    run = Run(Path(hydra.runtime.output_dir))
    if cfg.resume is None:
        run.write_config(OmegaConf.to_yaml(cfg, resolve=True))
        return cfg, run
    saved = read_config(run)
    given = {override.split("=")[0].lstrip("+~").split("/")[0].split(".")[0] for override in hydra.overrides.task}
    if given <= set(MAY_CHANGE):
        for group in given:
            saved[group] = cfg[group]
        return saved, run
    ours, theirs = _leaves(OmegaConf.to_container(cfg, resolve=True)), _leaves(OmegaConf.to_container(saved))
    for key in {**ours, **theirs}:
        value, before = ours.get(key), theirs.get(key)
        grown = key in ("loop.epochs", "loop.max_steps") and (value is None or (before is not None and value >= before))
        if value != before and not grown and key.split(".")[0] not in MAY_CHANGE:
            raise ConfigError(
                f"{key}: {value} here, {before} in {run.path}/config.yaml; resume={run.path} alone goes on with the saved config"
            )
    return cfg, run


def read_config(run: Any) -> DictConfig:
    """The config of a run's folder, which may be somebody else's."""
    return DictConfig(run.read_config())


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {name: leaf for key, inner in value.items() for name, leaf in _leaves(inner, f"{path}.{key}".lstrip(".")).items()}


def identity(cfg: DictConfig, run: Any) -> tuple[dict[str, Any], Any, str, str, str]:
    """What a logger's start wants: config, folder, name, group and kind of job. The runs of a sweep are a group."""
    hydra, config = HydraConfig.get(), OmegaConf.to_container(cfg, resolve=True)
    swept = hydra.mode is RunMode.MULTIRUN
    name = f"{cfg.experiment or 'run'} {run.path.name}"
    return config, run.path, name, Path(hydra.sweep.dir).name if swept else str(cfg.experiment or "none"), "train"  # type: ignore[return-value]


def show_list(header: Sequence[str], rows: Sequence[Sequence[object]], form: str) -> None:
    """Rows on stdout: as a table, as json, or as csv for a spreadsheet, which takes a cell that begins with = for a formula."""
    if form == "table":
        from rich.table import Table
        from rich.text import Text

        from cold_jax.runs.render import escape_control, show

        drawn = Table(*header)
        for row in rows:
            drawn.add_row(*(Text(escape_control(str(cell))) for cell in row))
        show([drawn])
    elif form == "json":
        print(json.dumps([dict(zip(header, row, strict=True)) for row in rows], ensure_ascii=False))
    else:
        cells = [[f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in row] for row in rows]
        csv.writer(sys.stdout).writerows([header, *cells])


def main(hydra_main: Callable[[], None], config_name: str) -> None:
    """A Hydra entry point that adds the nearest known key to Hydra's own message about an unknown one."""
    try:
        hydra_main()
    except SystemExit as stop:
        if stop.code == 1:
            for line in _suggestions(config_name):
                print(line, file=sys.stderr)
        raise


def _suggestions(config_name: str) -> list[str]:
    arguments = [argument for argument in sys.argv[1:] if "=" in argument and not argument.startswith("-")]
    choices = [argument for argument in arguments if "." not in argument.split("=")[0] and "," not in argument]
    given = [argument.split("=")[0].lstrip("+~") for argument in arguments]
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            cfg = compose(config_name, [choice for choice in choices if not choice.startswith("hydra")])
    except HydraException:
        return []  # it is a choice that is wrong, and Hydra has listed the right ones
    known = _keys(OmegaConf.to_container(cfg, resolve=False))
    unknown = [key for key in given if key not in known and not key.startswith("hydra") and "/" not in key and "@" not in key]
    close = {key: difflib.get_close_matches(key, known, 1) for key in unknown if key != "experiment"}
    return [f"{key}: there is no such key; did you mean {names[0]}?" for key, names in close.items() if names]


def _keys(value: object, path: str = "") -> list[str]:
    inner = (
        [key for name, child in value.items() for key in _keys(child, f"{path}.{name}".lstrip("."))]
        if isinstance(value, dict)
        else []
    )
    return [path, *inner] if path else inner
