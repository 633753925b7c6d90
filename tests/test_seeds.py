"""Named keys: the same draws on every machine and in every process, other draws for every other name."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_jax import seeds

NAMES = st.tuples(st.integers(0, 2**31 - 1), st.sampled_from(["order", "draw", "dropout"]), st.integers(0, 2**31 - 1))


def bits(name: tuple[int, str, int]) -> tuple[int, ...]:
    return tuple(np.asarray(jax.random.key_data(seeds.key(*name))).tolist())


def test_draws_are_pinned():
    """A checkpoint counts on these: what they were when a run was killed they must be when it goes on, in another process."""
    assert seeds.generator(3, "order", 1).permutation(8).tolist() == [4, 1, 5, 2, 6, 7, 3, 0]
    assert bits((3, "dropout", 1)) == (2421404648, 1738221614)


@settings(max_examples=30, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=5, unique=True))
def test_other_names_are_other_draws(names: list[tuple[int, str, int]]):
    assert len({bits(name) for name in names}) == len(names)
    assert len({seeds.generator(*name).bytes(16) for name in names}) == len(names)
    assert [seeds.generator(*name).bytes(16) for name in names] == [seeds.generator(*name).bytes(16) for name in names]


def test_each_counter_counts():
    assert bits((0, "dropout", 1)) != tuple(np.asarray(jax.random.key_data(seeds.key(0, "dropout", 1, 0))).tolist())
    draws = {seeds.generator(0, "draw", *counters).bytes(16) for counters in [(1, 2), (2, 1), (1, 1), (2, 2), (1, 3)]}
    assert len(draws) == 5


def test_a_step_counted_on_the_device_is_the_same_step():
    """The loop's step is an array inside of a compiled function; a resumed run's is read from a file."""
    traced = jax.jit(lambda step: jax.random.key_data(seeds.key(3, "dropout", step)))(np.int32(1))
    assert tuple(np.asarray(traced).tolist()) == bits((3, "dropout", 1))
