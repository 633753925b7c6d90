"""Encoders in other libraries' folders: φ for transformers and sentence-transformers, Δθ of a LoRA for PEFT."""

import json
import math
import operator
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from tokenizers import Tokenizer

from cold_jax.adapters.lora import Lora
from cold_jax.encoders import ARCHITECTURES, Loaded, TextEncoder, weights
from cold_jax.encoders.pooling import Pooling
from cold_jax.errors import WeightsError

# sentence-transformers' words for how a text's vector is pooled
POOLING = {
    Pooling.mean: "pooling_mode_mean_tokens",
    Pooling.cls: "pooling_mode_cls_token",
    Pooling.last: "pooling_mode_lasttoken",
    Pooling.weighted_mean: "pooling_mode_weightedmean_tokens",
}


PADDING = ("[PAD]", "<pad>", "<|endoftext|>", "<|im_end|>", "</s>")  # any will do: what is padded is masked


def write_encoder(folder: Path, loaded: Loaded, phi: TextEncoder) -> None:
    """A checkpoint with tokenizer, pooling and normalisation. `phi` is a plain encoder of the shape of `loaded`."""
    a = ARCHITECTURES[loaded.config["model_type"]]
    tokenizer = Tokenizer.from_file(str(loaded.tokenizer))
    config = {key: value for key, value in loaded.config.items() if key not in ("architectures", "torch_dtype")}
    files: dict[str, Any] = {
        "config.json": {**config, "dtype": "float32"},
        "tokenizer.json": json.loads(loaded.tokenizer.read_text()),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": loaded.max_length,
            "model_input_names": ["input_ids", "attention_mask"],
            "pad_token": next((token for token in PADDING if tokenizer.token_to_id(token) is not None), None),
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": loaded.max_length, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": phi.width,
            **{name: pooling is phi.pooling for pooling, name in POOLING.items()},
        },
    }
    (folder / "2_Normalize").mkdir(parents=True)
    tensors = weights.save(phi.backbone, a.table(phi.backbone.config), a.given)
    (folder / "model.safetensors").write_bytes(save(tensors, {"format": "pt"}))
    _write(folder, files)


def write_peft(folder: Path, loaded: Loaded, lora: Lora, delta: Mapping[str, np.ndarray], base: str) -> None:
    """Δθ of a LoRA as an adapter of the checkpoint `base`; `delta` as adapters.delta gives it.

    Where a checkpoint keeps several of our linear maps in one, theirs has the ranks of all: A below A, and B in blocks. DoRA's m of a map that
    isn't adapted is what it is at first.
    """
    backbone: Any = loaded.encoder.backbone
    a, layers = ARCHITECTURES[loaded.config["model_type"]], backbone.config.layers
    tensors, ranks, alphas = {}, {}, {}
    for name, (paths, _) in a.table(backbone.config).items():
        paths = (paths,) if isinstance(paths, str) else paths
        adapted = [
            path.removesuffix(".kernel") for path in paths if f"encoder.backbone.{path.removesuffix('.kernel')}.A" in delta
        ]
        if not adapted or not paths[0].endswith(".kernel"):
            continue
        A, B = ({path: delta[f"encoder.backbone.{path}.{part}"] for path in adapted} for part in "AB")
        outs = [operator.attrgetter(path)(backbone).shape[-1] for path in paths]
        first = layers - len(A[adapted[0]])
        for layer in range(first, layers):
            module = name.removesuffix(".weight").format(layer=layer)
            rank = lora.rank * len(adapted)
            b = np.zeros((sum(outs), rank), np.float32)
            for n, path in enumerate(adapted):
                place = [p.removesuffix(".kernel") for p in paths].index(path)
                rows = slice(sum(outs[:place]), sum(outs[: place + 1]))
                b[rows, n * lora.rank : (n + 1) * lora.rank] = B[path][layer - first].T
            stem = f"base_model.model.{module}"
            tensors[f"{stem}.lora_A.weight"] = np.concatenate([A[path][layer - first].T for path in adapted]).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = b
            if lora.dora:
                sizes = [_size(backbone, path.removesuffix(".kernel"), delta, layer, first) for path in paths]
                tensors[f"{stem}.lora_magnitude_vector"] = np.concatenate(sizes).astype(np.float32)
            ranks[module], alphas[module] = rank, lora.scale * (math.sqrt(rank) if lora.rslora else rank)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "use_rslora": lora.rslora,
        "use_dora": lora.dora,
        "lora_dropout": lora.dropout,
        "target_modules": sorted(ranks),
        "rank_pattern": {module: rank for module, rank in ranks.items() if rank != lora.rank},
        "alpha_pattern": {module: alpha for module, alpha in alphas.items() if ranks[module] != lora.rank},
        "fan_in_fan_out": loaded.config["model_type"] == "gpt2",
        "bias": "none",
        "inference_mode": True,
    }
    folder.mkdir(parents=True)
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    (folder / "adapter_model.safetensors").write_bytes(save(tensors))
    _write(folder, {"adapter_config.json": config})


def _size(backbone: Any, path: str, delta: Mapping[str, np.ndarray], layer: int, first: int) -> np.ndarray:
    if (m := delta.get(f"encoder.backbone.{path}.magnitude")) is not None:
        return m[layer - first]
    return np.linalg.norm(np.asarray(operator.attrgetter(f"{path}.kernel")(backbone)[layer]), axis=0)


def init_from_peft(encoder: TextEncoder, loaded: Loaded, lora: Lora) -> None:
    """Sets A and B of an adapted encoder to those of the PEFT adapter in the folder `lora.init_from`.

    Raises WeightsError where it is another kind of adapter, of another rank or scale, or of other layers.
    """
    folder = Path(str(lora.init_from))
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"adapter.init_from: {folder} is no folder of a PEFT adapter ({error})") from None
    ours = {"peft_type": "LORA", "r": lora.rank, "lora_alpha": lora.alpha, "use_rslora": lora.rslora, "use_dora": lora.dora}
    plain = {"bias": "none", "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None}
    for key, value in {**ours, **plain}.items():
        if key in config and (theirs := config[key]) != value and (theirs or value):
            named_ours = {"r": "rank", "lora_alpha": "alpha", "use_rslora": "rslora", "use_dora": "dora"}
            own = f"adapter.{named_ours[key]}" if key in named_ours else None
            told = f"give {own}={theirs}".lower() if own else f"only {value!r} is read"
            raise WeightsError(
                f"adapter.init_from: {folder}/adapter_config.json has {key} {theirs!r}, here it is {value!r}; {told}"
            )
    a, backbone = ARCHITECTURES[loaded.config["model_type"]], loaded.encoder.backbone
    named = {}
    for name, tensor in tensors.items():
        checkpoint, kind, _ = re.split(r"\.lora_(A|B|magnitude_vector)\b", f"{name.removeprefix('base_model.model.')}.lora_A")[:3]
        checkpoint = f"{checkpoint}.weight"
        for pattern, replacement in a.renamed:
            checkpoint = re.sub(pattern, replacement, checkpoint)
        named[checkpoint, "magnitude" if kind == "magnitude_vector" else kind] = tensor
    layers, last = range(backbone.config.layers), lora.last or backbone.config.layers  # type: ignore[attr-defined]
    found: dict[str, np.ndarray] = {}
    for name, (paths, _) in a.table(backbone.config).items():
        at = [name.format(layer=layer) for layer in layers][-last:]
        paths = (paths,) if isinstance(paths, str) else paths
        parts = ("A", "B", "magnitude") if lora.dora else ("A", "B")
        if all((each, part) in named for each in at for part in parts):
            outs = np.cumsum([operator.attrgetter(path)(backbone).shape[-1] for path in paths])[:-1]
            for part in parts:
                whole = np.stack([named.pop((each, part)).T for each in at])
                pieces = [whole] * len(paths) if part == "A" else np.split(whole, outs, -1)
                found |= {f"backbone.{path.removesuffix('kernel')}{part}": x for path, x in zip(paths, pieces, strict=True)}
    variables = {".".join(map(str, path)): v for path, v in nnx.to_flat_state(nnx.state(encoder, nnx.LoRAParam))}
    if named or found.keys() != variables.keys():
        theirs = sorted({name.removesuffix(".A").removesuffix(".B") for name in found} | {name for name, _ in named})
        mine = sorted({name.removesuffix(".A") for name in variables if name.endswith(".A")})
        raise WeightsError(
            f"adapter.init_from: {folder} adapts {', '.join(theirs)}; adapter.targets and adapter.layers choose {', '.join(mine)}"
        )
    for name, variable in variables.items():
        if found[name].shape != variable.shape:
            raise WeightsError(
                f"adapter.init_from: {folder} has {name} of shape {found[name].shape}, the encoder {variable.shape}"
            )
        variable.set_value(jnp.asarray(found[name], variable.dtype))


def _write(folder: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
