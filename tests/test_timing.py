"""Seconds by name against the clock's, and JAX's compilation among them."""

import time

import jax
import jax.numpy as jnp
import pytest

from cold_jax.timing import COMPILE, gathered, timed


def test_what_is_reported_within_is_summed_by_name() -> None:
    with timed("before"), gathered() as seconds:
        for _ in range(2):
            with timed("outer"):
                time.sleep(0.02)
                with timed("inner"):
                    time.sleep(0.03)
    with timed("after"):
        pass
    assert seconds.keys() == {"outer", "inner"}
    assert 0.06 <= seconds["inner"] < seconds["outer"] - 0.03
    assert seconds["outer"] < 1


def test_compilation_is_there_once_for_a_program() -> None:
    program = jax.jit(lambda x: jnp.cos(x) @ x)
    x = jnp.ones((8, 8))
    with gathered() as first:
        program(x).block_until_ready()
    with gathered() as again:
        program(x).block_until_ready()
    assert first["compile"] > 0
    assert "compile" not in again


def test_a_part_that_fails_ends_the_gathering() -> None:
    with pytest.raises(KeyError), gathered() as seconds:
        raise KeyError
    with timed("later"):
        pass
    assert not seconds


@pytest.mark.parametrize("seconds", [-86_400.0, 1e9])
def test_a_clock_that_is_set_meanwhile_makes_no_absurd_duration(seconds: float) -> None:
    with gathered() as found:
        jax.monitoring.record_event_duration_secs(COMPILE + "backend_compile_duration", seconds)
    assert 0 <= found["compile"] < 60
