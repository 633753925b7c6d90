"""Δθ of a LoRA as PEFT keeps it, both ways."""

import math
import operator
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save

from cold_jax.adapters.huggingface import write_encoder, write_json
from cold_jax.adapters.lora import Lora
from cold_jax.encoders import ARCHITECTURES, Loaded, TextEncoder, weights
from cold_jax.encoders.weights import Architecture, read_json
from cold_jax.errors import WeightsError

# keys of adapter_config.json that leave the result as it is: where the base is, how it was trained, which modules (the tensors say it too)
_WITHOUT_EFFECT = {
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "lora_ga_config",
    "loftq_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
}
# keys that can be honoured in these values alone; init_lora_weights: the others change the base's weights too
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
    "use_qalora": (False, None),
    "lora_bias": (False, None),
}
# what a file means that leaves them out
_ABSENT = {"peft_type": None, "r": 8, "lora_alpha": 8, "use_rslora": False, "use_dora": False}
# keys that are ours under another name
_SETTINGS = {"r": "rank", "lora_alpha": "alpha", "use_rslora": "rslora", "use_dora": "dora"}


def write_peft(folder: Path, loaded: Loaded, lora: Lora, delta: Mapping[str, np.ndarray]) -> None:
    """Δθ of a LoRA as an adapter of the checkpoint that `loaded` was read from; `delta` as merge.delta gives it.

    An encoder that is no checkpoint is written beside it, in the folder base_model. Where a checkpoint keeps several of our linear maps
    in one, theirs has the ranks of all: A below A, and B in blocks. DoRA's magnitude of a map that isn't adapted is what it is at first.
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
        "base_model_name_or_path": loaded.name or str((folder / "base_model").resolve()),
        "task_type": "FEATURE_EXTRACTION",
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
    if loaded.name is None:
        write_encoder(folder / "base_model", loaded, loaded.encoder)
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    (folder / "adapter_model.safetensors").write_bytes(save(tensors))
    write_json(folder, {"adapter_config.json": config})


def _size(backbone: Any, path: str, delta: Mapping[str, np.ndarray], layer: int, first: int) -> np.ndarray:
    if (m := delta.get(f"encoder.backbone.{path}.magnitude")) is not None:
        return m[layer - first]
    return np.linalg.norm(np.asarray(operator.attrgetter(f"{path}.kernel")(backbone)[layer]), axis=0)


def init_from_peft(encoder: TextEncoder, loaded: Loaded, lora: Lora) -> None:
    """Sets A and B of an adapted encoder to those of the PEFT adapter in the folder `lora.init_from`.

    Raises:
      WeightsError: it is another kind of adapter, of another rank or scale, of other layers, or has a setting that is not supported.
    """
    folder = Path(str(lora.init_from))
    if (folder / "adapter_model.bin").is_file() and not (folder / "adapter_model.safetensors").is_file():
        raise WeightsError(
            f"adapter.init_from: {folder} has adapter_model.bin alone; "
            + weights.CONVERT.format(folder=folder)
            .replace("pytorch_model", "adapter_model")
            .replace("/model.", "/adapter_model.")
        )
    try:
        config = read_json(folder / "adapter_config.json")
        tensors = dict(weights.read_tensors(folder / "adapter_model.safetensors"))
    except WeightsError as error:
        raise WeightsError(f"adapter.init_from: {folder} is no folder of a PEFT adapter ({error})") from None
    _check_config(folder / "adapter_config.json", config, lora)
    a, backbone = ARCHITECTURES[loaded.config["model_type"]], loaded.encoder.backbone
    named: dict[tuple[str, str], np.ndarray] = {}
    for name, tensor in tensors.items():
        if problem := weights.not_finite(name, tensor):
            raise WeightsError(f"adapter.init_from: {folder}/adapter_model.safetensors: {problem}")
        if (known := _checkpoint_name(folder, name, a)) in named:
            raise WeightsError(f"adapter.init_from: {folder}/adapter_model.safetensors holds {known[1]} of {known[0]} twice")
        named[known] = tensor
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


def _check_config(file: Path, config: Mapping[str, Any], lora: Lora) -> None:
    """Refuses every setting that is not this LoRA's, or is not known to leave the result as it is."""
    for key, theirs in {**_ABSENT, **config}.items():
        if key in _SETTINGS:
            ours = getattr(lora, _SETTINGS[key])
            if theirs != ours and (theirs or ours):
                setting = f"adapter.{_SETTINGS[key]}={theirs}".lower()
                raise WeightsError(f"adapter.init_from: {file} has {key} {theirs!r}, here it is {ours!r}; give {setting}")
        elif key not in _WITHOUT_EFFECT and theirs not in _SUPPORTED.get(key, (None, {}, [])):
            supported = ", ".join(map(repr, _SUPPORTED.get(key, (None,))))
            raise WeightsError(f"adapter.init_from: {file} has {key} {theirs!r}, which is not supported; supported: {supported}")


def _checkpoint_name(folder: Path, name: str, a: Architecture) -> tuple[str, str]:
    """(the checkpoint's name of the adapted kernel, which of A, B and magnitude) of a tensor of PEFT's."""
    match = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_(?:(A|B)\.weight|magnitude_vector(?:\.weight)?)", name)
    if match is None:
        raise WeightsError(
            f"adapter.init_from: {folder}/adapter_model.safetensors holds {name}, which is no A, B or magnitude of a LoRA"
        )
    checkpoint = f"{match[1]}.weight"
    for pattern, replacement in a.renamed:
        checkpoint = re.sub(pattern, replacement, checkpoint)
    return checkpoint, match[2] or "magnitude"
