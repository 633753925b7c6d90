"""The one training loop: steps, validation, early stopping, checkpoints, resuming."""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from cold_jax import processes
from cold_jax.batching.batch import Batch, Batches
from cold_jax.batching.private import PrivateBatches
from cold_jax.errors import CheckpointError, NonFinite
from cold_jax.evaluation.evaluate import Validation
from cold_jax.models.base import Partition
from cold_jax.progress import stage
from cold_jax.ranges import require
from cold_jax.runs.folder import SECRET_BYTES, Run
from cold_jax.runs.loggers import Logger
from cold_jax.timing import timed
from cold_jax.training.checkpoints import Checkpoints
from cold_jax.training.flop import step_flop
from cold_jax.training.optimizers import AdamW
from cold_jax.training.parallel import Parallel, Step, bytes_per_device
from cold_jax.training.privacy import PrivateTraining
from cold_jax.training.private_step import private_step
from cold_jax.training.step import State, StepMode, StepSpec, fused_step, microbatched_step, resolve_mode
from cold_jax.training.terminate import TERMINATED, Terminate
from cold_jax.training.utilisation import Utilisation, describe

log = logging.getLogger(__name__)

CPU_ROWS, ACCELERATOR_TOKENS = 8, 2**14


Tree = Any


Validate = Callable[[Tree], Validation]  # of trainable leaves


class Progress(NamedTuple):
    """The state of early stopping."""

    best: float  # metric of the step that is kept
    best_step: int
    peak: float  # the largest metric so far, that of the kept step unless it does not tell it from the start
    bad_validations: int  # validations since the peak
    stopped: bool


@dataclass(frozen=True)
class Loop:
    """How long to train, and how often to validate and to log.

    epochs, or max_steps where that is less; null: no such limit. validate_every: in steps, besides once before the first and once after
    the last. patience: validations without a better one after which training stops; null: never. min_gain: standard errors of the paired
    difference over validation users by which a step must be ahead of the start, else the start is kept. microbatch_rows: packed rows encoded at
    once; null: see `rows_at_once`. log_every: in steps, after the first hundred. step: see StepMode.
    """

    epochs: int
    max_steps: int | None
    validate_every: int
    patience: int | None
    min_gain: float
    microbatch_rows: int | None
    log_every: int
    step: StepMode

    def __post_init__(self) -> None:
        counts = ["validate_every", "patience", "microbatch_rows", "log_every"]
        require("loop", self, at_least_0=["epochs", "max_steps", "min_gain"], at_least_1=counts)

    def rows_at_once(self, row_length: int) -> int:
        """Rows of so many tokens that are encoded at once: more leave a CPU's cache, and fewer leave an accelerator idle."""
        fitting = CPU_ROWS if jax.default_backend() == "cpu" else max(ACCELERATOR_TOKENS // row_length, CPU_ROWS)
        return self.microbatch_rows or fitting

    def steps(self, steps_per_epoch: int) -> int:
        of_epochs = self.epochs * steps_per_epoch
        return of_epochs if self.max_steps is None else min(of_epochs, self.max_steps)


class Training:
    """One run of the loop. It resumes at the newest checkpoint of its folder."""

    def __init__(
        self,
        *,
        loop: Loop,
        partition: Partition,
        batches: Batches,
        objective: Any,
        optimizer: AdamW,
        lr_scale: float,
        parallelise: Callable[[Step], Parallel],
        validate: Validate | None,
        dropout: bool,
        seed: int,
        run: Run,
        fingerprint: Mapping[str, Any],
        logger: Logger,
        profile: bool,
        microbatch_rows: int,
        privacy: PrivateTraining | None = None,
    ):
        """validate: None: the last step is kept."""
        self.loop, self.partition, self.batches, self.validate = loop, partition, batches, validate
        self.run, self.logger = run, logger
        self.profiler = _Profiler(run.path / "profile") if profile else None
        self.checkpoints = Checkpoints(run.checkpoints, read_only=True)
        self.steps = loop.steps(batches.steps_per_epoch) if jax.tree.leaves(partition.trainable) else 0
        updates = max(self.steps // optimizer.accumulate, 1)
        self.warms_up = f"optimizer.warmup={optimizer.warmup}" if self.steps and updates <= optimizer.warmup else None
        schedule = jax.jit(optimizer.learning_rate_schedule(updates))  # uncompiled, logging it takes 5 ms a step
        self.learning_rate = lambda step: schedule(step // optimizer.accumulate)
        transformation = optimizer(updates, lr_scale)
        self.spec = spec = StepSpec(partition.graph, objective, transformation, microbatch_rows, dropout, seed, optimizer.ema)
        mode = resolve_mode(loop.step, batches.devices, batches.packed)
        fused = fused_step(spec) if privacy is None else private_step(spec, privacy.mechanism, privacy.microbatch)
        self.parallel = microbatched_step(spec) if mode is StepMode.microbatched else parallelise(fused)
        # auto is another form on other devices, and a run may go on, or be evaluated, on any
        self.fingerprint = {**fingerprint, **({} if loop.step is StepMode.auto else {"loop.step": mode.name})}
        if privacy is not None:  # its noise is measured for this number of steps
            self.fingerprint["privacy"] = repr(privacy.mechanism)
        self.step, self.progress = 0, Progress(-math.inf, 0, -math.inf, 0, False)
        self.start_U: np.ndarray | None = None  # the start's validation, by user
        self.state = spec.start(partition.trainable)
        self.pending: tuple[Batch, Tree] | None = None  # the newest step's, not yet logged
        self.counts = privacy is None  # a private step has a gradient for each user
        self.utilisation = Utilisation(None, 1)
        self.terminate = Terminate()

    def fit(self) -> tuple[Tree, int]:
        """The trainable leaves of the best step, and that step.

        Raises NonFinite before an update that is not finite, and SystemExit(143) after SIGTERM, once the step is finished and saved.
        """
        processes.wait("the first step")  # the first process has fitted baselines meanwhile
        self.checkpoints = Checkpoints(self.run.checkpoints, read_only=False)
        resumed = bool(self.checkpoints.steps())
        if resumed:
            self._restore()
            log.info("resuming at step %d of %d", self.step, self.steps)
        if isinstance(self.batches, PrivateBatches) and self.step < self.steps:
            self.batches = self.batches.with_secret(processes.share(lambda: self.run.secret(new=not resumed), SECRET_BYTES))
        self.run.cut_metrics(self.step if resumed else -1)
        self.state = self.parallel.replicate_state(self.state)
        if self.warms_up:
            log.warning(
                "%s: all %d steps are warm-up, below optimizer.learning_rate; train for longer", self.warms_up, self.steps
            )
        if not resumed:
            self._validate_and_save()
        try:
            self._train()
        finally:
            self.terminate.remove()
            if self.profiler:
                self.profiler.stop()
        self._exit_if_terminated()
        if (utilisation := self.utilisation.report()) is not None:
            log.info("%s", describe(utilisation))
        self.state = self.parallel.unreplicate(self.state)
        return self._best()

    def best(self) -> tuple[Tree, int]:
        """What `fit` returned, of a run that was trained before. Raises CheckpointError."""
        self._restore()
        return self._best()

    def _restore(self) -> None:
        self.step, self.state, progress = self.checkpoints.restore(self.state, self.fingerprint)
        try:
            self.progress = Progress(**progress)
        except TypeError as error:
            raise CheckpointError(f"{self.checkpoints.folder}: step {self.step} has another progress ({error})") from None

    def _best(self) -> tuple[Tree, int]:
        best = self.progress.best_step
        state = self.state if best == self.step else self.checkpoints.restore(self.state, self.fingerprint, best)[1]
        return state.kept, best

    def _train(self) -> None:
        if self.step >= self.steps:
            return
        frozen = self.parallel.replicate(self.partition.frozen)
        self.began, self.since = time.monotonic(), self.step
        self.logged = (self.step, self.began)  # a step and its time, from which examples per second are counted
        with ThreadPoolExecutor(1) as ahead:
            prefetched = ahead.submit(self.batches, self.step)
            while self.step < self.steps and not self.progress.stopped:
                batch = prefetched.result()
                prefetched = ahead.submit(self.batches, self.step + 1)
                sharded = self.parallel.shard_batch(batch)
                if self.profiler:
                    self.profiler.at(self.step - self.since, self.state)
                first = self.step == self.since
                if first:
                    self._prepare(frozen, batch, sharded)
                with jax.transfer_guard("disallow"):
                    self.state, record = self.parallel.step(frozen, self.state, sharded)
                self._log_pending()  # the step before, while the device works on this one
                self.step, self.pending = self.step + 1, (batch, record)
                self.terminate.install()
                self.terminate.look(self.step)
                if self.step == self.steps or self.step % self.loop.validate_every == 0:
                    self._log_pending()
                    self._validate_and_save()
                elif self.terminate.requested:
                    self._log_pending()
                    self._save()
                self._exit_if_terminated()

    def _prepare(self, frozen: Tree, batch: Batch, sharded: Batch) -> None:
        """Before the first step: compiles it, and logs what it will take."""
        with stage("compiling a step"):
            temporaries = self.parallel.temporaries(frozen, self.state, sharded)
            if self.counts:
                self.utilisation = Utilisation(step_flop(self.spec, self.partition, batch), self.parallel.devices)
        held = {"frozen": frozen, "what trains": self.state.trainable, "optimizer state": self.state.optimizer}
        if self.state.average is not None:
            held["average"] = self.state.average
        sizes = {name: bytes_per_device(tree) for name, tree in held.items()}
        more = ", without activations" if temporaries is None else ""
        sizes |= {} if temporaries is None else {"activations and gradients of a step": temporaries}
        *each, total = (f"{name} {size / 1e6:,.1f} MB" for name, size in [*sizes.items(), ("together", sum(sizes.values()))])
        where = "the device" if self.parallel.devices == 1 else f"each of {self.parallel.devices} devices"
        log.info("memory of %s: %s; %s%s", where, ", ".join(each), total, more)

    def _exit_if_terminated(self) -> None:
        """Exits after a signal; the newest step must have been saved."""
        if self.terminate.requested:
            log.warning("%s: step %d is saved; continue with resume=%s", self.terminate.signal, self.step, self.run.path)
            self.terminate.requeue()
            raise SystemExit(TERMINATED)

    def _validate_and_save(self) -> None:
        """Validates, updates the early stopping state, and saves."""
        if self.validate is None:
            self.progress = Progress(0.0, self.step, 0.0, 0, False)
            self._save()
            return
        with timed("validate"), stage("validating"):
            found = self.validate(self.parallel.unreplicate(self.state).kept)
            gain = self._gain_over_start(found)
        if not math.isfinite(found.metric):
            raise NonFinite(
                f"step {self.step}: the validation metric is {found.metric}; step {self.progress.best_step} stays the best"
            )
        bad_validations = 0 if found.metric > self.progress.peak else self.progress.bad_validations + 1
        significant = gain is None or gain[0] > self.loop.min_gain * gain[1]
        best = (found.metric, self.step) if found.metric > self.progress.best and significant else self.progress[:2]
        stopped = self.loop.patience is not None and bad_validations >= self.loop.patience
        self.progress = _of_first(Progress(*best, max(found.metric, self.progress.peak), bad_validations, stopped))
        entry = {
            "step": self.step,
            "epoch": self.step / self.batches.steps_per_epoch,
            "metric": found.metric,
            "best_step": best[1],
            **({} if gain is None else {"gain": gain[0], "standard_error": gain[1]}),
            **found.values,
        }
        self.run.append_metrics(entry)
        self.logger.validation(entry)
        self._save()
        self.logged = (self.step, time.monotonic())  # this was no training
        self.utilisation.restart()

    def _gain_over_start(self, found: Validation) -> tuple[float, float] | None:
        """(gain over the start, its standard error), by users in pairs; None at the start, where no gain is wanted, or without users."""
        if self.step == 0:
            self.start_U = found.value_U
        if self.step == 0 or not self.loop.min_gain or found.value_U is None:
            return None
        if self.start_U is None and self.validate is not None:  # the run was resumed
            self.start_U = self.validate(self.partition.trainable).value_U
        return found.gain(self.start_U)

    def _save(self) -> None:
        log.info("saving step %d", self.step)
        self.checkpoints.save(
            self.step, self.parallel.to_save(self.state), self.fingerprint, self.progress._asdict(), self.progress.best_step
        )
        log.info("saved step %d", self.step)

    def _log_pending(self) -> None:
        """Logs the pending step. Raises NonFinite with the step, the leaves and the batch's ids."""
        if self.pending is None:
            return
        (batch, record), self.pending = self.pending, None
        record = jax.device_get(self.parallel.unreplicate(record))
        self.utilisation.add(batch)
        if not record["finite"].all():
            self._stop(batch, record["finite"])
        if self.step <= 100 or self.step % self.loop.log_every == 0 or self.step == self.steps:
            now = time.monotonic()
            steps, seconds, compiled = self.step - self.logged[0], now - self.logged[1], self.logged[0] == self.since
            self.logged = (self.step, now)
            entry = {
                "step": self.step,
                "steps": self.steps,
                "epoch": self.step / self.batches.steps_per_epoch,
                **({"loss": float(record["loss"])} if "loss" in record else {}),
                "learning_rate": float(np.asarray(self.learning_rate(self.step - 1))),
                "examples_per_second": steps * self.batches.batching.size / max(seconds, 1e-9),
                **self.utilisation.log(steps, seconds, compiled),
                "seconds": now - self.began,
            }
            self.run.append_metrics(entry)
            self.logger.step(entry)

    def _stop(self, batch: Batch, finite: np.ndarray) -> None:
        names = [
            "loss",
            *(jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(self.partition.trainable)),
        ]
        bad = [name for name, ok in zip(names, finite, strict=True) if not ok]
        raise NonFinite(
            f"step {self.step}: not finite: {', '.join(bad[:4])} ({len(bad)} of {len(names)}). The update was skipped, and the checkpoints are "
            f"intact. {self.batches.describe(batch)}. Check these rows, or lower optimizer.learning_rate"
        )


def _of_first(progress: Progress) -> Progress:
    """What the first process makes of its validation decides for all."""
    return Progress(**json.loads(processes.share(lambda: json.dumps(progress._asdict()).encode(), 1024)))


class _Profiler:
    """JAX's trace of three steps after the compilation, for TensorBoard's profile plugin and Perfetto."""

    STEPS = range(3, 6)

    def __init__(self, folder: Path):
        self.folder, self.running = folder, False

    def at(self, step: int, state: State) -> None:
        if step == self.STEPS.start:
            jax.profiler.start_trace(self.folder)
            self.running = True
        elif step == self.STEPS.stop:
            jax.block_until_ready(state)
            self.stop()

    def stop(self) -> None:
        if self.running:
            jax.profiler.stop_trace()
            self.running = False
            log.info("trace of steps %d to %d: %s", self.STEPS.start + 1, self.STEPS.stop, self.folder)
