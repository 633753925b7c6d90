"""RoBERTa and XLM-R against torch's."""

import json
from pathlib import Path

import pytest
import states
from states import PARITY

from cold_jax.encoders import roberta
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("name", ["roberta", "xlm_roberta"])
@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(name: str, texts_per_row: int) -> None:
    state, vector = states.parity(name, texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


def test_the_longest_text_leaves_room_for_the_padding_s_positions() -> None:
    assert roberta.config(PARITY / "roberta/config.json").max_positions == 64  # of a table of 66


def test_config_refuses_a_decoder(tmp_path: Path) -> None:
    values = json.loads((PARITY / "roberta/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "is_decoder": True}))
    with pytest.raises(WeightsError, match="is_decoder True is not supported; supported: False"):
        roberta.config(tmp_path / "config.json")
