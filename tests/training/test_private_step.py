"""A private step's sensitivity, its clipped mean and its noise, each against something that is not the step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cold_jax import experiment
from cold_jax.batching.batch import Batch, table_rows
from cold_jax.models.base import Partition, encode_texts
from cold_jax.training.parallel import Pmap
from cold_jax.training.privacy import Mechanism
from cold_jax.training.private_step import clipped_sum, noisy_mean, private_step
from cold_jax.training.step import State, StepSpec

pytest.importorskip("jax_privacy")
SECRET, CLIP = b"s" * 32, 0.2
MECHANISM = Mechanism(0.3, 30, CLIP, 6, 4.0, 0.02)
MECHANISM.__dict__["noise_multiplier"] = 1.25  # rather than what the accountant takes a second to find
Tree = Any


@pytest.fixture(scope="module")
def prepared() -> experiment.Prepared:
    return experiment.prepare(small.private())


@pytest.fixture(scope="module")
def le(prepared: experiment.Prepared) -> experiment.TrainSetup:
    """Set up as a run sets it up, away from where gradients vanish."""
    return small.perturbed(experiment.setup(small.private(), prepared))


def spec_of(le: experiment.TrainSetup, optimizer: optax.GradientTransformation = small.DESCENT) -> StepSpec:
    return StepSpec(le.partition.graph, small.private().objective, optimizer, 1, False, 0, 0.0)


def batch_of(le: experiment.TrainSetup, step: int = 0) -> Batch:
    return le.batches.with_secret(SECRET)(step)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def examples_of(le: experiment.TrainSetup) -> Callable[[int], Any]:
    """Of a step."""
    return lambda step: batch_of(le, step).examples


@pytest.fixture(scope="module")
def lora(prepared: experiment.Prepared) -> experiment.TrainSetup:
    """The same where the encoder learns too."""
    return small.perturbed(experiment.setup(small.private()._replace(adapter=small.LORA), prepared))


@pytest.fixture(scope="module")
def summed(le: experiment.TrainSetup) -> Callable[..., np.ndarray]:
    return sum_of_clipped(le)


@pytest.fixture(scope="module")
def lora_summed(lora: experiment.TrainSetup) -> Callable[..., np.ndarray]:
    return sum_of_clipped(lora)


def sum_of_clipped(le: experiment.TrainSetup, clip: float = CLIP) -> Callable[..., np.ndarray]:
    """(examples, a user whose vector is NaN) → the clipped sum as one vector, in float64."""
    public = batch_of(le).items

    @jax.jit
    def sum_of(examples: Any, frozen: Tree) -> Tree:
        return clipped_sum(spec_of(le), clip, frozen, le.partition.trainable, examples, public, None)  # type: ignore[arg-type]

    def flat(examples: Any, broken: int | None = None) -> np.ndarray:
        frozen = jax.tree.map(lambda x: x, le.partition.frozen)
        if broken is not None:
            vector = frozen["encoder"]["vector"]
            vector.set_value(vector[...].at[broken].set(jnp.nan))
        return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(sum_of(examples, frozen))])

    return flat


def without(examples: Any, rows: np.ndarray) -> Any:
    absent_B = examples.absent_B | np.isin(np.arange(len(examples.absent_B)), rows)
    return examples._replace(absent_B=absent_B)


def moves_by_at_most_c(summed: Callable[..., np.ndarray], examples: Any, chosen: int, broken: bool) -> None:
    """One of the step's users, who may have a vector of NaN, beside the others, without them, and not there at all."""
    B = len(examples.absent_B)
    present = np.flatnonzero(~examples.absent_B)
    if not len(present):
        return
    row = present[chosen % len(present)]
    nan = int(examples.profile_B[row]) if broken else None
    whole, fewer = summed(examples, nan), summed(without(examples, np.array([row])), nan)
    alone = summed(without(examples, np.delete(np.arange(B), row)), nan)
    rounding = 4e-7 * CLIP * len(present)
    assert np.linalg.norm(whole - fewer) <= CLIP * (1 + 1e-6) + rounding
    assert np.linalg.norm(alone) <= CLIP * (1 + 1e-6)
    np.testing.assert_allclose(whole - fewer, alone, atol=rounding)  # nobody's loss reads anybody else
    if broken:
        assert not alone.any()
    else:
        assert np.linalg.norm(alone) > 0


@settings(max_examples=15, deadline=None)
@given(step=st.integers(0, 10_000), chosen=st.integers(0, 30), broken=st.booleans())
def test_a_user_more_or_fewer_moves_the_sum_by_at_most_c(
    examples_of: Callable[[int], Any], summed: Callable[..., np.ndarray], step: int, chosen: int, broken: bool
) -> None:
    """Also a user whose vector is NaN, who adds zero, and the user who is the only one of a batch."""
    moves_by_at_most_c(summed, examples_of(step), chosen, broken)


@settings(max_examples=5, deadline=None)
@given(step=st.integers(0, 10_000), chosen=st.integers(0, 30))
def test_so_it_does_where_the_encoder_learns(
    lora: experiment.TrainSetup, lora_summed: Callable[..., np.ndarray], step: int, chosen: int
) -> None:
    """Their own text is then a part of their gradient, and the items' texts are in everybody's."""
    moves_by_at_most_c(lora_summed, batch_of(lora, step).examples, chosen, broken=False)


def test_no_user_is_a_sum_of_zero(le: experiment.TrainSetup, summed: Callable[..., np.ndarray]) -> None:
    examples: Any = batch_of(le).examples
    assert not summed(without(examples, np.arange(len(examples.absent_B)))).any()


@pytest.mark.parametrize(("adapter", "clip"), [("frozen", CLIP), ("frozen", 100.0), ("lora", CLIP)])
def test_the_sum_is_that_of_a_loop_over_users(adapter: str, clip: float, request: pytest.FixtureRequest) -> None:
    """Of jax.grad of a loss written from the model's own `items` and `scores`, and of all texts encoded together; every other user
    has a single pair."""
    le: experiment.TrainSetup = request.getfixturevalue("le" if adapter == "frozen" else "lora")
    summed = request.getfixturevalue("summed" if adapter == "frozen" else "lora_summed")
    batch = batch_of(le)
    examples: Any = batch.examples
    pairs_B = np.where(np.arange(len(examples.absent_B)) % 2, examples.weight_BP.shape[1], 1)
    examples = examples._replace(weight_BP=examples.weight_BP * (np.arange(examples.weight_BP.shape[1]) < pairs_B[:, None]))
    users, I = 40, len(le.batches.train.items)  # type: ignore[attr-defined]
    rows, slot_T = (le.batches.texts or table_rows)(np.arange(users + I), small.ROWS_AT_ONCE)  # type: ignore[attr-defined]

    @jax.jit
    def gradient(profile: jax.Array, history_I: jax.Array, target_I: jax.Array, seen_I: jax.Array) -> Tree:
        def loss(trainable: Tree) -> jax.Array:
            model = Partition(le.partition.graph, trainable, le.partition.frozen).model()
            vector_TD = encode_texts(model, rows, small.ROWS_AT_ONCE)[slot_T]
            encodings = model.items(vector_TD[users:], jnp.arange(I))
            score_I = model.scores(vector_TD[profile][None], history_I[None], encodings, slice(None))[0]
            negative = jnp.where(seen_I, -jnp.inf, score_I)
            log_p_I = score_I - jnp.logaddexp(jax.nn.logsumexp(negative), score_I)
            return -(log_p_I * target_I).sum() / target_I.sum()

        return jax.grad(loss)(le.partition.trainable)

    total, clipped, of_encoder = 0.0, 0, 0.0
    for b in np.flatnonzero(~examples.absent_B):
        history_I, target_I = np.zeros(I, np.float32), np.zeros(I, np.float32)
        np.add.at(history_I, examples.history_BK[b], examples.weight_BK[b])
        np.add.at(target_I, examples.target_BP[b], examples.weight_BP[b])
        tree = gradient(jnp.asarray(examples.profile_B[b]), history_I, target_I, examples.seen_BJ[b])
        flat = np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])
        norm = np.linalg.norm(flat)
        clipped += norm > clip
        total = total + flat * min(1.0, clip / norm)
        of_encoder += sum(np.abs(leaf).max() for name, leaf in small.leaves(tree).items() if "encoder" in name)
    assert (clipped > 0) == (clip == CLIP)
    assert (of_encoder > 1e-3) == (adapter == "lora")
    if clip != CLIP:
        summed = sum_of_clipped(le, clip)
    np.testing.assert_allclose(summed(examples), total, rtol=1e-4, atol=2e-6)


def test_microbatches_change_nothing(le: experiment.TrainSetup, summed: Callable[..., np.ndarray]) -> None:
    batch = batch_of(le, 2)
    spec, leaves = spec_of(le), (le.partition.frozen, le.partition.trainable)
    twos = jax.jit(lambda examples: clipped_sum(spec, CLIP, *leaves, examples, batch.items, 2))(batch.examples)  # type: ignore[arg-type]
    flat = np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(twos)])
    np.testing.assert_allclose(flat, summed(batch.examples), atol=1e-6)


def test_noise_is_that_of_the_mechanism() -> None:
    """N(0, (σC / (q N₀))²), which a test of 2/3 and of 3/2 of it rejects; leaves and steps are independent."""
    zeros = {"a": jnp.zeros(20_000), "b": jnp.zeros((200, 100))}
    one, other = (noisy_mean(zeros, MECHANISM, jax.random.key(k)) for k in (1, 2))
    sd = MECHANISM.noise_multiplier * CLIP / (0.3 * 30)
    a, b, c = np.asarray(one["a"]), np.asarray(one["b"]).ravel(), np.asarray(other["a"])
    for sample in (a, b, c):
        assert stats.kstest(sample, stats.norm(0, sd).cdf).pvalue > 0.01
        for wrong in (2 / 3, 3 / 2):
            assert stats.kstest(sample, stats.norm(0, wrong * sd).cdf).pvalue < 1e-9
    for x, y in ((a, b), (a, c)):
        assert abs(np.corrcoef(x, y)[0, 1]) < 4 / np.sqrt(20_000)


def steps_of(prepared: experiment.Prepared, parallel: Any, mechanism: Mechanism) -> list[np.ndarray]:
    """All trainable leaves as a vector, before and after each of three steps of plain descent, the second of which has no user."""
    le = small.perturbed(experiment.setup(small.private()._replace(parallel=parallel), prepared))
    step = parallel(private_step(spec_of(le, optax.sgd(1.0)), mechanism, None))
    frozen, trainable = step.replicate(le.partition.frozen), le.partition.trainable
    state = step.replicate_state(State(trainable, optax.sgd(1.0).init(trainable), jnp.zeros((), jnp.int32)))
    flat = lambda tree: np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])  # noqa: E731
    found = [flat(trainable)]
    for n in range(3):
        batch = batch_of(le, n)
        if n == 1:
            batch = batch._replace(examples=without(batch.examples, np.arange(1000)))
        state, record = step.step(frozen, state, step.shard_batch(batch))
        assert set(record) == {"finite"}  # a loss is not private
        found.append(flat(step.unreplicate(state).trainable))
    return found


def test_a_step_divides_by_the_expected_users_and_adds_its_noise_once(
    prepared: experiment.Prepared, le: experiment.TrainSetup, summed: Callable[..., np.ndarray]
) -> None:
    """On one device and on several, also where nobody came."""
    before, first, second, _ = alone = steps_of(prepared, Pmap(1), MECHANISM)
    sd = MECHANISM.noise_multiplier * CLIP / 9
    noise_N = second - first
    for sample in (noise_N, before - first - summed(batch_of(le, 0).examples) / 9):
        assert stats.kstest(sample, stats.norm(0, sd).cdf).pvalue > 0.01
    for parallel in (Pmap(2), small.mesh(2)):
        for one, other in zip(alone, steps_of(prepared, parallel, MECHANISM), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6)
