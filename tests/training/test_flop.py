"""What a step's products cost: by hand, by XLA's own count, and by what JAX's differentiation makes of a whole training step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from jax.extend.core import Jaxpr, jaxprs_in_params

from cold_jax import experiment
from cold_jax.encoders.layers import Remat
from cold_jax.text.packing import Rows
from cold_jax.training.flop import Of, count_flop, step_flop
from cold_jax.training.parallel import single_device
from cold_jax.training.step import fused_step

X, W, V = jnp.ones((5, 7)), jnp.ones((7, 3)), jnp.ones((3, 2))


def total(function: Callable[..., Any], learns: Sequence[bool], *arguments: jax.Array) -> float:
    return count_flop(function, [Of.trains if each else Of.nothing for each in learns], *arguments)[0].total()


def test_by_hand() -> None:
    """2·5·7·3 = 210 and 2·5·3·2 = 60 forward; each operand that a gradient passes has that once more."""
    count = lambda *learns: total(lambda x, w, v: jax.nn.relu(x @ w) @ v, learns, X, W, V)  # noqa: E731
    assert count(False, False, False) == 210 + 60
    assert count(False, False, True) == 210 + 2 * 60  # a head
    assert count(False, True, False) == 2 * 210 + 2 * 60  # back through the frozen v
    assert count(False, True, True) == 2 * 210 + 3 * 60
    assert count(True, True, True) == 3 * 210 + 3 * 60


@pytest.mark.parametrize("learns", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_as_xla_counts_it(learns: tuple[int, ...]) -> None:
    """Of products alone, forward and backward, without a loop."""
    inputs = [X, W, V]

    def both(inputs: list[jax.Array], cotangent: jax.Array) -> Any:
        def of_learned(*learned: jax.Array) -> jax.Array:
            x, w, v = (learned[learns.index(n)] if n in learns else each for n, each in enumerate(inputs))
            return (x @ w) @ v

        out, backward = jax.vjp(of_learned, *(inputs[n] for n in learns))
        return out, backward(cotangent)

    xla = jax.jit(both).lower(inputs, jnp.ones((5, 2))).cost_analysis()["flops"]
    assert total(lambda x, w, v: (x @ w) @ v, [n in learns for n in range(3)], *inputs) == xla


def test_scans_count_as_if_they_were_unrolled() -> None:
    """The first of six layers reads what no gradient reaches. XLA counts one."""
    scan = lambda x, w: jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0]  # noqa: E731
    x, w = jnp.ones((4, 8)), jnp.ones((6, 8, 8))
    assert total(scan, (False, True), x, w) == 2 * 4 * 8 * 8 * (6 * 3 - 1)
    assert jax.jit(lambda x, w: scan(x, w)).lower(x, w).cost_analysis()["flops"] < 2 * (2 * 4 * 8 * 8)


def test_what_has_no_gradient_depends_on_nothing() -> None:
    """2·7·3·2 = 84 for the product of both; its transpose's with v has as many."""
    stop = lambda w, v: jax.lax.stop_gradient(w @ v) @ v.T  # noqa: E731
    assert total(stop, (True, False), W, V) == 2 * 84 + 84
    assert total(stop, (True, True), W, V) == 3 * 84 + 2 * 84
    assert total(lambda x, w: x[jnp.argmax(w)] @ W, (False, True), X, W) == 2 * 7 * 3  # an index


def test_dtypes_and_what_grows_with_the_rows_are_apart() -> None:
    both = lambda x, w: (jnp.einsum("bij,bjk->bik", x, w), w[0].astype(jnp.bfloat16) @ w[0].T.astype(jnp.bfloat16))  # noqa: E731
    found, shapes, of = count_flop(both, (Of.rows, Of.nothing), jnp.ones((4, 5, 7)), jnp.ones((4, 7, 3)))
    assert found == {("float32", True): 4 * 210, ("bfloat16", False): 2 * 7 * 3 * 7}
    assert shapes[0].shape == (4, 5, 3)
    assert of == Of.rows


def counted(le: experiment.TrainSetup) -> Any:
    """The count of a setup's first batch, and that batch."""
    batch = le.batches(0)
    return step_flop(small.spec(le, small.SOFTMAX, optax.sgd(0.1)), le.partition, batch), batch


def products(jaxpr: Jaxpr) -> float:
    """FLOPs of the products of a program without a loop of more than one turn."""
    found = 0.0
    for equation in jaxpr.eqns:
        assert equation.primitive.name != "scan" or equation.params["length"] == 1
        if equation.primitive.name == "dot_general":
            axes, left, out = equation.params["dimension_numbers"][0][0], _shape(equation.invars[0]), _shape(equation.outvars[0])
            found += 2 * math.prod(out) * math.prod(left[axis] for axis in axes)
        found += sum(map(products, jaxprs_in_params(equation.params)))
    return found


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def unrolled(step: Callable[..., Any], x: Any, places: Any) -> tuple[Any, None]:
    for n in range(len(jax.tree.leaves(places)[0])):
        x, _ = step(x, jax.tree.map(lambda of_layers, n=n: of_layers[n], places))
    return x, None


@pytest.mark.parametrize("adapter", [small.FULL, small.LORA, small.LORA_ALL], ids=["full", "lora", "lora of all"])
def test_a_step_has_the_products_of_its_gradient(
    prepared: experiment.Prepared, adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers unrolled and everything kept for the backward pass, all rows at once: what JAX differentiates has as many FLOPs."""
    le = small.train_setup(prepared, adapter, small.TWO_TOWER)
    found, batch = counted(le)
    spec = small.spec(le, small.SOFTMAX, optax.sgd(0.1))._replace(microbatch_rows=len(batch.rows.token_RL))
    monkeypatch.setattr("cold_jax.encoders.layers.Transformer.remat", Remat.everything)
    monkeypatch.setattr("cold_jax.encoders.layers.jax.lax.scan", unrolled)
    step, state = fused_step(spec), spec.start(le.partition.trainable)
    traced = jax.make_jaxpr(lambda *inputs: step(*inputs, single_device))(le.partition.frozen, state, batch)
    assert found.per_position * batch.rows.token_RL.size + found.once == products(traced.jaxpr)


def test_empty_places_do_not_count(prepared: experiment.Prepared) -> None:
    le = small.train_setup(prepared, small.LORA, small.TWO_TOWER)
    found, batch = counted(le)
    tokens = batch.rows.token_RL[batch.rows.segment_RL > 0].size
    assert tokens < batch.rows.token_RL.size
    assert found(batch) == pytest.approx(found.once + tokens * found.per_position)
    more = jax.tree.map(lambda x_RL: np.concatenate([x_RL, np.zeros_like(x_RL)]), batch.rows)
    assert found(batch._replace(rows=Rows(*more))) == found(batch)


def test_what_does_not_grow_with_the_rows_counts_once(prepared: experiment.Prepared) -> None:
    """By hand: DoRA's s·A·B, whose norms scale what each layer gives; A and B train, and the norm is taken as constant."""
    plain, dora = (small.train_setup(prepared, replace(small.LORA, dora=dora), small.TWO_TOWER) for dora in (False, True))
    without, with_dora = (counted(le)[0] for le in (plain, dora))
    D, rank, layers, targets = small.ENCODER.width, small.LORA.rank, small.ENCODER.layers, 2
    assert with_dora.once - without.once == 3 * 2 * D * rank * D * layers * targets
    assert with_dora.per_position == without.per_position


def test_of_a_frozen_encoder_the_head_counts(prepared: experiment.Prepared) -> None:
    """By hand; the encoder's vectors are looked up."""
    from cold_jax.adapters.full import Frozen

    le = small.train_setup(prepared, Frozen(), small.TWO_TOWER)
    found, batch = counted(le)
    head, D, V = le.partition.trainable, small.ENCODER.width, small.TWO_TOWER.width
    F = head["source_FV"][...].shape[0]
    (B, J) = batch.examples.history_BJ.shape
    # features to two vectors and a bias, profiles to theirs: for the maps alone; history and scores: both operands learn, or one of them
    by_hand = 2 * (2 * J * F * V * 2 + 2 * J * F + 2 * B * D * V) + 2 * (2 * B * J * V) + 3 * (2 * B * J * V)
    assert (found.per_position, found.once) == (0, by_hand)
