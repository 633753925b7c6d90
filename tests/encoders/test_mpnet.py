"""MPNet against torch's, in texts long enough for every bucket."""

import json
from pathlib import Path

import numpy as np
import pytest
import states
from states import PARITY

from cold_jax.encoders import mpnet
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(texts_per_row: int) -> None:
    state, vector = states.parity("mpnet", texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


def test_buckets() -> None:
    """By hand: 8 exact ones, then log(n / 8) / log(16) · 8 more; 16 on for tokens ahead."""
    distance = np.array([0, -1, -7, -8, -11, -12, -16, -127, -128, -300, 1, 7, 8, 300])
    np.testing.assert_array_equal(mpnet.buckets(distance), [0, 1, 7, 8, 8, 9, 10, 15, 15, 15, 17, 23, 24, 31])


def test_config_refuses_other_buckets(tmp_path: Path) -> None:
    values = json.loads((PARITY / "mpnet/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "relative_attention_num_buckets": 16}))
    with pytest.raises(WeightsError, match="relative_attention_num_buckets 16 is not supported; supported: 32"):
        mpnet.config(tmp_path / "config.json")
