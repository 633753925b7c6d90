"""The jobs of the commands that train, and what surrounds them: where a run's folder lies, how it resumes, its log."""

from __future__ import annotations

import ctypes
import faulthandler
import importlib.util
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from cold_jax import config, processes
from cold_jax.errors import ConfigError
from cold_jax.storage.files import atomic, digest
from cold_jax.storage.logs import FileHandler, Formatter
from cold_jax.storage.sealed import seal

if TYPE_CHECKING:
    from cold_jax.runs.folder import Run
    from cold_jax.runs.loggers import Logger

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h
# on resuming, besides longer loop.epochs and loop.max_steps
RESUME_MAY_CHANGE = ("resume", "logger", "parallel", "profile", "keep_memory")
LENGTH = ("loop.epochs", "loop.max_steps")  # may grow
PATH_LARGEST = 4096  # bytes
# what is typed, but makes no run what it is
NOT_OF_A_RUN = ("hydra", "resume=", "+sweep=", "+launcher=", "parallel.coordinator=", "parallel.process")
APART = (
    "COLD_JAX_APART"  # in the environment of a sweep whose jobs are to have processes of their own: conf/launcher/processes.yaml
)
OF_SWEEP = "COLD_JAX_JOB"  # in that of such a job: its sweep, and its number there
LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
log = logging.getLogger(__name__)


def new_run(parent: str) -> str:
    from cold_jax.runs.folder import new_name

    return f"{parent}/{new_name()}"


OmegaConf.register_new_resolver("or", lambda first, second: first or second, replace=True)
OmegaConf.register_new_resolver("new_run", new_run, use_cache=True, replace=True)
OmegaConf.register_new_resolver("digest_of", lambda text: digest(text)[:12], replace=True)


class Invocation(NamedTuple):
    """How a job was started."""

    folder: Path  # of the run
    overrides: Sequence[str]
    sweep: Path | None  # the folder of the sweep that the job belongs to
    number: int = 0  # in the sweep


def invocation() -> Invocation:
    """Of the Hydra job that runs."""
    hydra = HydraConfig.get()
    folder, overrides = Path(hydra.runtime.output_dir), tuple(hydra.overrides.task)
    if OF_SWEEP in os.environ:
        of = json.loads(os.environ[OF_SWEEP])
        return Invocation(folder, overrides, Path(of["sweep"]), of["number"])
    sweep = Path(hydra.sweep.dir) if hydra.mode is RunMode.MULTIRUN else None
    number = int(hydra.job.num) if sweep else 0
    return Invocation(folder, overrides, sweep, number)


def wants_own_process() -> bool:
    """Whether the Hydra job that runs is one of a sweep with launcher=processes, and not in its own process yet."""
    return OF_SWEEP not in os.environ and APART in os.environ and HydraConfig.get().mode is RunMode.MULTIRUN


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


def choose_device() -> None:
    """Of the workers that run a sweep's jobs side by side each sees one GPU: by its number, in turn. Before JAX is imported."""
    name, _, number = multiprocessing.current_process().name.rpartition("-")
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = (
        sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
        if given is None
        else given.split(",")
    )
    if name == "LokyProcess" and devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[(int(number) - 1) % len(devices)]


def prepare_process(keep: bool, parallel: Mapping[str, Any] = {}) -> None:
    """JAX as every command wants it: compiled programs are kept on disk, libraries log warnings alone.

    parallel: this block of the config, where a run may have many processes.
    """
    if keep:
        keep_memory()
    choose_device()
    import jax

    from cold_jax.storage import cache
    from cold_jax.storage.logs import escape_handlers

    escape_handlers()
    for library in ("jax", "absl", "orbax"):
        logging.getLogger(library).setLevel(logging.WARNING)
    programs = cache.root() / "programs"
    jax.config.update("jax_compilation_cache_dir", str(programs))
    if not os.access(next(path for path in (programs, *programs.parents) if path.exists()), os.W_OK):
        # JAX warns of each program that it cannot look for or keep; our own cache warns once
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if parallel:
        processes.start(parallel)


def train(cfg: DictConfig, job: Invocation) -> Path:
    """Trains, or goes on with a run, and returns its folder. A run that ends before its first checkpoint leaves none behind."""
    from cold_jax import experiment

    cfg, settings, run = open_run_dir(cfg, job := of_all(job))
    if run.pretrained:
        raise ConfigError(f"resume: {run.not_finished}")
    if experiment.is_language_modelling(settings):
        raise ConfigError("model: language_model ranks nothing; python -m cold_jax.pretrain trains it")

    def work() -> None:
        logger = start_logger(cfg, settings, run, job)
        logger.finish(experiment.train_run(settings, run, logger, typed(run, job)))

    return carry_out(cfg, settings, run, job, lambda: run.finished, work)


def carry_out(
    cfg: DictConfig, settings: config.Settings, run: Run, job: Invocation, ended: Callable[[], bool], work: Callable[[], None]
) -> Path:
    """Does what is left of a run: all of it, or the steps beyond those that it had, or nothing."""
    if processes.count() > 1:
        done = ended() and not _trains_on(cfg, run)
        processes.wait("all have opened the folder")
        if not processes.first():
            return run.path if done else take_part(settings, run)
    with working_in(run, cfg, job):
        longer = _trains_on(cfg, run)
        if ended() and not longer:
            return run.path
        work()
        if longer:  # last: after a kill before it, the same command still trains on
            run.write_config(OmegaConf.to_yaml(OmegaConf.merge(cfg, {"resume": None}), resolve=True), replace=True)
    processes.wait("the end of the run")
    return run.path


def of_all(job: Invocation) -> Invocation:
    """The same job for all processes of a run: the first one's folder, whose name may hold the time. Raises ConfigError in a sweep."""
    if processes.count() > 1 and job.sweep is not None:
        raise ConfigError("parallel.coordinator: a job of a sweep is one process; start one run in many processes")
    return job._replace(folder=Path(os.fsdecode(processes.share(lambda: os.fsencode(job.folder), PATH_LARGEST))))


def take_part(settings: config.Settings, run: Run) -> Path:
    """The steps of a run whose folder the first process writes."""
    from cold_jax import experiment
    from cold_jax.runs.folder import Run

    logging.getLogger("cold_jax").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as own:
        experiment.take_part(settings, Run(Path(own), run.path))
    processes.wait("the end of the run")
    return run.path


def train_from(overrides: Sequence[str]) -> Path:
    """Trains as the command does with these overrides, from Python, and returns the run's folder."""
    cfg = config.compose(overrides, with_hydra=True)
    folder = Path(cfg.hydra.run.dir)
    with open_dict(cfg):
        del cfg["hydra"]
    prepare_process(cfg.keep_memory is True, cfg.parallel)
    return train(cfg, Invocation(folder, tuple(overrides), None))


def pretrain(cfg: DictConfig, job: Invocation) -> Path:
    """Pre-trains, or goes on with a run, and returns its folder, in which `encoder` is φ."""
    from cold_jax import pretraining

    cfg, settings, run = open_run_dir(cfg, job := of_all(job))
    if run.finished:
        raise ConfigError(
            f"resume: {run.path} is a run of python -m cold_jax.train; python -m cold_jax.export writes its encoder"
        )

    def work() -> None:
        pretraining.pretrain_run(settings, run, start_logger(cfg, settings, run, job))

    return carry_out(cfg, settings, run, job, lambda: run.pretrained, work)


@contextmanager
def working_in(run: Run, cfg: DictConfig, job: Invocation) -> Iterator[None]:
    """A run's folder for this process alone, with its config and its log."""
    from cold_jax.storage.locks import lock

    with new_folder(run, cfg, job), lock(run.path), log_file(run):
        yield


def start_logger(cfg: DictConfig, settings: config.Settings, run: Run, job: Invocation) -> Logger:
    """The run's loggers as one, started; what a killed process left of half-written files is gone before."""
    from cold_jax.runs.loggers import combine

    run.remove_temporaries()
    logger = combine([make() for make in settings.loggers.values()])
    logger.start(*identity(cfg, run, job))
    return logger


def open_run_dir(cfg: DictConfig, job: Invocation) -> tuple[DictConfig, config.Settings, Run]:
    """(the config to go by, its settings, the run). Nothing is written.

    With nothing but `resume=DIR`, places that are given anew, and a longer LENGTH, the folder's config is taken; beside other overrides
    both must agree but for RESUME_MAY_CHANGE. A job of a sweep that was there before goes on. Raises ConfigError, also where a new
    run's folder holds a run already; RunError as `trust.accept` does.
    """
    from cold_jax.runs.folder import Run, flat_config, open_run
    from cold_jax.runs.trust import PLACES, accept

    run = Run(job.folder)
    require_no_empty_dict(cfg, job.overrides)
    absolute_paths(cfg)
    there = (run.path / "config.yaml").exists()
    if cfg.resume is None and not (there and job.sweep):
        if there:
            raise ConfigError(f"hydra.run.dir: {run.path} holds a run already; choose another folder, or resume={run.path}")
        return cfg, config.settings(cfg), run
    run = open_run(job.folder)
    keys = {override.split("=")[0].lstrip("+~").split("@")[0].split("/")[0] for override in job.overrides}
    groups = {key.split(".")[0] for key in keys - set(PLACES) - set(LENGTH)}
    saved = read_config(run)
    if groups <= set(RESUME_MAY_CHANGE):
        saved = DictConfig(accept(run, {key: OmegaConf.select(cfg, key) for key in keys & set(PLACES)}))
        wanted = saved.copy()
        for group in groups:
            wanted[group] = cfg[group]
        for key in keys & set(LENGTH):
            OmegaConf.update(wanted, key, OmegaConf.select(cfg, key))
        cfg = wanted
    ours, theirs = flat_config(OmegaConf.to_container(cfg, resolve=True)), flat_config(OmegaConf.to_container(saved))
    for key in {**ours, **theirs}:
        value, before = ours.get(key), theirs.get(key)
        grown = key in LENGTH and (value is None or (before is not None and value >= before))
        if value != before and not grown and key.split(".")[0] not in RESUME_MAY_CHANGE:
            alone = (
                "delete it, or choose another hydra.sweep.dir"
                if job.sweep
                else f"resume={run.path} alone goes on with the saved config"
            )
            raise ConfigError(f"{key}: {value} here, {before} in {run.path}/config.yaml; {alone}")
    return cfg, config.settings(cfg), run


def typed(run: Run, job: Invocation) -> list[str]:
    """What was typed for a run: when it was made, and since then."""
    now = [word for word in job.overrides if not word.startswith(NOT_OF_A_RUN)]
    return list({word.partition("=")[0]: word for word in (*run.read_overrides(), *now)}.values())


def absolute_paths(cfg: DictConfig) -> None:
    """A relative path belongs to the folder that a command was started in: config.yaml holds it absolute, for commands from elsewhere."""
    from cold_jax.data.databases import absolute_uri

    for key in ("data.root", "split.path", "adapter.init_from", "encoder.id"):
        value = OmegaConf.select(cfg, key)
        if value is not None and (key != "encoder.id" or Path(value).exists()):  # else an id of the hub
            OmegaConf.update(cfg, key, str(Path(value).absolute()))
    if isinstance(uri := OmegaConf.select(cfg, "data.uri"), str):
        OmegaConf.update(cfg, "data.uri", absolute_uri(uri))


def require_no_empty_dict(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Raises ConfigError for `KEY={}`, which Hydra merges into what is there: it would clear nothing, without a word."""
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if value.strip() == "{}" and OmegaConf.select(cfg, key):
            raise ConfigError(f"{key}: {{}} is merged with what is there and clears nothing; use {key}=null")


def _trains_on(cfg: DictConfig, run: Run) -> bool:
    """Whether the config has more steps than the run was begun for."""
    saved = read_config(run)
    return any(OmegaConf.select(cfg, key) != OmegaConf.select(saved, key) for key in LENGTH)


@contextmanager
def new_folder(run: Run, cfg: DictConfig, job: Invocation) -> Iterator[None]:
    """Writes a new run's config.yaml. After an error before the first checkpoint the folder is gone again, so that its name can be used."""
    if cfg.resume is not None or (run.path / "config.yaml").exists():
        yield
        return
    above = [folder for folder in run.path.parents if not folder.exists()]
    run.path.mkdir(parents=True, exist_ok=True)
    run.write_config(OmegaConf.to_yaml(cfg, resolve=True))
    from cold_jax.runs.folder import OVERRIDES, SECRET

    with atomic(run.path / OVERRIDES, new=False) as file:
        file.write(seal({"overrides": typed(run, job)}))
    try:
        yield
    except BaseException:
        checkpoints = run.path / "checkpoints"
        if not checkpoints.is_dir() or not any(checkpoints.iterdir()):
            for name in ("config.yaml", OVERRIDES, "cold_jax.log", "metrics.jsonl", "wandb_id.txt", "mlflow_id.txt", SECRET):
                (run.path / name).unlink(missing_ok=True)
            with suppress(OSError):  # other files, such as W&B's, are left alone
                checkpoints.rmdir()
            with suppress(OSError):
                for folder in (run.path, *above):
                    folder.rmdir()
        raise


@contextmanager
def log_file(run: Run) -> Iterator[None]:
    """cold_jax.log in the run's folder: what is logged, and where a native crash happened."""
    handler = FileHandler(run.path / "cold_jax.log")
    handler.setFormatter(Formatter(LOG_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    if root.level > logging.INFO:
        root.setLevel(logging.INFO)
    faulthandler.enable(file=cast("TextIO", handler.stream))
    try:
        yield
    except Exception as error:
        handler.handle(
            log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (error,), (type(error), error, error.__traceback__))
        )
        raise
    finally:
        faulthandler.disable()
        root.removeHandler(handler)
        handler.close()


def read_config(run: Run) -> DictConfig:
    """The config of a run's folder, which may be somebody else's."""
    return DictConfig(run.read_config())


def load_settings(run: Run, given: Mapping[str, Any]) -> config.Settings:
    """The settings of a run that was trained before, with those that are given now, by dotted key.

    Raises ConfigError; RunError where it is somebody else's and names what is not given.
    """
    from cold_jax.runs.trust import accept

    settings = config.settings(DictConfig(accept(run, given)), later=True)
    return settings._replace(parallel=settings.parallel.here())


def given_places(cfg: DictConfig) -> dict[str, Any]:
    """The settings that name a place, as they stand on the command line of a command that opens a run."""
    from cold_jax.runs.trust import PLACES

    return {
        key: OmegaConf.select(cfg, key)
        for key in PLACES
        if key.split(".")[0] in cfg and key.split(".")[1] in cfg[key.split(".")[0]]
    }


def identity(cfg: DictConfig, run: Run, job: Invocation) -> tuple[dict[str, Any], Path, str, str, str]:
    """What a logger's start wants: config, folder, name, group and kind of job. The runs of a sweep are a group."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    name = f"{cfg.experiment or 'run'} {run.path.name}"
    return settings, run.path, name, job.sweep.name if job.sweep else str(cfg.experiment or "none"), "train"
