"""The small data that closed forms are fitted to."""

import pytest
from fitted import small_train

from cold_jax.splits.tasks import TrainView


@pytest.fixture(scope="session")
def train() -> TrainView:
    return small_train()
