"""A random BERT over characters, for tests: no asset, and no knowledge of language."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax import seeds
from cold_jax.encoders import bert, weights
from cold_jax.encoders.pooling import Pooling
from cold_jax.encoders.text_encoder import EncoderConfig, EncoderShape, Loaded, TextEncoder
from cold_jax.ranges import require
from cold_jax.storage import files

# a word-piece tokenizer whose pieces are single characters (tests/encoders/test_tiny.py builds it)
CHARACTERS = Path(__file__).with_name("characters.json")


@dataclass(frozen=True)
class Tiny(EncoderConfig):
    seed: int
    width: int
    layers: int
    heads: int
    ffn_width: int
    initial: float  # standard deviation of the parameters

    def __post_init__(self) -> None:
        super().__post_init__()
        require("encoder", self, at_least_1=["width", "layers", "heads", "ffn_width"], above_0=["initial"])
        if self.max_length is None:
            raise ValueError("encoder.max_length: a random encoder has no limit of its own; give a number")

    def __call__(self) -> Loaded:
        assert self.max_length is not None
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
        backbone = weights.abstract(bert.Bert, config, self.dtype)
        draw = seeds.generator(self.seed, "tiny encoder")
        for path, parameter in nnx.to_flat_state(nnx.state(backbone, nnx.Param)):
            constant = {"scale": 1.0, "bias": 0.0}.get(str(path[-1]))  # of norms and linear maps
            array = draw.normal(0, self.initial, parameter.shape) if constant is None else np.full(parameter.shape, constant)
            parameter.set_value(jnp.asarray(array, parameter.dtype))
        digest = files.digest(repr(config), *weights.save(backbone, bert.CHECKPOINT).values())
        shape = dataclasses.asdict(config)
        values = {key: shape[name] for name, key in bert.NAMES.items()} | {"model_type": "bert"}
        pooling = Pooling.mean if self.pooling is Pooling.auto else self.pooling
        encoder = TextEncoder(backbone, pooling, self.texts_per_row, normalize=self.normalize is not False)
        prompts = {side: prompt for side, prompt in self.prompts.items() if prompt}
        return Loaded(
            lambda: encoder, EncoderShape.of(encoder), CHARACTERS, self.max_length, self.row_length, digest, values, prompts
        )
