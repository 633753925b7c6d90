"""MPNet against torch's, in texts long enough for every bucket."""

import json
from pathlib import Path

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


def test_config_refuses_other_buckets(tmp_path: Path) -> None:
    values = json.loads((PARITY / "mpnet/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "relative_attention_num_buckets": 16}))
    with pytest.raises(WeightsError, match="relative_attention_num_buckets 16 is not supported; supported: 32"):
        mpnet.config(tmp_path / "config.json")
