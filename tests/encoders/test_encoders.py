"""Pooling, the choices of encoders and what they refuse."""

import hashlib
import json
import shutil
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import states
from flax import nnx
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from cold_jax.encoders import CHARACTERS, EncoderShape, Loaded, Pretrained, Tiny
from cold_jax.encoders.pooling import Pooling, pool
from cold_jax.errors import DataError, WeightsError
from cold_jax.storage import assets
from cold_jax.text.packing import Rows, pack
from cold_jax.text.tokens import tokenize

SMALL = Path(__file__).parents[1] / "parity/bert_small"
TINY = replace(small.ENCODER, initial=0.1, row_length=32)
FOLDER = replace(states.HUB, max_length=64, pooling=Pooling.mean, normalize=True)


_both = jax.jit(lambda encoder, rows: (encoder.states(rows), encoder(rows)))


def _rows(loaded: Loaded, texts: list[str]) -> tuple[Rows, np.ndarray]:
    tokens = tokenize(loaded.tokenizer, texts, loaded.max_length)
    return pack(tokens, np.arange(len(texts)), loaded.row_length, loaded.encoder.texts_per_row, 2)


@pytest.mark.parametrize(
    ("pooling", "of"),
    [
        (Pooling.mean, lambda x_LD: x_LD.mean(0)),
        (Pooling.cls, lambda x_LD: x_LD[0]),
        (Pooling.last, lambda x_LD: x_LD[-1]),
        (Pooling.weighted_mean, lambda x_LD: np.average(x_LD, 0, 1.0 + np.arange(len(x_LD)))),
    ],
)
def test_pooling(pooling: Pooling, of: Callable[[np.ndarray], np.ndarray]) -> None:
    loaded = replace(TINY, pooling=pooling)()
    rows, slot_T = _rows(loaded, ["a cook", "the end of it", "b"])
    x_RLD, vector_TD = map(np.asarray, _both(loaded.encoder, rows))
    assert vector_TD.shape == (2 * 4, 16)
    for t, slot in enumerate(slot_T):
        pooled_D = of(x_RLD[(rows.text_RL == t) & (rows.segment_RL > 0)])
        np.testing.assert_allclose(vector_TD[slot], pooled_D / np.linalg.norm(pooled_D), atol=1e-6)
    empty = np.setdiff1d(np.arange(8), slot_T)
    np.testing.assert_array_equal(vector_TD[empty], 0)


@pytest.mark.parametrize("pooling", [pooling for pooling in Pooling if pooling not in (Pooling.auto, Pooling.max)])
def test_pooling_has_a_gradient_beside_empty_slots_and_rows(pooling: Pooling) -> None:
    rows, _ = _rows(TINY(), ["a cook", "b"])
    assert not rows.segment_RL[1].any()
    x_RLD = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 3)), jnp.float32)
    gradient_RLD = jax.grad(lambda x_RLD: pool(x_RLD, rows, pooling, 4, True)[:, 0].sum())(x_RLD)
    assert np.isfinite(gradient_RLD).all()
    last_RL = rows.segment_RL != np.pad(rows.segment_RL[:, 1:], ((0, 0), (0, 1)))
    read = {Pooling.cls: rows.position_RL == 0, Pooling.last: last_RL}
    pooled_RL = (rows.segment_RL > 0) & read.get(pooling, True)
    np.testing.assert_array_equal(np.asarray(gradient_RLD).any(-1), pooled_RL)


def _loss(loaded: Loaded, rows: Rows) -> tuple[nnx.State, Callable[[nnx.State], jax.Array]]:
    graph, parameters, rest = nnx.split(loaded.encoder, nnx.Param, ...)
    target_D = jnp.arange(16, dtype=jnp.float32)
    return parameters, lambda parameters: (nnx.merge(graph, parameters, rest)(rows) @ target_D).sum()


def test_the_gradient_is_the_difference_quotient() -> None:
    """With checkpointing, scanning, packing and pooling in between, empty slots and an empty row beside the texts."""
    loaded = TINY()
    parameters, loss = _loss(loaded, _rows(loaded, ["a cook", "the end of it"])[0])
    value, gradient = jax.jit(loss), jax.jit(jax.grad(loss))(parameters)
    for path, leaf in nnx.to_flat_state(gradient):
        assert np.isfinite(leaf[...]).all(), path
        assert np.any(leaf[...]) or path[-2:] == ("key", "bias"), path  # softmax does not see what all keys share
    draw = np.random.default_rng(0)
    direction = jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), leaf.dtype), parameters)
    along = sum(np.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    ahead, back = (value(jax.tree.map(lambda p, d, s=s: p + s * 1e-3 * d, parameters, direction)) for s in (1, -1))
    assert float(along) == pytest.approx(float(ahead - back) / 2e-3, rel=1e-2)  # float32, and the third derivative's share


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_types_are_promoted_nowhere(dtype: str) -> None:
    loaded = replace(TINY, dtype=dtype)()
    parameters, loss = _loss(loaded, _rows(loaded, ["a cook"])[0])
    with jax.numpy_dtype_promotion("strict"):
        gradient = jax.eval_shape(jax.grad(loss), parameters)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}


def test_tiny_is_a_function_of_its_fields() -> None:
    first, again, other = TINY(), TINY(), replace(TINY, seed=1)()
    rows, slot_T = _rows(first, ["a cook", "Éclair!"])
    vector_TD = np.asarray(_both(first.encoder, rows)[1])[slot_T]
    np.testing.assert_array_equal(vector_TD, np.asarray(_both(again.encoder, rows)[1])[slot_T])
    np.testing.assert_allclose(np.linalg.norm(vector_TD, axis=1), 1, atol=1e-6)
    assert first.digest == again.digest != other.digest
    assert not np.allclose(vector_TD, np.asarray(_both(other.encoder, rows)[1])[slot_T])


def test_characters_is_what_the_library_writes() -> None:
    """If it moved after an upgrade of tokenizers: write `built.to_str()` and a newline to cold_jax/encoders/characters.json."""
    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation, *letters, *(f"##{c}" for c in letters)]
    built = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    built.normalizer = normalizers.BertNormalizer(lowercase=True)
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    built.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    assert CHARACTERS.read_text() == built.to_str() + "\n"
    assert built.encode("Été 7!").tokens == ["[CLS]", "e", "##t", "##e", "7", "!", "[SEP]"]


def test_a_folder_of_a_checkpoint(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(SMALL / name, tmp_path)
    config = replace(FOLDER, id=str(tmp_path))
    with pytest.raises(
        ValueError, match=rf"{tmp_path}: no tokenizer.json .* AutoTokenizer as A; A.from_pretrained\('{tmp_path}'\)"
    ):
        config()
    shutil.copy(CHARACTERS, tmp_path / "tokenizer.json")
    loaded = config()
    name = "encoder.layer.0.attention.self.query.weight"
    original = load_file(SMALL / "model.safetensors")[name]
    assert "encoder" not in vars(loaded), "weights are read on first use"
    assert loaded.shape == EncoderShape.of(loaded.encoder)
    np.testing.assert_array_equal(loaded.encoder.backbone.layers.attention.query.kernel[...][0], original.T)
    with pytest.raises(ValueError, match=r"encoder.max_length: 65, but .*config.json has 64 positions"):
        replace(config, max_length=65)()

    weights_file = tmp_path / "model.safetensors"
    content = bytearray(weights_file.read_bytes())
    content[-1] ^= 1
    weights_file.write_bytes(content)
    assert config().digest != loaded.digest
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=rf"{tmp_path}: no config.json"):
        config()


def test_a_tokenizer_of_another_model_is_refused_by_the_token_that_the_embedding_lacks(tmp_path: Path) -> None:
    """Its vector would be NaN."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(SMALL / name, tmp_path)
    tokenizer = Tokenizer.from_file(str(CHARACTERS))
    rows = json.loads((SMALL / "config.json").read_text())["vocab_size"]
    tokenizer.add_tokens([f"<extra{n}>" for n in range(rows - tokenizer.get_vocab_size() + 1)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = replace(FOLDER, id=str(tmp_path))()
    last = tokenizer.id_to_token(rows)
    assert len(loaded.tokenize(["a text", tokenizer.id_to_token(rows - 1)], "items").token_N)
    with pytest.raises(
        WeightsError, match=rf"tokenizer.json: token '{last}' has id {rows}, and the encoder's embedding has {rows} rows"
    ):
        loaded.tokenize(["a text", last], "items")


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (TINY, {"max_length": 0}, "encoder.max_length: 0 must be 1 or more"),
        (TINY, {"texts_per_row": -1}, "encoder.texts_per_row: -1 must be 1 or more"),
        (FOLDER, {"dtype": "float16"}, "encoder.dtype: 'float16' is not one of float32, bfloat16"),
        (FOLDER, {"id": None}, "encoder: give either encoder.id"),
        (FOLDER, {"id": None, "package": "p==1", "sha256": "0"}, "encoder: give either encoder.id"),
        (FOLDER, {"package": "p==1"}, "encoder: give either encoder.id"),
    ],
)
def test_wrong_settings_are_refused_by_name(config: Tiny | Pretrained, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(config, **changes)


@pytest.mark.assets
def test_minilm_knows_what_is_alike() -> None:
    loaded = states.MINILM()
    rows, slot_T = _rows(loaded, ["A comedy about a cook", "A funny film on cooking", "The stock market fell"])
    vector_TD = np.asarray(_both(loaded.encoder, rows)[1])[slot_T]
    alike_TT = vector_TD @ vector_TD.T
    assert alike_TT[0, 1] > 0.6 > 0.3 > max(alike_TT[0, 2], alike_TT[1, 2])


@pytest.mark.parametrize("name", sorted(path.parent.name for path in SMALL.parent.glob("*/config.json")))
def test_what_is_known_before_the_weights_is_so(name: str, tmp_path: Path) -> None:
    shutil.copytree(SMALL.parent / name, tmp_path / name)
    shutil.copy(CHARACTERS, tmp_path / name / "tokenizer.json")
    loaded = replace(FOLDER, max_length=8, id=str(tmp_path / name), pooling=Pooling.auto, normalize=None)()
    assert loaded.shape == EncoderShape.of(loaded.encoder)
    assert loaded.read() is loaded.encoder


def test_packaged_weights_are_checked_when_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SMALL, tmp_path / "bert")
    shutil.copy(CHARACTERS, tmp_path / "bert/tokenizer.json")
    sound = hashlib.sha256((SMALL / "model.safetensors").read_bytes()).hexdigest()

    def fetch(package: str, sha256: str, members: list[str], later: list[str]) -> dict[str, Path]:
        assert later == ["bert/model.safetensors"]
        return {member: tmp_path / member for member in members}

    monkeypatch.setattr(assets, "fetch", fetch)
    monkeypatch.setattr(assets, "digest_of", lambda sha256, member: sound)
    packaged = replace(FOLDER, id=None, package="a==1", sha256="0" * 64, member="bert")
    assert packaged().digest == replace(FOLDER, id=str(tmp_path / "bert"))().digest
    assert packaged().encoder.width == 32
    content = bytearray((SMALL / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "bert/model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=f"sha256 .* where {sound} is expected"):
        _ = packaged().encoder
