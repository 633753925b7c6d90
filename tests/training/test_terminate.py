"""Signals at a training that is under way; what the loop makes of them is in test_loop.py."""

import signal

import pytest

from cold_jax.training.terminate import TERMINATED, Terminate


def test_sigterm_after_the_warning_waits_for_the_step_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm warns by SIGUSR2 and sends SIGTERM at the end of the grace period; only a second SIGTERM ends the process at once."""
    ended: list[int] = []
    monkeypatch.setattr("cold_jax.training.terminate.os._exit", ended.append)
    terminate = Terminate()
    terminate.warned = lambda number, frame: None
    terminate._request_requeue(signal.SIGUSR2, None)
    terminate._request(signal.SIGTERM, None)
    assert (terminate.requested, ended) == (True, [])

    terminate = Terminate()
    terminate._request(signal.SIGTERM, None)
    terminate._request(signal.SIGTERM, None)
    assert ended == [TERMINATED]
