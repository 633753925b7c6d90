"""Losses against numbers worked by hand and SciPy; what must not change them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from cold_jax.batching.batch import Examples, Items
from cold_jax.batching.masked import Predicted
from cold_jax.training.objectives import Bce, BceRatings, Bpr, Softmax, TokenCrossEntropy

B, J = 4, 6
OBJECTIVES = [Softmax(temperature=0.7, log_q=True), Softmax(temperature=1.0, log_q=False), Bpr(), Bce()]


def make(
    target_B: Any, seen_BJ: Any, valid_J: Any = None, log_q_J: Any = None, weight_B: Any = None, value_B: Any = None
) -> tuple[Examples, Items]:
    seen_BJ = np.asarray(seen_BJ, bool)
    rows, columns = seen_BJ.shape
    none_B, none_J = np.zeros(rows, np.int32), np.zeros(columns, np.int32)
    examples = Examples(
        user_B=none_B,
        profile_B=none_B,
        length_B=none_B,
        target_B=np.asarray(target_B, np.int32),
        history_BJ=np.zeros_like(seen_BJ, np.float32),
        seen_BJ=seen_BJ,
        value_B=np.asarray(none_B if value_B is None else value_B, np.float32),
        weight_B=np.asarray(np.ones(rows) if weight_B is None else weight_B, np.float32),
    )
    valid_J = np.asarray(np.ones(columns) if valid_J is None else valid_J, bool)
    return examples, Items(none_J, none_J, none_J, valid_J, np.asarray(none_J if log_q_J is None else log_q_J, np.float32))


# Two users. The first has item 0 as the target, and also took item 2; the second has item 3 as the target. Item 4 is padding.
SCORE_BJ = np.log([[2, 3, 5, 7, 11], [1, 1, 2, 4, 9]]).astype(np.float32)
HAND = {"target_B": [0, 3], "seen_BJ": [[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]], "valid_J": [1, 1, 1, 1, 0]}


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("objective", "changes", "expected"),
    [
        (Softmax(temperature=1.0, log_q=False), {}, [np.log(12 / 2), np.log(8 / 4)]),
        (Softmax(temperature=0.5, log_q=False), {}, [np.log((4 + 9 + 49) / 4), np.log((1 + 1 + 4 + 16) / 16)]),
        (Softmax(temperature=1.0, log_q=False), {"log_q_J": np.log([1, 2, 3, 4, 5])}, [np.log(12 / 2), np.log(8 / 4)]),
        # exp(score) is divided by q: 2, 3/3, 7/2 and 1, 1/3, 2/5, 4/2
        (
            Softmax(temperature=1.0, log_q=True),
            {"log_q_J": np.log([1, 3, 5, 2, 1])},
            [np.log(6.5 / 2), np.log((1 + 1 / 3 + 2 / 5 + 2) / 2)],
        ),
        # σ(ln a − ln b) = a / (a + b)
        (Bpr(), {}, [(np.log(5 / 2) + np.log(9 / 2)) / 2, (2 * np.log(5 / 4) + np.log(6 / 4)) / 3]),
        # −log σ(ln a) = log((1 + a) / a), −log σ(−ln b) = log(1 + b)
        (Bce(), {}, [np.log(3 / 2) + np.log(4 * 8) / 2, np.log(5 / 4) + np.log(2 * 2 * 3) / 3]),
    ],
)
def test_written_out(objective: Any, changes: dict, expected: list[float]):
    for weight_B in ([1, 1], [1, 0], [0.5, 2]):
        loss, weight = objective(jnp.asarray(SCORE_BJ), *make(**{**HAND, **changes}, weight_B=weight_B))
        assert float(loss) == pytest.approx(np.dot(expected, weight_B), rel=1e-5)
        assert float(weight) == sum(weight_B)


def test_ratings_written_out():
    """A rating equal to the threshold counts as a 1."""
    examples, items = make([0, 0, 0], np.zeros((3, 1)), value_B=[5, 2, 4], weight_B=[1, 1, 0.5])
    loss, weight = BceRatings(threshold=4.0)(jnp.asarray([1.0, -2.0, 0.5]), examples, items)
    expected = -np.log(sigmoid(1.0)) - np.log(1 - sigmoid(-2.0)) - 0.5 * np.log(sigmoid(0.5))
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(weight) == 2.5


def test_tokens_written_out():
    """Of three words, of which the first token is the last, the second the first; the third is padding."""
    logit_BX = np.log([[1, 2, 5], [1, 1, 2], [9, 9, 9]]).astype(np.float32)
    predicted = Predicted(np.zeros(3, np.int32), np.array([2, 0, 1], np.int32), np.array([1, 0.5, 0], np.float32))
    loss, weight = TokenCrossEntropy()(jnp.asarray(logit_BX), predicted, None)
    assert float(loss) == pytest.approx(np.log(8 / 5) + 0.5 * np.log(4), rel=1e-6)
    assert float(weight) == 1.5


@functools.cache
def compiled(objective: Any) -> Any:
    """(loss, its gradient with respect to the scores)."""
    return jax.jit(jax.value_and_grad(lambda score, examples, items: objective(score, examples, items)[0]))


def random_step(seed: int) -> tuple[np.ndarray, Examples, Items]:
    """Every user has a valid target, which is among their positives; the rest is random, and the last row is padding."""
    draw = np.random.default_rng(seed)
    valid_J = draw.random(J) < 0.8
    valid_J[0] = True
    target_B = draw.choice(np.flatnonzero(valid_J), B)
    seen_BJ = (draw.random((B, J)) < 0.3) | (np.arange(J) == target_B[:, None])
    weight_B = np.array([1, 1, 1, 0])
    return draw.normal(0, 3, (B, J)).astype(np.float32), *make(target_B, seen_BJ, valid_J, draw.normal(size=J), weight_B)


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), far=st.sampled_from([-50.0, 0.0, 50.0]))
def test_positives_and_padding_change_nothing(objective: Any, seed: int, far: float):
    score_BJ, examples, items = random_step(seed)
    target_BJ = np.arange(J) == examples.target_B[:, None]
    out_BJ = ((examples.seen_BJ | ~items.valid_J) & ~target_BJ) | (examples.weight_B == 0)[:, None]
    loss, gradient_BJ = compiled(objective)(score_BJ, examples, items)
    assert np.isfinite(gradient_BJ).all()
    np.testing.assert_array_equal(np.asarray(gradient_BJ)[out_BJ], 0)
    other = items._replace(log_q_J=np.where(items.valid_J, items.log_q_J, far).astype(np.float32))
    assert compiled(objective)(np.where(out_BJ, far, score_BJ).astype(np.float32), examples, other)[0] == loss


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_loss_falls_as_the_target_rises_above_any_negative(objective: Any, seed: int):
    score_BJ, examples, items = random_step(seed)
    gradient_BJ = np.asarray(compiled(objective)(score_BJ, examples, items)[1])
    target_BJ = np.arange(J) == examples.target_B[:, None]
    negative_BJ = ~examples.seen_BJ & items.valid_J & (examples.weight_B > 0)[:, None]
    assert (gradient_BJ[negative_BJ] > 0).all()
    rows_B = negative_BJ.any(1)
    assert (gradient_BJ[target_BJ & rows_B[:, None]] < 0).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), by=st.permutations(range(J)))
def test_devices_add_up_and_the_order_of_items_does_not_matter(objective: Any, seed: int, by: list[int]):
    score_BJ, examples, items = random_step(seed)
    loss = float(compiled(objective)(score_BJ, examples, items)[0])
    rows = np.array([1, 1, 0, 0])  # a device's share, by weights
    shares = [examples._replace(weight_B=np.float32(examples.weight_B * some)) for some in (rows, 1 - rows)]
    total = sum(float(compiled(objective)(score_BJ, share, items)[0]) for share in shares)
    assert total == pytest.approx(loss, rel=1e-5, abs=1e-5)
    moved = examples._replace(target_B=np.argsort(by)[examples.target_B].astype(np.int32), seen_BJ=examples.seen_BJ[:, by])
    assert float(compiled(objective)(score_BJ[:, by], moved, Items(*(x_J[by] for x_J in items)))[0]) == pytest.approx(
        loss, rel=1e-5, abs=1e-5
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), times=st.lists(st.integers(1, 3), min_size=2, max_size=2), constant=st.floats(-5, 5))
def test_log_q_makes_the_sampled_softmax_the_full_one(seed: int, times: list[int], constant: float):
    """Where every item stands as often as its q says, up to a constant, the corrected softmax is the full_softmax's.

    The full_softmax has three items, the target once in the sample, the others `times`; what is left of the places is filled up.
    """
    catalogue_3 = np.random.default_rng(seed).normal(0, 3, 3)
    item_J = np.array([0, *[1] * times[0], *[2] * times[1]])
    filled = 7 - len(item_J)
    log_q_J = np.pad(np.log([1, *times])[item_J] + constant, (0, filled))
    step = make([0], np.arange(7)[None] == 0, np.arange(7) < len(item_J), log_q_J)
    score_BJ = np.pad(catalogue_3[item_J], (0, filled))[None].astype(np.float32)
    loss = compiled(Softmax(temperature=1.0, log_q=True))(score_BJ, *step)[0]
    assert float(loss) == pytest.approx(-log_softmax(catalogue_3)[0], rel=1e-4, abs=1e-4)  # scores and constants of size 10


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_user_without_negatives_has_a_finite_loss(objective: Any):
    examples, items = make([1, 2], np.ones((2, 3)))
    score_BJ = jnp.asarray([[1.0, 2.0, 3.0]] * 2)
    loss, gradient_BJ = compiled(objective)(score_BJ, examples, items)
    alone = {
        Bce: -np.log(sigmoid(2.0)) - np.log(sigmoid(3.0))
    }  # the target's term is left; there is no negative to rank it above
    assert float(loss) == pytest.approx(alone.get(type(objective), 0.0), rel=1e-6)
    assert np.isfinite(gradient_BJ).all()


def test_types_are_promoted_nowhere():
    score_BJ, examples, items = random_step(0)
    with jax.numpy_dtype_promotion("strict"):
        for objective in OBJECTIVES:
            jax.eval_shape(jax.grad(lambda s, o=objective: o(s, examples, items)[0]), jnp.asarray(score_BJ))
        jax.eval_shape(jax.grad(lambda s: BceRatings(threshold=4.0)(s, examples, items)[0]), jnp.asarray(score_BJ[:, 0]))
