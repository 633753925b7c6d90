"""Weights & Biases, in a thread of its own."""

import contextlib
import logging
import os
import queue
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from cold_jax.errors import ConfigError, RunError
from cold_jax.ranges import require
from cold_jax.runs.folder import flat_config
from cold_jax.runs.loggers import Logger, Record, brief, combine, is_due, metric_values
from cold_jax.runs.loggers.public import flat_metrics, public
from cold_jax.storage.files import atomic, digest
from cold_jax.storage.limits import read_file

log = logging.getLogger(__name__)


# what WANDB_MODE may be, besides the names of Mode
SPELLINGS = {"run": "online", "shared": "online", "dryrun": "offline", "off": "disabled"}
FALSE = ("", "0", "false", "no", "off")  # of WANDB_DISABLED
TAGGED = ("data.name", "split._target_", "encoder._target_", "adapter._target_", "model._target_", "objective._target_")
PARAMETERS = ("delta.safetensors", "head.safetensors")


class Mode(Enum):
    """Where a run is kept. auto: as WANDB_MODE says, else online if a key is known, else offline (`wandb sync` uploads it)."""

    auto = "auto"
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass(frozen=True)
class Wandb:
    """W&B gets config, losses, validation and test metrics, throughput, the table of results, curves over steps and over the support, and Δθ
    with the head as an artifact; no path, no text or id of users, no value of the environment, no console output, no source code, no list
    of packages.

    WANDB_DISABLED, WANDB_PROJECT, WANDB_NAME and WANDB_RUN_GROUP win over the config, as W&B has it.

    every: steps from one record to the next. init_timeout: seconds to reach the server, after which the run is kept offline.
    finish_timeout: seconds that the end of a run waits for the upload. artifact_mb: the largest Δθ that is kept there, in MB; 0: none.
    """

    project: str
    mode: Mode
    every: int
    init_timeout: float
    finish_timeout: float
    artifact_mb: int

    def __post_init__(self) -> None:
        require("logger.wandb", self, at_least_1=["every", "init_timeout"], at_least_0=["finish_timeout", "artifact_mb"])

    def __call__(self) -> Logger:
        mode = self.mode
        if mode is Mode.auto and os.environ.get("WANDB_MODE"):
            given = os.environ["WANDB_MODE"].strip().lower()
            if SPELLINGS.get(given, given) not in Mode.__members__:
                raise ConfigError(f"WANDB_MODE: {given!r} is not one of {', '.join([*Mode.__members__, *SPELLINGS])}")
            mode = Mode[SPELLINGS.get(given, given)]
        if os.environ.get("WANDB_DISABLED", "").strip().lower() not in FALSE:
            mode = Mode.disabled
        return combine([]) if mode is Mode.disabled else _WandbRun(self, mode)


class _WandbRun(Logger):
    """All that W&B does happens in a thread of its own, in order, so that a slow or hanging service costs the run no time."""

    def __init__(self, options: Wandb, mode: Mode) -> None:
        self.options, self.mode = options, mode
        self.calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.worker = threading.Thread(target=self._work, name="wandb", daemon=True)
        self.wandb: Any = None  # the module, once it is imported
        self.run: Any = None
        self.abandoned = False
        self.validations: list[Record] = []

    def start(self, config: Mapping[str, Any], run_folder: Path, name: str, group: str, job_type: str) -> None:
        self.folder = run_folder.resolve()
        self.worker.start()
        about = {
            "config": public(config),
            "name": os.environ.get("WANDB_NAME") or name,
            "group": os.environ.get("WANDB_RUN_GROUP") or group,
            "job_type": job_type,
            "tags": tags(config),
        }
        self._put(partial(self._start, about))

    def step(self, record: Record) -> None:
        if is_due(record, self.options.every):
            self._put(partial(self._log, "train", record))

    def validation(self, record: Record) -> None:
        self.validations.append(record)
        self._put(partial(self._log, "validation", record))

    def finish(self, results: Mapping[str, Any]) -> None:
        self._put(partial(self._finish, results))
        self._put(None)
        self.worker.join(self.options.finish_timeout)
        if self.worker.is_alive():
            seconds = self.options.finish_timeout
            log.warning("W&B not done in %g s (logger.wandb.finish_timeout); the run's figures are in %s", seconds, self.folder)
            self._abandon()

    def _put(self, call: Callable[[], None] | None) -> None:
        if self.worker.is_alive():
            self.calls.put(call)

    def _work(self) -> None:
        try:
            for call in iter(self.calls.get, None):
                call()
        except Exception as error:
            if self.abandoned:
                return
            log.warning("W&B failed (%s); the run goes on without it, its figures are in %s", brief(error), self.folder)
            self._abandon()

    def _abandon(self) -> None:
        """Take back W&B's hook at exit, which would wait for a service that hangs, or print a traceback about one that died."""
        self.abandoned = True

        def teardown() -> None:
            with contextlib.suppress(Exception):
                self.wandb.teardown()

        thread = threading.Thread(target=teardown, daemon=True)
        thread.start()
        thread.join(1)

    def _start(self, about: dict[str, Any]) -> None:
        import wandb

        self.wandb = wandb
        wandb.setup(wandb.Settings(silent=True))
        settings = wandb.Settings(
            silent=True,
            init_timeout=self.options.init_timeout,
            finish_timeout=self.options.finish_timeout,
            console="off",
            save_code=False,
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_save_requirements=False,
            x_disable_meta=True,
            x_disable_machine_info=True,
        )
        about |= {
            "project": os.environ.get("WANDB_PROJECT") or self.options.project,
            "dir": str(self.folder),
            "id": _run_id(self.folder),
        }
        init = partial(wandb.init, **about, resume="allow", reinit="create_new", settings=settings)
        problem = None
        if self.mode is not Mode.offline:
            try:
                if wandb.login(prompt=False, verify=False):
                    self.run = init(mode="online")
                elif self.mode is Mode.online:
                    problem = "no key is known; `wandb login` stores one"
            except Exception as error:  # a key that is none, or no server
                if self.abandoned:
                    raise
                problem = brief(error)
                wandb.teardown()  # else the failed start holds the id: "run ID … is in use"
        if self.run is None:
            if problem:
                os.environ.pop("WANDB_API_KEY", None)  # an offline run needs none, and W&B reads a malformed one again
            self.run = init(mode="offline")
        if problem:
            log.warning("W&B is not online (%s); `wandb sync %s` uploads the run later", problem, Path(self.run.dir).parent)
        self.run.define_metric("global_step")  # W&B's own step starts again at 0 when a run is resumed
        self.run.define_metric("*", step_metric="global_step")

    def _log(self, prefix: str, record: Record) -> None:
        values = {f"{prefix}/{name}": value for name, value in metric_values(record).items()}
        self.run.log({"global_step": record["step"], "epoch": record["epoch"], **values})

    def _finish(self, results: Mapping[str, Any]) -> None:
        test = flat_metrics(results["test"])
        self.run.summary.update({f"test/{name}": value for name, value in test.items()})
        self.run.summary.update({f"seconds/{name}": value for name, value in results["seconds"].items()})
        methods = {"this run": test, **{name: flat_metrics(parts) for name, parts in results["baselines"].items()}}
        rows = [[method, *(values.get(name) for name in test)] for method, values in methods.items()]
        self.run.log({"results": self.wandb.Table(columns=["method", *test], data=rows)})
        if self.validations:
            curves = {name: [record[name] for record in self.validations] for name in metric_values(self.validations[0])}
            steps = [record["step"] for record in self.validations]
            lines = self.wandb.plot.line_series(steps, curves.values(), keys=list(curves), title="validation", xname="step")
            self.run.log({"learning_curve": lines})
        self._log_support(results)
        self._log_parameters(results)
        self.run.finish()

    def _log_support(self, results: Mapping[str, Any]) -> None:
        """The first metric over k, for each method, where the test has parts support_k."""
        of_k = sorted((int(found[1]), part) for part in results["test"] if (found := re.fullmatch(r"support_(\d+)", part)))
        if len(of_k) < 2:
            return
        metric = next(iter(results["test"][of_k[0][1]]))
        methods = {"this run": results["test"], **results["baselines"]}
        rows = [
            [method, k, parts[part][metric]]
            for method, parts in methods.items()
            for k, part in of_k
            if metric in parts.get(part, {})
        ]
        self.run.log({"support": self.wandb.Table(columns=["method", "k", metric], data=rows)})
        lines = {method: [row[2] for row in rows if row[0] == method] for method in methods}
        whole = {method: values for method, values in lines.items() if len(values) == len(of_k)}
        drawn = self.wandb.plot.line_series([k for k, _ in of_k], [*whole.values()], keys=[*whole], title=metric, xname="k")
        self.run.log({"support_curve": drawn})

    def _log_parameters(self, results: Mapping[str, Any]) -> None:
        """Δθ and the head as an artifact that says what it was made of: digests of the data, the split and θ."""
        files = [path for name in PARAMETERS if (path := self.folder / name).is_file()]
        if not files or sum(path.stat().st_size for path in files) > self.options.artifact_mb * 10**6:
            return
        digests = dict(results.get("digests", {}))
        made = self.wandb.Artifact(
            f"delta-{self.run.id}", type="model", metadata={"sha256": digests, "base": results.get("encoder")}
        )
        for path in files:
            made.add_file(str(path), policy="immutable", skip_cache=True)
        for kind in ("data", "encoder"):  # W&B draws them as what the run was made of; it can only where it is online
            if kind in digests and not self.run.offline:
                source = self.wandb.Artifact(f"{kind}-{digests[kind][:12]}", type=kind, metadata={"sha256": digests[kind]})
                self.run.use_artifact(source)
        self.run.log_artifact(made)


def _run_id(folder: Path) -> str:
    """The run's id at W&B, kept in its folder, so that a resumed run goes on where it was.

    Its second half is the digest of the first, as a resumed run with an altered id would go on in another one.
    """
    path = folder / "wandb_id.txt"
    try:
        found = read_file(path, 64, RunError).decode("ascii", "replace").strip()
    except FileNotFoundError:
        random = uuid.uuid4().hex[:8]
        found = random + digest(random)[:8]
        with atomic(path, new=True) as file:
            file.write(found.encode())
    if not re.fullmatch("[0-9a-f]{16}", found) or digest(found[:8])[:8] != found[8:]:
        raise RunError(f"{path}: {found[:64]!r} is not the id that was written; delete the file, and the run gets another")
    return found


def tags(config: Mapping[str, Any]) -> list[str]:
    """What runs are looked for by: data, split, encoder, adapter, model, objective; W&B takes up to 64 characters."""
    flat = flat_config(public(config))
    return list(dict.fromkeys(str(flat[key]).rpartition(".")[2][:64] for key in TAGGED if flat.get(key)))
