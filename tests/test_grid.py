"""Any adapter on any encoder, by configuration alone: every architecture of tests/parity, with characters for tokens."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import small
import states
from flax import nnx
from hydra import compose, initialize_config_dir
from states import PARITY

from cold_jax import CONF, config, experiment
from cold_jax.encoders import ARCHITECTURES, architecture
from cold_jax.encoders.layers import Linear
from cold_jax.errors import WeightsError

ENCODERS = [
    "bert_small",
    "roberta",
    "distilbert",
    "mpnet",
    "modernbert",
    "gpt2",
    "llama",
    "qwen2",
    "qwen3",
    "t5",
    "gemma3",
    "nomic_bert",
    "gte",
]
NO_BIASES = ("llama", "modernbert", "qwen3", "t5")
SMALL = [
    "data.users=24",
    "data.items=20",
    "encoder.max_length=24",
    "encoder.row_length=32",
    "batching.size=8",
    "loop.microbatch_rows=2",
]


@pytest.fixture(scope="module")
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a random encoder that reads characters."""
    return states.write(tmp_path_factory.mktemp(request.param), request.param)


def test_the_grid_has_every_architecture() -> None:
    kinds = {json.loads((PARITY / name / "config.json").read_text())["model_type"] for name in ENCODERS}
    assert kinds | {"xlm-roberta", "mt5", "new"} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ENCODERS)
def test_linear_layers_have_the_same_names_everywhere(name: str) -> None:
    """So the same patterns hit them."""
    a = architecture(PARITY / name / "config.json")
    config = a.config(PARITY / name / "config.json")
    backbone = nnx.eval_shape(lambda: a.model(config, jnp.dtype("float32"), rngs=nnx.Rngs(0)))
    linears = {".".join(map(str, path)) for path, module in nnx.iter_modules(backbone) if isinstance(module, Linear)}
    wanted = {f"layers.attention.{part}" for part in ("query", "key", "value", "output")} | {"layers.mlp.up", "layers.mlp.down"}
    assert linears - {"layers.mlp.gate"} == wanted


@pytest.mark.slow  # ten seconds each, compilation for the most part
@pytest.mark.parametrize("checkpoint", ENCODERS, indirect=True)
@pytest.mark.parametrize("adapter", ["full", "lora", "dora", "bitfit", "frozen"])
def test_an_adapter_learns_on_an_encoder(checkpoint: Path, adapter: str) -> None:
    overrides = ["+experiment=smoke", "encoder=hub", f"encoder.id={checkpoint}", f"adapter={adapter}", *SMALL]
    with initialize_config_dir(CONF, version_base="1.3"):
        s = config.settings(compose("train", overrides))
    q = experiment.prepare(s)
    if adapter == "bitfit" and json.loads((checkpoint / "config.json").read_text())["model_type"] in NO_BIASES:
        with pytest.raises(WeightsError, match="this encoder has none"):
            experiment.setup(s, q)
        return
    le = experiment.setup(s, q)
    before = small.leaves(le.partition.frozen)
    losses, states = small.fit(le, s.objective, small.DESCENT, 2)
    assert np.isfinite(losses).all()
    start, end = (small.leaves(state.trainable) for state in (states[0], states[-1]))
    inside = {name for name in end if "['encoder']" in name}
    still = {name for name in inside if np.array_equal(start[name], end[name])}
    if adapter == "frozen":
        assert not inside
    elif adapter == "bitfit":
        assert all("['bias']" in name for name in inside)
        assert len(still) < len(inside)
    elif adapter in ("lora", "dora"):
        parts = ("query", "value")
        wanted = {
            f"['{part}']['{x}'].value" for part in parts for x in (("A", "B") if adapter == "lora" else ("A", "B", "magnitude"))
        }
        assert {name.split("['attention']")[1] for name in inside} == wanted
        assert not still
    else:
        assert sum("['attention']" in name for name in inside) >= 4
        assert all("['key']['bias']" in name or "['type']" in name for name in still)  # softmax does not see what all keys share
    for name, leaf in small.leaves(le.partition.frozen).items():
        np.testing.assert_array_equal(leaf, before[name])
