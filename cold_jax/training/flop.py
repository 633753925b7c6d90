"""FLOPs of a training step's matrix products, counted in the jaxpr of its forward pass.

A product costs 2·m·k·n forward, and as much again for each operand that depends on what trains: frozen weights have no gradient of their
own. Nothing that is computed again counts, no padding of packed rows, and nothing but products. A scan counts as if it were unrolled; XLA's
cost_analysis has its body once, whatever its length.
"""

import functools
import math
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from enum import IntFlag
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from cold_jax.batching.batch import Batch, row_count
from cold_jax.models.base import Partition, encode_texts
from cold_jax.text.packing import Rows
from cold_jax.training.parallel import single_device
from cold_jax.training.step import StepSpec

Tree = Any


class Of(IntFlag):
    """What a number depends on."""

    nothing = 0
    trains = 1  # what trains, so that it has a gradient
    rows = 2  # rows of packed texts, so that there is more of it with more of them


Flop = Counter[tuple[str, bool]]  # by the dtype of the operands, and whether they depend on the rows


class StepFlop(NamedTuple):
    """FLOPs of a step, by its batch."""

    per_position: float  # that has a token; of a table's rows, of each
    once: float  # whatever the number of positions: the head's, above all
    dtype: str  # of most of the products

    def __call__(self, batch: Batch) -> float:
        rows = batch.rows
        return self.once + self.per_position * (np.count_nonzero(rows.segment_RL) if isinstance(rows, Rows) else len(rows))


def step_flop(spec: StepSpec, partition: Partition, batch: Batch) -> StepFlop | None:
    """Of steps whose batches have as many examples and items as this one; None where there is no product.

    A token's attention is over the whole row that it is packed into, as it is computed.
    """

    model = lambda trainable, frozen: Partition(spec.graph, trainable, frozen).model()  # noqa: E731
    leaves, rows = (partition.trainable, partition.frozen), batch.rows

    def encode(trainable: Tree, frozen: Tree, rows: Rows | np.ndarray) -> jax.Array:
        return encode_texts(model(trainable, frozen), rows, 1)

    def loss(trainable: Tree, frozen: Tree, encoded: jax.Array, batch: Batch) -> jax.Array:
        return spec.loss(model(trainable, frozen), encoded, batch, single_device, None)

    of_row, out, through = count_flop(encode, (Of.trains, Of.nothing, Of.rows), *leaves, jax.tree.map(lambda x: x[:1], rows))
    encoded = jax.ShapeDtypeStruct((row_count(rows) * out.shape[0], *out.shape[1:]), out.dtype)
    given = (Of.trains, Of.nothing, through & Of.trains, Of.nothing)
    head, _, _ = count_flop(loss, given, *leaves, encoded, batch._replace(rows=None))
    total = Counter[str]()
    for (dtype, grows), flop in [*of_row.items(), *head.items()]:
        total[dtype] += flop * (row_count(rows) if grows else 1)
    per_row, length = _sum(of_row, True), rows.token_RL.shape[1] if isinstance(rows, Rows) else 1
    return StepFlop(per_row / length, _sum(of_row, False) + _sum(head, False), total.most_common(1)[0][0]) if total else None


def count_flop(function: Callable[..., Tree], given: Sequence[Of], *arguments: Tree) -> tuple[Flop, Tree, Of]:
    """(FLOPs of its products forward and backward, the shapes of its result, what that depends on), by what its arguments depend on."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    traced, out = jax.make_jaxpr(function, return_shape=True)(*shapes)
    into = [of for of, argument in zip(given, arguments, strict=True) for _ in jax.tree.leaves(argument)]
    flop, through = _of_jaxpr(traced.jaxpr, into)
    return flop, out, _any(through)


def _of_jaxpr(jaxpr: Jaxpr, into: Sequence[Of]) -> tuple[Flop, list[Of]]:
    """(FLOPs, what each result depends on)."""
    flop, known = Flop(), dict(zip(jaxpr.invars, into, strict=True))
    of = lambda variable: Of.nothing if isinstance(variable, Literal) else known.get(variable, Of.nothing)  # noqa: E731
    for equation in jaxpr.eqns:
        more, through = _of_equation(equation, list(map(of, equation.invars)))
        flop += more
        for variable, found in zip(equation.outvars, through, strict=True):
            known[variable] = found if jnp.issubdtype(_array(variable).dtype, jnp.inexact) else found & ~Of.trains
    return flop, list(map(of, jaxpr.outvars))


def _of_equation(equation: JaxprEqn, into: list[Of]) -> tuple[Flop, list[Of]]:
    name, parameters = equation.primitive.name, equation.params
    if name == "stop_gradient":
        return Flop(), [into[0] & ~Of.trains]
    if name == "scan":
        return _of_scan(equation, into)
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        left, result = _array(equation.invars[0]), _array(equation.outvars[0])
        flop = 2 * math.prod(result.shape) * math.prod(left.shape[axis] for axis in contracted)
        times = 1 + sum(Of.trains in of for of in into)
        return Flop({(str(left.dtype), Of.rows in _any(into)): flop * times}), [_any(into)]
    for inner in jaxprs_in_params(parameters):  # of jit, checkpoint, custom_jvp, …
        if len(inner.invars) == len(into) and len(inner.outvars) == len(equation.outvars):
            return _of_jaxpr(inner, into)
    return Flop(), [_any(into)] * len(equation.outvars)


def _of_scan(equation: JaxprEqn, into: list[Of]) -> tuple[Flop, list[Of]]:
    """As if it were unrolled: the first layer may read what does not depend on what trains, and the others do."""
    body, length = equation.params["jaxpr"].jaxpr, equation.params["length"]
    # constants, what is carried on, and slices; versions of JAX count them in parameters of other names
    same = lambda outer, inner: [_array(a).ndim == _array(b).ndim for a, b in zip(outer, inner, strict=True)]  # noqa: E731
    carried, end = same(equation.outvars, body.outvars).count(True), same(equation.invars, body.invars).count(True)
    constants, flop = end - carried, Flop()
    while True:
        more, through = _of_jaxpr(body, into)
        carry = [a | b for a, b in zip(into[constants:end], through[:carried], strict=True)]
        times = length if carry == into[constants:end] else 1
        flop += Flop({key: times * of_one for key, of_one in more.items()})
        length -= times
        if length <= 0:
            return flop, through
        into = [*into[:constants], *carry, *into[end:]]


def _any(each: Sequence[Of]) -> Of:
    return functools.reduce(operator.or_, each, Of.nothing)


def _sum(flop: Flop, grows: bool) -> float:
    return sum(of_some for (_, of_rows), of_some in flop.items() if of_rows == grows)


def _array(variable: Var | Literal) -> jax.ShapeDtypeStruct:
    return cast("jax.ShapeDtypeStruct", variable.aval)
