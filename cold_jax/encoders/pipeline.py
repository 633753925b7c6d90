"""How a checkpoint's folder says that vectors are made: sentence-transformers' modules.json and the files that belong to it.

Everything in them is honoured or refused by name. A folder without modules.json is a plain checkpoint: the mean, of unit length.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cold_jax.encoders import weights
from cold_jax.encoders.dense import ACTIVATIONS, Dense
from cold_jax.encoders.pooling import Pooling
from cold_jax.errors import WeightsError

log = logging.getLogger(__name__)

# their word → ours; "pooling_mode_…" in older folders, "pooling_mode": "…" in newer ones
POOLINGS = {
    "mean_tokens": Pooling.mean,
    "cls_token": Pooling.cls,
    "lasttoken": Pooling.last,
    "weightedmean_tokens": Pooling.weighted_mean,
    "max_tokens": Pooling.max,
    "mean_sqrt_len_tokens": Pooling.mean_sqrt_len,
}
# the names of prompts, the first of which that a folder has is a side's
PROMPT_NAMES = {
    "users": ("users", "query"),
    "items": ("items", "document", "passage", "corpus"),
    "queries": ("queries", "query"),
}
# what sentence_bert_config.json may say besides the values that are read; anything else changes what is computed
_TRANSFORMER = {
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "processing_kwargs": {},
    "query_length": None,
    "document_length": None,
    "query_expansion": None,
    "model_args": {},
    "model_kwargs": {},
    "tokenizer_args": {},
    "processor_kwargs": {},
    "config_args": {},
    "config_kwargs": {},
}


_MODALITIES = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


# of config_sentence_transformers.json: what is read, and what is about scores of pairs alone
_WITHOUT_EFFECT = {"prompts", "default_prompt_name", "model_type", "similarity_fn_name", "__version__"}


@dataclass(frozen=True)
class Pipeline:
    """What a folder says of all that comes before and after the backbone."""

    checkpoint: Path  # the folder of config.json, weights and tokenizer
    pooling: Pooling
    include_prompt: bool
    dense: Sequence[Dense]
    normalize: bool
    prompts: Mapping[str, str]  # by side
    max_length: int | None
    lower_case: bool
    files: Sequence[Path]  # all that was read, for the digest


def read_pipeline(folder: Path) -> Pipeline:
    """Raises WeightsError where the folder has a module, or a setting of one, that is not supported; the message names it."""
    file = folder / "modules.json"
    if not file.exists():
        plain = _transformer(folder, [])
        return Pipeline(folder, Pooling.mean, True, (), True, {}, *plain, [])
    read = [file]
    modules = [_module(file, module) for module in weights.read_json(file, list)]
    kinds = [kind for kind, _ in modules]
    if not re.fullmatch(r"Transformer Pooling( Dense)*( Normalize)?", " ".join(kinds)):
        order = "one Transformer, one Pooling, any number of Dense, and Normalize or none"
        raise WeightsError(f"{file}: the modules {', '.join(kinds)} are not supported in this order; supported: {order}")
    paths = dict(zip(kinds, (path for _, path in modules), strict=True))
    checkpoint = folder / paths["Transformer"]
    max_length, lower_case = _transformer(checkpoint, read)
    pooling, include_prompt = _pooling(folder / paths["Pooling"], read)
    dense = tuple(_dense(folder / path, read) for kind, path in modules if kind == "Dense")
    if "Normalize" in paths:
        _refuse_inputs(folder / paths["Normalize"] / "config.json", read)
    prompts = _prompts(folder / "config_sentence_transformers.json", read)
    return Pipeline(checkpoint, pooling, include_prompt, dense, "Normalize" in paths, prompts, max_length, lower_case, read)


def _module(file: Path, module: Mapping[str, Any]) -> tuple[str, str]:
    """(kind, path) of an entry of modules.json; its type is a dotted name that has moved over the years."""
    if not isinstance(module, dict):
        raise WeightsError(f"{file}: {str(module)[:80]!r} is no module, which is an object with type and path")
    name, path = (weights.setting(file, module, key, str, "") for key in ("type", "path"))
    kind = name.rsplit(".", 1)[-1]
    if not name.startswith("sentence_transformers.") or kind not in ("Transformer", "Pooling", "Dense", "Normalize"):
        raise WeightsError(
            f"{file}: the module type {name!r} is not supported; supported: Transformer, Pooling, Dense, Normalize"
        )
    if not re.fullmatch(r"(?!\.)[\w.-]*", path):
        raise WeightsError(f"{file}: path {path!r} is not the plain name of a folder inside this one")
    if odd := sorted(set(module) - {"idx", "name", "path", "type", "kwargs"}):
        raise WeightsError(f"{file}: {', '.join(odd)} of the module {name}: not supported")
    if module.get("kwargs"):
        raise WeightsError(f"{file}: kwargs {module['kwargs']!r} of the module {name} are not supported")
    return kind, path


def _transformer(checkpoint: Path, read: list[Path]) -> tuple[int | None, bool]:
    """max_seq_length and do_lower_case of the checkpoint."""
    names = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    file = next((found for name in names if (found := checkpoint / f"sentence_{name}_config.json").exists()), None)
    if file is None:
        return None, False
    read.append(file)
    values = weights.read_json(file)
    length, lower = (
        weights.setting(file, values, "max_seq_length", int, 0),
        weights.setting(file, values, "do_lower_case", bool, False),
    )
    modalities = weights.setting(file, values, "modality_config", dict, _MODALITIES)
    text = weights.setting(file, modalities, "text", dict, {})
    if (text.get("method"), text.get("method_output_name")) != ("forward", "last_hidden_state"):
        raise WeightsError(f"{file}: modality_config {text!r} is not supported; supported: the last_hidden_state of forward")
    if values.get("max_seq_length") is not None and length < 1:
        raise WeightsError(f"{file}: max_seq_length {length!r} is not a positive number")
    for key in ("max_seq_length", "do_lower_case", "modality_config", "unpad_inputs"):  # the last: the same vectors
        values.pop(key, None)
    for key, value in values.items():
        supported = _TRANSFORMER.get(key, ...)
        if value != supported and (value or supported):
            raise WeightsError(f"{file}: {key} {value!r} is not supported")
    return length or None, lower


def _pooling(folder: Path, read: list[Path]) -> tuple[Pooling, bool]:
    file = folder / "config.json"
    values = weights.read_json(file)
    read.append(file)
    chosen = [name for name in POOLINGS if weights.setting(file, values, f"pooling_mode_{name}", bool, False)] or ["mean_tokens"]
    newer = values.get("pooling_mode")
    if newer is not None:
        chosen = (
            [newer] if isinstance(newer, str) else [str(name) for name in weights.setting(file, values, "pooling_mode", list, [])]
        )
    include_prompt = weights.setting(file, values, "include_prompt", bool, True)
    read_above = {"pooling_mode", "include_prompt", "word_embedding_dimension", "embedding_dimension"}
    values = {
        key: value for key, value in values.items() if key not in read_above | {f"pooling_mode_{name}" for name in POOLINGS}
    }
    by_name = POOLINGS | {name.removesuffix("_tokens").removesuffix("_token"): pooling for name, pooling in POOLINGS.items()}
    if values or len(chosen) != 1 or chosen[0] not in by_name:
        odd = ", ".join([*values, *(chosen if len(chosen) > 1 or chosen[0] not in by_name else [])])
        raise WeightsError(f"{file}: {odd}: not supported; supported: include_prompt, and one of {', '.join(by_name)}")
    return by_name[chosen[0]], include_prompt


def _dense(folder: Path, read: list[Path]) -> Dense:
    file, weight_file = folder / "config.json", folder / "model.safetensors"
    values = weights.read_json(file)
    _refuse_inputs(file, [])
    if not weight_file.is_file():
        raise WeightsError(f"{folder}: no model.safetensors; {weights.CONVERT.format(folder=folder)}")
    read += [file, weight_file]
    name = weights.setting(file, values, "activation_function", str, "torch.nn.modules.activation.Tanh")
    activation = name.rsplit(".", 1)[-1]
    if not name.startswith("torch.nn.") or activation not in ACTIVATIONS:
        raise WeightsError(f"{file}: activation_function {name!r} is not supported; supported: {', '.join(ACTIVATIONS)}")
    if values.get("use_residual"):
        raise WeightsError(f"{file}: use_residual true is not supported")
    known = {"in_features", "out_features", "bias", "activation_function", "use_residual", *_INPUTS}
    if odd := sorted(set(values) - known):
        raise WeightsError(f"{file}: {', '.join(odd)}: not supported")
    tensors = dict(weights.read_tensors(weight_file))
    if problems := [problem for name, array in tensors.items() if (problem := weights.not_finite(name, array))]:
        raise WeightsError(f"{weight_file}: {'; '.join(problems)}")
    wide, narrow = (weights.setting(file, values, key, int, 0) for key in ("in_features", "out_features"))
    shapes = {"linear.weight": (narrow, wide), "linear.bias": (narrow,)}
    if not weights.setting(file, values, "bias", bool, True):
        del shapes["linear.bias"]
    if (found := {name: array.shape for name, array in tensors.items()}) != shapes:
        raise WeightsError(f"{weight_file}: it holds {found}, and {file} says {shapes}")
    return Dense(np.ascontiguousarray(tensors["linear.weight"].T), tensors.get("linear.bias"), activation)


_INPUTS = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}


def _refuse_inputs(file: Path, read: list[Path]) -> None:
    """Refuses a module that reads or writes something other than the text's vector."""
    if not file.exists():
        return
    read.append(file)
    values = weights.read_json(file)
    for key, supported in _INPUTS.items():
        if (value := values.get(key)) not in (None, supported):
            raise WeightsError(f"{file}: {key} {value!r} is not supported; supported: {supported!r}")


def _prompts(file: Path, read: list[Path]) -> dict[str, str]:
    """The prompt of each side: of its names the first that the folder has, else the default."""
    if not file.exists():
        return {}
    read.append(file)
    values = weights.read_json(file)
    if (kind := values.get("model_type", "SentenceTransformer")) != "SentenceTransformer":
        raise WeightsError(f"{file}: model_type {kind!r} is not supported; supported: 'SentenceTransformer'")
    if odd := [key for key, value in values.items() if key not in _WITHOUT_EFFECT and value is not None]:
        raise WeightsError(f"{file}: {', '.join(odd)}: not supported; supported: prompts, default_prompt_name")
    named = weights.setting(file, values, "prompts", dict, {})
    given = {name: weights.setting(file, named, name, str, "") for name in named if named[name] is not None}
    default = weights.setting(file, values, "default_prompt_name", str, "") or None
    if default is not None and default not in given:
        raise WeightsError(f"{file}: default_prompt_name {default!r} is none of its prompts ({', '.join(given) or 'none'})")
    prompts = {}
    for side, names in PROMPT_NAMES.items():
        name = next((name for name in names if name in given), default)
        if name is not None and given[name]:
            prompts[side] = given[name]
    if any(given.values()) and not prompts:
        log.warning(
            "%s: of its prompts (%s) none is for users, items or queries, and it has no default: none is used; encoder.prompts gives them",
            file,
            ", ".join(given),
        )
    return prompts
