"""φ as a folder that transformers and sentence-transformers load: the same vectors from the same texts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from cold_jax.encoders import ARCHITECTURES, Loaded, TextEncoder, weights
from cold_jax.encoders.pipeline import POOLINGS
from cold_jax.text.tokens import read_tokenizer

PADDING = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "<|im_end|>", "</s>")  # any will do: padding is masked
_TORCH = "torch.nn.modules.activation."


def write_encoder(folder: Path, loaded: Loaded, phi: TextEncoder) -> None:
    """A checkpoint with tokenizer, pooling, linear maps, normalisation and prompts. `phi` is a plain encoder of the shape of `loaded`."""
    a = ARCHITECTURES[loaded.config["model_type"]]
    shape: Any = phi.backbone.config  # type: ignore[attr-defined]
    tensors = weights.save(phi.backbone, a.table(shape), a.given)
    config = {
        key: value for key, value in a.exported(loaded.config).items() if key not in ("architectures", "torch_dtype", "auto_map")
    }
    tokenizer, pad_token, rows = _with_padding(loaded, shape.vocabulary)
    if rows > shape.vocabulary:  # the tokenizer had no token that could stand for padding
        name = next(name for name, (path, _) in a.names.items() if path == "embeddings.word.embedding")
        tensors[name] = np.pad(tensors[name], ((0, rows - shape.vocabulary), (0, 0)))
        config["vocab_size"] = rows
    modules = ["Transformer", "Pooling", *["Dense"] * len(phi.dense), *["Normalize"] * phi.normalize]
    paths = ["", *(f"{n}_{kind}" for n, kind in enumerate(modules) if n)]
    for path in paths:
        (folder / path).mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(save(tensors, {"format": "pt"}))
    files: dict[str, Any] = {
        "config.json": {**config, "dtype": "float32"},
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": loaded.max_length,
            "model_input_names": ["input_ids", "attention_mask"],
            "pad_token": pad_token,
            "extra_special_tokens": sorted(
                {t["content"] for t in tokenizer.get("added_tokens", []) if t["special"]} - {pad_token}
            ),
            "truncation_side": ((tokenizer.get("truncation") or {}).get("direction") or "Right").lower(),
        },
        "modules.json": [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (kind, path) in enumerate(zip(modules, paths, strict=True))
        ],
        "sentence_bert_config.json": {"max_seq_length": loaded.max_length, "do_lower_case": False},
        "config_sentence_transformers.json": _prompts(loaded.prompts),
        "1_Pooling/config.json": {
            "word_embedding_dimension": phi.state_width,
            **{f"pooling_mode_{name}": pooling is phi.pooling for name, pooling in POOLINGS.items()},
            "include_prompt": not loaded.left_out,
        },
    }
    for path, dense in zip(paths[2:], phi.dense, strict=False):
        kernel, bias = np.asarray(dense.kernel[...]), None if dense.bias is None else np.asarray(dense.bias[...])
        linear = {"linear.weight": np.ascontiguousarray(kernel.T)} | ({} if bias is None else {"linear.bias": bias})
        (folder / path / "model.safetensors").write_bytes(save(linear, {"format": "pt"}))
        module = "torch.nn.modules.linear." if dense.activation == "Identity" else _TORCH
        files[f"{path}/config.json"] = {
            "in_features": kernel.shape[0],
            "out_features": kernel.shape[1],
            "bias": bias is not None,
            "activation_function": module + dense.activation,
        }
    write_json(folder, files)


def _prompts(prompts: Mapping[str, str]) -> dict[str, Any]:
    """config_sentence_transformers.json; what is encoded without a word on its side is an item."""
    named = {side: prompts.get(side, "") for side in ("users", "items", "queries")}
    named |= {"query": named["queries"], "document": named["items"]}
    return {
        "prompts": named,
        "default_prompt_name": "items" if named["items"] else None,
        "similarity_fn_name": "cosine",
        "model_type": "SentenceTransformer",
    }


def _with_padding(loaded: Loaded, vocabulary: int) -> tuple[dict[str, Any], str, int]:
    """The tokenizer.json, a token of it for padding, and the rows that the embedding needs for it.

    Of the tokens that no text is split into the first of: the one that the config names, one of PADDING, any special one. Where there is none
    a new one is added.
    """
    content = json.loads(loaded.tokenizer.read_text())
    tokenizer = read_tokenizer(loaded.tokenizer)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    own = loaded.config.get("pad_token_id")
    named = tokenizer.id_to_token(own) if isinstance(own, int) and own >= 0 else None
    known = [token for token in PADDING if tokenizer.token_to_id(token) is not None]
    wanted = [*([named] if named in special or named in PADDING else []), *known, *sorted(special)]
    fitting = [token for token in wanted if token is not None and int(tokenizer.token_to_id(token) or 0) < vocabulary]
    if fitting:
        return content, fitting[0], vocabulary
    new = max(tokenizer.get_vocab().values()) + 1
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content["added_tokens"] = [*content.get("added_tokens", []), {"id": new, "content": "[PAD]", **token}]
    return content, "[PAD]", max(vocabulary, new + 1)


def write_json(folder: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
