"""The loop stops, saves and goes on as it says: bit for bit, at whatever step, and never past a number that is none."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from cold_jax import experiment
from cold_jax.adapters.full import Frozen
from cold_jax.batching.batch import Batch
from cold_jax.errors import ConfigError, NonFinite
from cold_jax.evaluation.evaluate import Validation
from cold_jax.models.base import score_candidates
from cold_jax.models.linear import LinearModel
from cold_jax.runs.folder import Run
from cold_jax.runs.loggers import combine
from cold_jax.storage.sealed import seal
from cold_jax.training.checkpoints import Checkpoints
from cold_jax.training.loop import Loop, Training
from cold_jax.training.optimizers import AdamW, Schedule
from cold_jax.training.parallel import Collectives, Parallel, Pmap
from cold_jax.training.step import StepMode, fused_step

LOOP = Loop(
    epochs=2,
    max_steps=8,
    validate_every=3,
    patience=None,
    min_gain=0.0,
    microbatch_rows=small.ROWS_AT_ONCE,
    log_every=1,
    step=StepMode.fused,
)
ADAMW = AdamW(
    learning_rate=0.01,
    schedule=Schedule.cosine,
    warmup=2,
    weight_decay=0.01,
    b1=0.9,
    b2=0.999,
    clip=1.0,
    accumulate=1,
    ema=0.0,
)
ABOUT = {"data": "a1b2"}
POISONED = -1.0  # as a value: no rating is negative
METRIC = {0: 0.1, 3: 0.9, 6: 0.3, 8: 0.2}  # of the steps that are validated
Validate = Callable[[Any], Validation]


class Interrupted(RuntimeError):
    pass


@pytest.fixture(scope="module")
def lora(prepared: experiment.Prepared) -> experiment.TrainSetup:
    """With dropout, so that every random choice of a step shows."""
    return small.train_setup(prepared, small.DROPOUT, small.TWO_TOWER)


@pytest.fixture(scope="module")
def linear(prepared: experiment.Prepared) -> experiment.TrainSetup:
    return small.train_setup(prepared, Frozen(), LinearModel())


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Whatever ends the loop, SIGTERM is as before."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == before


def from_list(metrics: list[float]) -> Validate:
    values = iter(metrics)
    return lambda trainable: Validation(next(values), {})


class Batches:
    """A setup's batches, poisoned at some steps, with none to be had from `end` on."""

    def __init__(self, le: experiment.TrainSetup, poisoned: tuple[int, ...] = (), end: int | None = None):
        self.le, self.poisoned, self.end = le, poisoned, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self.le.batches, name)

    def __call__(self, step: int) -> Batch:
        if step == self.end:
            raise Interrupted
        batch = self.le.batches(step)
        if step in self.poisoned:
            batch.examples.value_B[0] = POISONED
        return batch


COMPILED: dict[Any, Parallel] = {}


def training(
    le: experiment.TrainSetup,
    folder: Path,
    loop: Loop = LOOP,
    objective: Any = small.SOFTMAX,
    optimizer: AdamW = ADAMW,
    validate: Validate | None = None,
    batches: Any = None,
    devices: Any = Pmap(1),  # noqa: B008
    signal_at: int | None = None,
    which: int = signal.SIGTERM,
    profile: bool = False,
) -> Training:
    """`signal_at`: the signal `which` arrives while this step is under way."""

    def parallelise(step: Any) -> Parallel:
        key = (id(le.partition), objective, optimizer, loop.steps(le.batches.steps_per_epoch), devices)
        compiled = COMPILED.setdefault(key, devices(step))
        done = iter(range(1, 1000))

        def watched(*inputs: Any) -> Any:
            result, number = compiled.step(*inputs), next(done)
            if number == signal_at:
                signal.raise_signal(which)
            return result

        return replace(compiled, step=watched)

    def by_step(trainable: Any) -> Validation:
        total = sum(float(np.asarray(leaf).sum()) for leaf in jax.tree.leaves(trainable))
        return Validation(METRIC.get(run.step, 0.0), {"sum": total})

    folder.mkdir(exist_ok=True)
    run = Training(
        loop=loop,
        partition=le.partition,
        batches=batches or le.batches,
        objective=objective,
        optimizer=optimizer,
        lr_scale=1.0,
        parallelise=parallelise,
        validate=validate or by_step,
        dropout=le.dropout,
        seed=0,
        run=Run(folder),
        fingerprint=ABOUT,
        logger=combine([]),
        profile=profile,
        microbatch_rows=loop.microbatch_rows or 8,
    )
    return run


def lines(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl less what the clock decides."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [
        {key: value for key, value in record.items() if key not in ("seconds", "examples_per_second", "mfu", "sha256")}
        for record in records
    ]


def same(a: Any, b: Any) -> bool:
    a, b = small.leaves(a), small.leaves(b)
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


# resuming


@pytest.fixture(scope="module", params=["dropout", "accumulating and averaging"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """The run that nothing interrupts."""
    name, changes = ("lora", {}) if request.param == "dropout" else ("linear", {"accumulate": 2, "ema": 0.7})
    le, optimizer, folder = request.getfixturevalue(name), replace(ADAMW, **changes), tmp_path_factory.mktemp("whole")
    run = training(le, folder, optimizer=optimizer)
    trained, best = run.fit()
    assert (run.step, best, run.batches.steps_per_epoch) == (8, 3, 5)
    return le, optimizer, run, trained, lines(folder)


@pytest.mark.parametrize(
    (
        "crash_at",
        "signal_at",
    ),  # saves are at 0, 3, 6 and 8; an epoch has 5 steps; 3 and 5 are in the middle of two that are accumulated
    [(0, None), (4, None), (None, 2), (None, 3), (None, 5), (None, 8)],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    whole: tuple[Any, ...], tmp_path: Path, crash_at: int | None, signal_at: int | None
) -> None:
    le, optimizer, uninterrupted, trained, records = whole
    first = training(le, tmp_path, optimizer=optimizer, batches=Batches(le, end=crash_at), signal_at=signal_at)
    if signal_at is None:
        with pytest.raises(Interrupted):
            first.fit()
    else:
        with pytest.raises(SystemExit) as ended:
            first.fit()
        assert ended.value.code == 143
        assert first.checkpoints.steps()[0] == signal_at == lines(tmp_path)[-1]["step"]
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(seal({"step": 9, "loss": 0.5}) + b'\n{"step": 1, "lo')  # what a run leaves that was killed later than it saved

    second = training(le, tmp_path, optimizer=optimizer)
    again, best = second.fit()
    assert best == 3
    assert same(again, trained)
    assert same(second.state, uninterrupted.state)
    assert second.progress == uninterrupted.progress
    assert lines(tmp_path) == records


def test_an_average_is_what_is_validated_and_kept(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    """The weights take the same steps as without it."""
    validated: list[Any] = []

    def validate(trainable: Any) -> Validation:
        validated.append(jax.tree.map(np.array, trainable))
        return Validation(METRIC[(0, 3, 6, 8)[len(validated) - 1]], {})

    plain, averaged = (
        training(linear, tmp_path / f"{ema}", optimizer=replace(ADAMW, ema=ema), validate=validate) for ema in (0.0, 0.9)
    )
    plain.fit()
    weights, validated[:] = list(validated), []
    kept, best = averaged.fit()
    assert best == 3
    assert same(kept, validated[1])
    assert same(validated[0], weights[0])
    assert same(averaged.state.trainable, weights[3])
    for after in (1, 2, 3):
        assert not same(validated[after], weights[after])


def test_a_kill_before_the_first_save_leaves_no_line(
    linear: experiment.TrainSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save)
        with pytest.raises(Interrupted):
            training(linear, tmp_path).fit()
    assert [line["step"] for line in lines(tmp_path)] == [0]
    training(linear, tmp_path).fit()
    assert [line["step"] for line in lines(tmp_path)] == [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 8]


def test_a_finished_training_is_not_trained_again(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    trained, best = training(linear, tmp_path).fit()
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = training(linear, tmp_path, batches=Batches(linear, end=0))
    for got, step in (again.fit(), training(linear, tmp_path).best()):
        assert same(got, trained)
        assert step == best
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_more_steps_go_on_where_fewer_ended(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    training(linear, tmp_path).fit()
    longer = training(linear, tmp_path, loop=replace(LOOP, max_steps=10))
    longer.fit()
    assert longer.step == 10
    assert [line["step"] for line in lines(tmp_path)[-6:]] == [8, 8, 9, 9, 10, 10]


# stopping early


@pytest.mark.parametrize(
    ("patience", "metrics", "best", "last"),
    [
        (2, [0.1, 0.9, 0.3, 0.2, 1.0], 3, 9),
        (2, [0.1, 0.2, 0.2, 0.3, 0.1, 0.2], 9, 15),  # an equal one is no better
        (1, [0.5, 0.4], 0, 3),
        (None, [0.9, *[0.1] * 6], 0, 16),
    ],
)
def test_early_stopping_takes_the_best_step(
    linear: experiment.TrainSetup, tmp_path: Path, patience: int | None, metrics: list[float], best: int, last: int
) -> None:
    seen: list[Any] = []

    def validate(trainable: Any) -> Validation:
        seen.append(jax.tree.map(np.array, trainable))
        return Validation(metrics[len(seen) - 1], {})

    run = training(linear, tmp_path, replace(LOOP, max_steps=16, epochs=9, patience=patience), validate=validate)
    trained, step = run.fit()
    assert (step, run.step) == (best, last)
    assert same(trained, seen[best // 3])
    assert not same(trained, seen[-1])
    again = training(linear, tmp_path, run.loop, validate=validate)
    assert same(again.fit()[0], trained)  # it was stopped and stays so
    assert again.step == last


PAIRED = {0: [0, 0, 0, 1.0], 3: [0, 0, 1.0, 1.0], 6: [0, 1.0, 1.0, 1.0], 8: [1.0, 1, 0, 0]}  # of four users, by step


def paired(le: experiment.TrainSetup, folder: Path, loop: Loop, by_step: Any = PAIRED, batches: Any = None) -> Training:
    """A training whose validation at a step has these values of users; the start is known by its leaves."""

    def validate(trainable: Any) -> Validation:
        value_U = np.array(by_step[0 if same(trainable, le.partition.trainable) else run.step])
        return Validation(float(value_U.mean()), {}, value_U)

    run = training(le, folder, loop, validate=validate, batches=batches)
    return run


@pytest.mark.parametrize(
    ("min_gain", "best"),
    [
        (0.0, 6),
        (1.0, 6),  # gains of ¼ ± ¼, ½ ± .289 and ¼ ± .479: the first is one standard error, and must be more
        (1.7, 6),
        (1.8, 0),
    ],
)
def test_the_start_is_kept_unless_validation_tells_the_difference(
    linear: experiment.TrainSetup, tmp_path: Path, min_gain: float, best: int
) -> None:
    run = paired(linear, tmp_path, replace(LOOP, min_gain=min_gain))
    trained, step = run.fit()
    assert step == best
    assert same(trained, linear.partition.trainable) == (best == 0)
    logged = {line["step"]: (line.get("gain"), line.get("standard_error")) for line in lines(tmp_path) if "best_step" in line}
    of_none = dict.fromkeys(PAIRED, (None, None))
    by_hand = {0: (None, None), 3: (0.25, 0.25), 6: (0.5, 1 / 12**0.5), 8: (0.25, (11 / 12) ** 0.5 / 2)}
    for n, (gain, error) in (by_hand if min_gain else of_none).items():
        assert logged[n] == pytest.approx((gain, error)) if gain else logged[n] == (None, None)
    again = paired(linear, tmp_path, run.loop)
    assert again.best()[1] == best


def test_a_resumed_run_compares_with_the_start_again(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    loop = replace(LOOP, min_gain=1.0)
    paired(linear, whole, loop).fit()
    with pytest.raises(Interrupted):
        paired(linear, parts, loop, batches=Batches(linear, end=5)).fit()
    paired(linear, parts, loop).fit()
    checks = lambda folder: [line for line in lines(folder) if "best_step" in line]  # noqa: E731
    assert checks(parts) == checks(whole)


@pytest.mark.parametrize("temporaries", [12_340_000, None])
def test_memory_is_logged_before_the_first_step(
    linear: experiment.TrainSetup, tmp_path: Path, caplog: pytest.LogCaptureFixture, temporaries: int | None
) -> None:
    def interrupted(*inputs: Any) -> Any:
        raise Interrupted

    run = training(linear, tmp_path)
    run.parallel = replace(run.parallel, temporaries=lambda *inputs: temporaries, step=interrupted)
    big = jnp.zeros(1_000_000)
    run.state = run.state._replace(trainable=big, optimizer=[big, big])
    with caplog.at_level("INFO", "cold_jax.training.loop"), pytest.raises(Interrupted):
        run._train()
    (line,) = (line for line in caplog.messages if line.startswith("memory of"))
    known = "memory of the device: frozen 0.0 MB, what trains 4.0 MB, optimizer state 8.0 MB"
    assert line == known + (
        "; together 12.0 MB, without activations"
        if temporaries is None
        else ", activations and gradients of a step 12.3 MB; together 24.3 MB"
    )


def test_patience_counts_from_the_peak(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    """A run that rises goes on, though it does not differ from its start yet."""
    rising: dict[int, list[float]] = {3 * n: [0.1 * n, 0, 0.2, 1.0] for n in range(5)}
    loop = replace(LOOP, max_steps=12, epochs=9, patience=1, min_gain=1.5)
    run = paired(linear, tmp_path, loop, rising)
    assert (run.fit()[1], run.step) == (0, 12)


def test_a_validation_without_users_is_compared_by_its_metric(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    assert training(linear, tmp_path, replace(LOOP, min_gain=9.0), validate=from_list([0.1, 0.2, 0.3, 0.1])).fit()[1] == 6


def test_a_min_gain_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="loop.min_gain: -1.0 must be 0 or more"):
        replace(LOOP, min_gain=-1.0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_logged_learning_rate_is_the_updates(linear: experiment.TrainSetup, tmp_path: Path, accumulate: int) -> None:
    """Two updates of warm-up, then half a cosine, which would reach zero one update after the last."""
    training(linear, tmp_path, optimizer=replace(ADAMW, accumulate=accumulate)).fit()
    updates = 8 // accumulate
    by_update = [0.0, 0.5, *(0.5 + 0.5 * np.cos(np.pi * n / (updates - 2)) for n in range(updates - 2))]
    got = {line["step"]: line["learning_rate"] for line in lines(tmp_path) if "loss" in line}
    assert got == pytest.approx({step: 0.01 * by_update[(step - 1) // accumulate] for step in range(1, 9)})


def test_a_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="loop.patience: 0 must be 1 or more"):
        replace(LOOP, patience=0)


def test_an_accelerator_gets_rows_by_their_tokens_and_a_cpu_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    automatic = replace(LOOP, microbatch_rows=None)
    assert [automatic.rows_at_once(64), replace(LOOP, microbatch_rows=5).rows_at_once(64)] == [8, 5]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [automatic.rows_at_once(length) for length in (64, 512, 8192)] == [256, 32, 8]
    assert replace(LOOP, microbatch_rows=5).rows_at_once(64) == 5


def test_steps_are_of_epochs_or_fewer() -> None:
    assert [replace(LOOP, max_steps=limit).steps(5) for limit in (None, 7, 10, 11)] == [10, 7, 10, 10]


def test_lines_grow_sparse(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    run = training(
        linear,
        tmp_path,
        Loop(
            epochs=40,
            max_steps=107,
            validate_every=105,
            patience=None,
            min_gain=0.0,
            microbatch_rows=2,
            log_every=103,
            step=StepMode.fused,
        ),
    )
    run.fit()
    got = [line["step"] for line in lines(tmp_path) if "loss" in line]
    assert got == [*range(1, 101), 103, 107]
    assert all(line["epoch"] == line["step"] / 5 for line in lines(tmp_path))
    read = {
        line["step"]: line for line in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines()) if "loss" in line
    }
    for before, step in ((99, 100), (100, 103)):  # the steps since the line before, without the compilation
        seconds = read[step]["seconds"] - read[before]["seconds"]
        assert read[step]["examples_per_second"] == pytest.approx((step - before) * 45 / seconds)
    for step in (100, 103, 107):  # as many steps in the one as in the other: those since the line before, or since a validation
        steps_per_second = read[step]["examples_per_second"] / 45
        flop = read[step]["mfu"] * run.utilisation.peak.flop_per_second / steps_per_second
        assert flop == pytest.approx(run.utilisation.of_batch(linear.batches(step)))
    assert "mfu" not in read[1]  # it was compiled


# not a number


@dataclass(frozen=True)
class Breaking:
    """The softmax, but for a batch that holds a poisoned example."""

    how: str

    read = staticmethod(score_candidates)

    def __call__(self, score_BJ: jax.Array, examples: Any, items: Any) -> tuple[jax.Array, jax.Array]:
        hit = (examples.value_B == POISONED).any()
        if self.how == "gradient":
            score_BJ = _broken_backwards(score_BJ, hit)
        total, weight = small.SOFTMAX(score_BJ, examples, items)
        return (total if self.how == "gradient" else jnp.where(hit, float(self.how), total)), weight


@jax.custom_vjp
def _broken_backwards(x: jax.Array, hit: jax.Array) -> jax.Array:
    return x


_broken_backwards.defvjp(lambda x, hit: (x, hit), lambda hit, g: (jnp.where(hit, jnp.nan, g), None))


@pytest.mark.parametrize(
    ("how", "step"),  # a save is at 3, an epoch ends with 5, the last is 8
    [("nan", 1), ("nan", 3), ("nan", 5), ("nan", 8), ("-inf", 2), ("gradient", 2), ("gradient", 3), ("gradient", 8)],
)
def test_not_a_number_stops_the_run_before_the_update(linear: experiment.TrainSetup, tmp_path: Path, how: str, step: int) -> None:
    run = training(linear, tmp_path, objective=Breaking(how), batches=Batches(linear, poisoned=(step - 1,)))
    with pytest.raises(NonFinite) as error:
        run.fit()
    batch, train = linear.batches(step - 1), linear.batches.train
    message = str(error.value)
    assert message.startswith(f"step {step}: not finite: ")
    assert ("loss" in message.split("(")[0]) == (how != "gradient")
    if how == "gradient":
        assert "['profile_D'].value" in message
    assert train.users.ids[batch.examples.user_B.min()] in message
    assert train.items.ids[batch.items.item_J[batch.examples.target_B].min()] in message

    assert run.checkpoints.steps()[0] == (step - 1) // 3 * 3
    _, saved, _ = run.checkpoints.restore(run.state, ABOUT)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved))
    assert lines(tmp_path)[-1]["step"] == step - 1
    if step in (3, 8):  # which is read before another step is under way
        good = training(linear, tmp_path / "good", objective=Breaking(how), batches=Batches(linear, end=step - 1))
        with pytest.raises(Interrupted):
            good.fit()
        assert same(run.state, good.state)


@pytest.mark.parametrize("devices", [Pmap(2), small.mesh(2)])
def test_not_a_number_on_one_device_stops_all(prepared: experiment.Prepared, tmp_path: Path, devices: Any) -> None:
    """And in the middle of an accumulation."""
    le, twice = small.train_setup(prepared, Frozen(), LinearModel(), parallel=devices), replace(ADAMW, accumulate=2)
    run = training(le, tmp_path, objective=Breaking("nan"), optimizer=twice, batches=Batches(le, poisoned=(4,)), devices=devices)
    with pytest.raises(NonFinite, match="step 5: not finite: loss"):
        run.fit()
    assert run.checkpoints.steps()[0] == 3


@pytest.mark.parametrize("how", ["nan", "gradient"])
def test_the_step_itself_leaves_everything_as_it_was(linear: experiment.TrainSetup, how: str) -> None:
    transformation = ADAMW(8, 1.0)
    step = fused_step(small.spec(linear, Breaking(how), transformation))
    collectives = Collectives(gather=lambda x: x, psum=lambda tree: tree, rows=1)
    run = jax.jit(lambda state, batch: step(linear.partition.frozen, state, batch, collectives))
    _, state = small.step_of(linear, Breaking(how), transformation)
    state, record = run(state, linear.batches(0))
    assert record["finite"].all()
    after, record = run(state, Batches(linear, poisoned=(1,))(1))
    assert same(after, state)
    assert bool(record["finite"][0]) == (how == "gradient")
    assert not record["finite"].all()
    moved, _ = run(state, linear.batches(1))
    assert not same(moved, state)


@pytest.mark.parametrize("metrics", [[0.1, 0.5, math.nan], [0.1, 0.5, math.inf], [0.1, 0.5, -math.inf]])
def test_a_metric_that_is_not_a_number_is_never_the_best(
    linear: experiment.TrainSetup, tmp_path: Path, metrics: list[float]
) -> None:
    run = training(linear, tmp_path, validate=from_list(metrics))
    with pytest.raises(NonFinite, match=f"step 6: the validation metric is {metrics[-1]}; step 3 stays the best"):
        run.fit()
    assert run.checkpoints.steps() == [3, 0]
    trained, best = training(linear, tmp_path, validate=from_list([0.2, 0.1])).fit()
    assert best == 3
    assert same(trained, training(linear, tmp_path).best()[0])


def test_a_first_metric_that_is_not_a_number_leaves_nothing(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    with pytest.raises(NonFinite, match="step 0: the validation metric is nan"):
        training(linear, tmp_path, validate=from_list([math.nan])).fit()
    assert training(linear, tmp_path).checkpoints.steps() == []


# signals


def test_while_the_first_step_compiles_a_signal_just_ends_it(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    run, during = training(linear, tmp_path), []
    step, before = run.parallel.step, signal.getsignal(signal.SIGTERM)

    def watched(*inputs: Any) -> Any:
        during.append(signal.getsignal(signal.SIGTERM) == before)
        return step(*inputs)

    run.parallel = replace(run.parallel, step=watched)
    run.fit()
    assert during == [True, *[False] * 7]


def test_a_signal_after_the_last_step_is_not_lost(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    run = training(linear, tmp_path)
    remove = run.terminate.remove
    run.terminate.remove = lambda: (signal.raise_signal(signal.SIGTERM), remove())  # type: ignore[method-assign]
    with pytest.raises(SystemExit) as ended:
        run.fit()
    assert ended.value.code == 143
    assert training(linear, tmp_path).fit()[1] == 3


TWICE = """
import sys, time
from pathlib import Path
import small
import test_loop
from cold_jax.adapters.full import Frozen
from cold_jax.evaluation.evaluate import Validation
from cold_jax.models.linear import LinearModel

def validate(trainable):
    if run.step == 3:
        for word in ("validating", "requested"):
            print(word, flush=True)
            while not run.terminate.requested or word == "requested":
                time.sleep(0.01)
    return Validation(0.5, {})

run = test_loop.training(small.train_setup(small.prepared(), Frozen(), LinearModel()), Path(sys.argv[1]), validate=validate)
run.fit()
"""


def test_a_second_signal_ends_it_at_once(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            [*map(str, (Path(__file__).parent, *Path(__file__).parents[1:3])), os.environ.get("PYTHONPATH", "")]
        )
    }
    command = [sys.executable, "-c", TWICE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True) as child:
        assert child.stdout is not None
        for word in (b"validating\n", b"requested\n"):
            assert child.stdout.readline() == word
            child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 143
    assert training(linear, tmp_path).checkpoints.steps() == [0]
    assert training(linear, tmp_path).checkpoints.restore(training(linear, tmp_path).state, ABOUT)[0] == 0


def test_a_profile_is_jaxs_trace_of_steps(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    """XSpace files that name the step's program; none without it, nor of a training that ends before those steps."""
    traces = lambda folder: list(folder.glob("profile/**/*.xplane.pb"))  # noqa: E731
    plain, short, long = tmp_path / "plain", tmp_path / "short", tmp_path / "long"
    unprofiled, _ = training(linear, plain).fit()
    training(linear, short, replace(LOOP, max_steps=2), profile=True).fit()
    profiled, _ = training(linear, long, profile=True).fit()
    assert [len(traces(folder)) for folder in (plain, short, long)] == [0, 0, 1]
    assert b"jit" in traces(long)[0].read_bytes()
    jax.tree.map(np.testing.assert_array_equal, unprofiled, profiled)
    assert lines(long) == lines(plain)


def test_a_handler_of_before_is_called_too_and_a_child_leaves_the_signal_to_its_parent(
    linear: experiment.TrainSetup, tmp_path: Path
) -> None:
    """Slurm's submitit installs one of its own."""
    called: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: called.append(number))
    try:
        run = training(linear, tmp_path, signal_at=2)
        with pytest.raises(SystemExit) as ended:
            run.fit()
        assert (ended.value.code, called) == (143, [signal.SIGTERM])
        again = training(linear, tmp_path)
        again.terminate.install()
        again.terminate.process += 1  # as a forked child finds it
        signal.raise_signal(signal.SIGTERM)
        assert (again.terminate.requested, called) == (False, [signal.SIGTERM])
        again.terminate.remove()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_warning_is_handed_on_once_the_step_is_saved(linear: experiment.TrainSetup, tmp_path: Path) -> None:
    """SIGUSR2 is submitit's: its handler queues the job again and exits. Nobody's, it ends a process as always."""
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL
    run = training(linear, tmp_path / "alone", signal_at=2)
    with pytest.raises(SystemExit):
        run.fit()
    assert run.terminate.warned is None

    saved: list[list[int]] = []

    def requeue(number: int, frame: object) -> None:
        saved.append(training(linear, tmp_path).checkpoints.steps())
        raise SystemExit(122)

    signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(SystemExit) as ended:
            training(linear, tmp_path, signal_at=2, which=signal.SIGUSR2).fit()
        assert (ended.value.code, saved[0][0]) == (122, 2)
        assert signal.getsignal(signal.SIGUSR2) == requeue
    finally:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
