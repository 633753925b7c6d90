"""N devices train on one device's loss, and to one device's figures.

What may differ is the order of sums in float32: a unit or two in the last place of a loss, 1e-7 of it. After six steps of plain gradient
descent parameters differ by 6e-8 where they have moved by 0.01 or more, so they are held to a thousandth of the way that they went: any
gradient that is some times too large, or of another loss, is far outside.
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from eight import trained
from safetensors.numpy import load_file
from small import IN_BATCH, STEPS, TWO_TOWER, Frozen, Lstm

from cold_jax import experiment
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import EvaluationConfig
from cold_jax.models.base import score_candidates
from cold_jax.training.objectives import BceRatings
from cold_jax.training.parallel import Pmap, device_info

EVALUATION = EvaluationConfig(metrics=["recall@3", "ndcg@3", "auc"], metric="auc", top=3, chunk=16, resamples=10, users=None)


def metrics(q: experiment.Prepared, le: experiment.TrainSetup, found: dict[str, np.ndarray]) -> dict[str, float]:
    """The validation's, at the parameters after the last step."""
    last = jax.tree_util.tree_map_with_path(lambda path, _: found[f"-1 {jax.tree_util.keystr(path)}"], le.partition.trainable)
    return EVALUATION(le.scorer(last), q.split.validation).mean()["cold"]


def check(many: dict[str, np.ndarray], one: dict[str, np.ndarray]) -> None:
    assert many.keys() == one.keys()
    np.testing.assert_allclose(many["losses"], one["losses"], rtol=1e-6)
    for name in [name for name in one if name[:2] in ("1 ", "-1")]:
        way = np.abs(one[name] - one[f"0 {name.split(' ', 1)[1]}"]).max()
        assert way > 5e-4, name
        np.testing.assert_allclose(many[name], one[name], rtol=0, atol=1e-3 * way, err_msg=name)


def frozen(q: experiment.Prepared, parallel: Any) -> tuple[experiment.TrainSetup, dict[str, np.ndarray]]:
    le = small.perturbed(small.train_setup(q, Frozen(), TWO_TOWER, parallel=parallel))
    return le, trained(*small.fit(le, small.SOFTMAX, small.DESCENT, STEPS, parallel, ema=0.8))


@pytest.fixture(scope="module")
def one_device(prepared: experiment.Prepared) -> tuple[experiment.TrainSetup, dict[str, np.ndarray]]:
    return frozen(prepared, Pmap(1))


@pytest.mark.parametrize("parallel", [Pmap(2), small.mesh(2)], ids=["pmap", "mesh"])
def test_two_devices_train_as_one(prepared: experiment.Prepared, one_device: Any, parallel: Any) -> None:
    """On a frozen encoder: in-batch negatives, batches that the devices don't share evenly, and a last one that is not full;
    an average of the weights."""
    (le, one), (_, two) = one_device, frozen(prepared, parallel)
    check(two, one)
    assert metrics(prepared, le, two) == pytest.approx(metrics(prepared, le, one), rel=1e-6)


def test_two_devices_train_a_text_metric_as_one(prepared: experiment.Prepared) -> None:
    """With dropout, which is of items."""
    found = []
    for parallel in (Pmap(1), Pmap(2)):
        le = small.perturbed(small.train_setup(prepared, Frozen(), small.METRIC, small.PREFIXES, parallel=parallel))
        assert le.dropout
        found.append(trained(*small.fit(le, small.SOFTMAX, optax.sgd(0.1), 2, parallel)))
    check(found[1], found[0])


def test_two_devices_train_an_lstm_as_one(prepared: experiment.Prepared) -> None:
    found = []
    for parallel in (Pmap(1), Pmap(2)):
        le = small.remembering(small.train_setup(prepared, Frozen(), Lstm(width=3), parallel=parallel))
        found.append(trained(*small.fit(le, BceRatings(threshold=4.0), optax.sgd(1.0), 2, parallel)))
    check(found[1], found[0])


def test_eight_devices_train_as_one(prepared: experiment.Prepared, lora_run: Any, eight_devices: Path) -> None:
    """The same with Δθ learning and with dropout: the gradient goes back through the gathered vectors, and noise is the text's."""
    le, losses, states = lora_run
    one = trained(losses, states)
    assert json.loads((eight_devices / "report.json").read_text())["devices"] == 8
    for name in ("pmap", "mesh"):
        many = load_file(eight_devices / f"{name}.safetensors")
        check(many, one)
        assert metrics(prepared, le, many) == pytest.approx(metrics(prepared, le, one), rel=1e-6)


def test_what_these_runs_have_in_them(lora_run: Any) -> None:
    """A last batch that is not full, no number of devices that divides the others, negatives of other examples, dropout."""
    le, losses, _ = lora_run
    batches = [le.batches(step) for step in range(STEPS)]
    weights = [batch.examples.weight_B.sum() for batch in batches]
    assert weights == [IN_BATCH.size] * (le.batches.steps_per_epoch - 1) + [36, IN_BATCH.size]
    assert IN_BATCH.size % 2 == 1
    examples, items = batches[0].examples, batches[0].items
    assert items.valid_J.sum() > max(IN_BATCH.support) + 1 + IN_BATCH.negatives
    vector_TD = le.scorer.encode(le.partition.trainable)  # of all texts, without dropout
    examples, items = examples._replace(profile_B=examples.user_B), items._replace(slot_J=40 + items.item_J)
    total, weight = small.SOFTMAX(jax.jit(score_candidates)(le.partition.model(), vector_TD, examples, items), examples, items)
    assert abs(total / weight - losses[0]) > 1e-3


@pytest.mark.parametrize("parallel", [Pmap(1), Pmap(2), small.mesh(2)], ids=["one", "pmap", "mesh"])
def test_a_state_that_was_put_may_be_donated(prepared: experiment.Prepared, parallel: Any) -> None:
    """It is a copy: what the caller holds is there after the step, and comes back as one."""
    many = parallel(lambda constants, state, batch, collectives: (state + constants, collectives.psum(jnp.ones(()))))
    constants, state = jnp.arange(3.0), jnp.ones(3)
    batch = small.train_setup(prepared, Frozen(), TWO_TOWER, parallel=parallel).batches(0)
    for _ in range(2):
        after, _ = many.step(many.replicate(constants), many.replicate_state(state), many.shard_batch(batch))
        np.testing.assert_array_equal(many.unreplicate(after), [1, 2, 3])
    np.testing.assert_array_equal(state, [1, 1, 1])
    np.testing.assert_array_equal(constants, [0, 1, 2])


@pytest.mark.parametrize("parallel", [Pmap(1), Pmap(2)], ids=["one", "pmap"])
def test_temporaries_are_of_each_device_and_their_program_is_the_steps(prepared: experiment.Prepared, parallel: Any) -> None:
    """By hand: a sum of squares over the devices' rows, which keeps nothing, beside one that keeps 3 × 4,000 floats to multiply them."""

    def temporaries(keeps: bool) -> int:
        def step(constants: Any, state: Any, batch: Any, collectives: Any) -> Any:
            copies = jnp.sin(jnp.outer(state + constants, jnp.arange(4000.0)))
            return state + (copies @ copies.T if keeps else copies[:, :3]).sum(1), collectives.psum(jnp.ones(()))

        many, batch = parallel(step), small.train_setup(prepared, Frozen(), TWO_TOWER, parallel=parallel).batches(0)
        given = many.replicate(jnp.arange(3.0)), many.replicate_state(jnp.ones(3)), many.shard_batch(batch)
        found = many.temporaries(*given)
        with small.compilations() as compiled:
            many.step(*given)
        assert compiled == []
        assert found is not None
        return found

    more = temporaries(keeps=True) - temporaries(keeps=False)
    assert more == pytest.approx(3 * 4000 * 4, rel=0.05)


@pytest.mark.parametrize("kind", [Pmap, small.mesh])
def test_devices_that_are_not_there_are_an_error(kind: Any) -> None:
    assert kind(None).count == 2
    with pytest.raises(ConfigError, match=r"parallel.devices: 3 is not possible with 2 \w+ devices; give 1 to 2, or null"):
        _ = kind(3).count
    with pytest.raises(ConfigError, match=r"parallel.devices: 0 must be 1 or more"):
        kind(0)


def test_machine_tells_what_bits_depend_on() -> None:
    info = device_info(2)
    assert info["count"] == 2
    assert info["platform"] == jax.devices()[0].platform
    assert info["threads"] >= 1
    assert "device_count=2" in info["xla_flags"]
    assert info["matmul_precision"] == "default"
    with jax.default_matmul_precision("highest"):
        assert device_info(2)["matmul_precision"] == "highest"
