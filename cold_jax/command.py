"""What all commands share: how one is entered, what it shows of what it does, and how it ends when something is wrong."""

from __future__ import annotations

import codecs
import csv
import gc
import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cold_jax import CONF, cli, config, jobs, processes, progress, sweeps, usage
from cold_jax.arguments import Request, explain, require_no_password, take_request
from cold_jax.errors import UserError
from cold_jax.storage.logs import Formatter, escape_control

OPENS_A_RUN = ("evaluate", "recommend", "search", "explain", "serve", "export")  # commands with run=DIR
TOO_BIG = (
    "array is too big",
    "Maximum allowed dimension exceeded",
    "Maximum allowed size exceeded",
)  # how numpy's messages begin
Objective = float | None  # of a search, the larger the better; None where there is nothing to search for
DIED = ("TerminatedWorkerError", "UncompletedJobError", "FailedJobError")  # of the launchers with workers
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def run(job: Callable[[DictConfig], Objective], cfg: DictConfig, name: str = "", flags: Sequence[str] = ()) -> Objective:
    """The job of a command, and what it returns. A user's mistake ends it with one line and exit code 1, a mistake of ours with a traceback.

    In a sweep either is noted, and the next job goes on. `name` and `flags` are those of jobs.run_apart.
    """
    this = cli.invocation()

    def job_of(state: str, reason: str = "") -> sweeps.Job:
        return sweeps.Job(this.number, list(this.overrides), state, reason, str(this.folder))

    if this.sweep is not None and cli.wants_own_process():
        reason = jobs.run_apart(name, flags, this)
        if reason:
            progress.say(escape_control(f"error: job {this.number}: {reason}"))
            sweeps.note(this.sweep, job_of("failed", reason))
        return _objective(name, this.folder) if reason is None else None
    if cli.OF_SWEEP in os.environ:
        jobs.end_with_parent()
    with progress.shown() if wants_progress(cfg) else nullcontext(), log_lines():
        try:
            with progress.stage("loading JAX"):
                keep, parallel = "keep_memory" in cfg and cfg.keep_memory is True, cfg.parallel if "parallel" in cfg else {}
                cli.prepare_process(keep, parallel)
                keep_imports()
            objective = job(cfg)
        except Exception as error:
            report(processes.lost(error) or error)
            processes.leave(1)
            if this.sweep is None:
                sys.exit(1)
            sweeps.note(this.sweep, job_of("failed", one_line(error)))
            if cli.OF_SWEEP in os.environ:
                sys.exit(jobs.NOTED)
            return None
        else:
            if this.sweep is not None:
                sweeps.note(this.sweep, job_of("done"))
            return objective
        finally:
            if this.folder != Path.cwd():
                with suppress(OSError):  # Hydra made it, and nothing is in it
                    this.folder.rmdir()


@contextmanager
def without_collector() -> Iterator[None]:
    """Nothing that an import makes is garbage: the collector would go through it all again and again, 0.2 s of a start, until `keep_imports`."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def keep_imports() -> None:
    """What JAX and Flax are made of lives to the end: the collector passes over it from now on, and when the process ends (0.4 s)."""
    from flax import nnx  # noqa: F401 (every job needs it)

    gc.freeze()
    gc.enable()


def _objective(name: str, folder: Path) -> Objective:
    """What a job returned that ran in a process of its own."""
    from cold_jax.runs.finished import kept_metric

    return kept_metric(folder) if name == "train" else None


def wants_progress(cfg: DictConfig) -> bool:
    """Whether a command shows what it is doing: logger=none and logger=wandb show nothing."""
    return "logger" not in cfg or not OmegaConf.is_dict(cfg.logger) or "console" in cfg.logger


@contextmanager
def log_lines() -> Iterator[None]:
    """What is logged goes to stderr, in lines between those of the progress: all of ours, warnings of libraries."""
    root = logging.getLogger()
    handler: logging.Handler = progress.LogLines()
    handler.setFormatter(Formatter("%(message)s"))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.startswith("cold_jax"))
    before, level = root.handlers, root.level
    root.handlers = [handler]  # Hydra's own writes to stdout
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = before
        root.setLevel(level)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """A user's mistake within ends the process with its message alone, another one with its traceback, and exit code 1."""
    write_utf8()
    try:
        yield
    except Exception as error:
        report(error)
        sys.exit(1)


def write_utf8() -> None:
    """Ids and texts are of any script, and lists are read by other programs: stdout is UTF-8 whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")


def one_line(error: BaseException) -> str:
    """A user's mistake in one line; "" where it is none, but a bug of this project."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: is missing; give it, as in {error.full_key}=VALUE"
    if isinstance(error, MemoryError) or (isinstance(error, ValueError) and str(error).startswith(TOO_BIG)):
        return f"out of memory: {error or 'no size is known'}; take smaller batches, fewer baselines or a larger machine"
    if "RESOURCE_EXHAUSTED" in str(error) or "Out of memory allocating" in str(error):  # XLA's, of a GPU and of a CPU
        return f"out of memory on the device: {' '.join(str(error).split())[-200:]}; take a smaller loop.microbatch_rows or batching.size"
    if isinstance(error, OSError) and not isinstance(error, UserError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, UserError | HydraException | OmegaConfBaseException | OSError):
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def report(error: BaseException) -> None:
    """On stderr: one line of a user's mistake; the traceback of ours, and where it can be reported."""
    line = one_line(error)
    if not line or os.environ.get("COLD_JAX_TRACEBACK"):
        progress.say("".join(traceback.format_exception(error)).rstrip())
        line = line or f"this is a bug of cold_jax: please report it with the command and the lines above{_tracker()}"
    progress.say(escape_control(f"error: {line}"))


def _tracker() -> str:
    from importlib.metadata import PackageNotFoundError, metadata

    with suppress(PackageNotFoundError):
        for entry in metadata("cold-jax").get_all("Project-URL") or ():
            name, _, url = entry.partition(", ")
            if name.lower() in ("issues", "tracker", "bug tracker"):
                return f" at {url}"
    return ""


def main(job: Callable[[DictConfig], Objective], config_name: str, arguments: Sequence[str] | None = None) -> None:
    """A Hydra entry point.

    Args:
        job: of the command, for `run`.
        arguments: instead of the command line's.
    """
    from cold_jax.runs.trust import PLACES

    given = list(sys.argv[1:] if arguments is None else arguments)
    with errors_in_one_line():
        require_no_password(given)
    if config_name in OPENS_A_RUN or any(argument.startswith("resume=") for argument in given):
        # what a run names may be given anew, whatever the command's own config has
        given = [f"++{argument}" if argument.split("=")[0] in PLACES else argument for argument in given]
    if {"--help", "-h"} & set(given):
        print(usage.text(config_name, given))
        return
    sweep, given = sweeps.with_folder(given) if config_name in ("train", "pretrain") else (None, given)
    before = 0 if sweep is None else sweeps.size(sweep)
    sys.argv[1:] = [*given, *config.own_choices()]
    full, os.environ["HYDRA_FULL_ERROR"] = os.environ.get("HYDRA_FULL_ERROR"), "1"  # its errors come here, to be explained

    flags = [word for word in given if word not in ("-m", "--multirun") and (word.startswith("-") or not set(word) & {"=", "~"})]

    @hydra.main(version_base="1.3", config_path=CONF, config_name=config_name)
    def command(cfg: DictConfig) -> Objective:
        return run(job, cfg, config_name, flags)

    places = [Path(word.partition("=")[2]) for word in given if word.startswith(("hydra.run.dir=", "hydra.sweep.dir="))]
    try:
        with removed_if_empty([*places, Path("runs/new"), Path("multirun/new")]):
            with without_collector(), all_may_fail() as died:
                command()
            if sweep is not None and sweeps.size(sweep) != before:
                with errors_in_one_line():
                    sweeps.show(sweep)
            if died:
                sys.exit(1)
    except (HydraException, OmegaConfBaseException) as error:
        if full == "1":
            raise
        progress.say(escape_control(f"error: {explain(error, given, config_name)}"))
        sys.exit(1)
    except OSError as error:  # Hydra cannot make the run's folder
        report(error)
        sys.exit(1)
    except KeyboardInterrupt:
        progress.say("interrupted")
        sys.exit(130)


@contextmanager
def all_may_fail() -> Iterator[list[Exception]]:
    """Optuna looks for the best of no trial where all have failed; the sweep's table says why. Gives what a launcher raised whose worker died."""
    died: list[Exception] = []
    try:
        yield died
    except Exception as error:
        if type(error).__name__ in DIED:
            died.append(error)
            why = "the process of a job died, and jobs may have ended with it; the same command does what is missing"
            progress.say(f"error: {why}, with +launcher=processes each job in a process of its own")
        elif not (isinstance(error, ValueError) and str(error).startswith("No trials are completed")):
            raise


def main_with_request(job: Callable[[Request, DictConfig], None], config_name: str) -> None:
    """As `main`, of a command that takes the options of arguments.Request."""
    with errors_in_one_line():
        request, arguments = take_request(sys.argv[1:])
    main(partial(job, request), config_name, arguments)


@contextmanager
def removed_if_empty(paths: Sequence[Path]) -> Iterator[None]:
    """After an error, folders that were made within and hold nothing are gone again: these, and those above them."""
    ours = {folder for path in paths for folder in (path, *path.parents) if not folder.exists()}
    try:
        yield
    except BaseException:
        for folder in sorted(ours, key=lambda folder: -len(folder.parts)):
            with suppress(OSError):
                folder.rmdir()
        raise


def show_list(header: Sequence[str], rows: Iterable[Sequence[object]], form: str) -> None:
    """Rows on stdout: as a table, as json, or as csv for a spreadsheet, which takes a cell that begins with = for a formula.

    Rows of csv are written as they come.
    """
    if form == "table":
        from rich.table import Table
        from rich.text import Text

        from cold_jax.runs.terminal import escape_control, show

        drawn = Table(*header)
        for row in rows:
            drawn.add_row(*(Text(escape_control(str(cell))) for cell in row))
        show([drawn])
    elif form == "json":
        print(json.dumps([dict(zip(header, row, strict=True)) for row in rows], ensure_ascii=False))
    else:
        writer = csv.writer(sys.stdout)
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in row])
