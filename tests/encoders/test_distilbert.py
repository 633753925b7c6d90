"""DistilBERT against torch's."""

import pytest
import states


@pytest.mark.parametrize("texts_per_row", [1, 8])
def test_parity(texts_per_row: int) -> None:
    state, vector = states.parity("distilbert", texts_per_row)
    assert state < 1e-5
    assert vector < 1e-5


def test_parity_notices_swapped_parameters() -> None:
    one, other = (f"transformer.layer.{{layer}}.attention.{name}_lin.weight" for name in "qk")
    assert states.parity("distilbert", 8, (one, other))[0] > 1e-2
