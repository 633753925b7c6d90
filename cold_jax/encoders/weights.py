"""safetensors ↔ Flax by an architecture's table of names, strict both ways; and where a checkpoint's files are."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open

from cold_jax.encoders.layers import Buffer, Transformer
from cold_jax.errors import WeightsError

# name in the checkpoint, {layer} being the number of a layer → (path of the parameter, what to do with the array).
# What is done is its own inverse, so the same table saves. Several paths: what is done with the array puts them side by side.
Table = Mapping[str, tuple[str | tuple[str, ...], Callable[[np.ndarray], np.ndarray]]]


_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


_WANTED = ["config.json", "tokenizer.json", "model*.safetensors", _INDEX]


class Architecture(NamedTuple):
    """An encoder and the names that checkpoints use for it."""

    model_types: tuple[str, ...]  # of config.json
    config: Callable[[Path], Any]  # reads one
    model: Callable[..., Transformer]
    names: Table
    ignored: Sequence[str]
    renamed: Sequence[tuple[str, str]]
    optional: Mapping[str, str] = {}  # field of the config → regular expression of the names that are only there where it is true
    given: Mapping[str, float] = {}  # tensors that no checkpoint has, and the number that they are full of

    def table(self, shape: Any) -> Table:
        absent = [pattern for field, pattern in self.optional.items() if not getattr(shape, field)]
        return {name: to for name, to in self.names.items() if not any(re.fullmatch(pattern, name) for pattern in absent)}


def as_is(array: np.ndarray) -> np.ndarray:
    return array


def transposed(array: np.ndarray) -> np.ndarray:
    """torch keeps a linear map as (out, in), Flax as (in, out)."""
    return array.T


def load(
    module: nnx.Module,
    files: Sequence[Path],
    table: Table,
    ignored: Sequence[str],
    renamed: Sequence[tuple[str, str]],
    given: Mapping[str, float] = {},
) -> None:
    """Fills every parameter of the module, which may be abstract, from all tensors of the files; and its constants.

    Args:
      ignored: regular expressions; a tensor whose whole name matches one is left out.
      renamed: (pattern, replacement) pairs that turn older names into the table's, before all else.
      given: name → number: tensors of the table that are not in the files, full of that number.

    Raises:
      WeightsError: tensors that the table doesn't know, parameters that nothing fills, shapes that don't fit: all at once.
    """
    tensors, problems = _read(files, ignored, renamed)
    parameters = _parameters(module)
    for pattern, (paths, change) in table.items():
        paths = (paths,) if isinstance(paths, str) else paths
        if absent := [path for path in paths if path not in parameters]:
            problems += [f"{path}: the table fills it from {pattern}, but the model has no such parameter" for path in absent]
            continue
        group, own = [parameters.pop(path) for path in paths], " and ".join(paths)
        first, names = group[0], _names(pattern, group[0])
        shapes = [parameter.shape[1:] if "{layer}" in pattern else parameter.shape for parameter in group]
        shape = (*shapes[0][:-1], sum(each[-1] for each in shapes))
        found = {name: np.full(shape, value, first.dtype) for name, value in given.items() if name in names}
        found |= {name: change(tensors.pop(name)) for name in names if name in tensors}
        problems += [f"{name}: missing; parameter {own} needs it" for name in names if name not in found]
        wrong = [f"{name}: shape {a.shape}, parameter {own} has {shape}" for name, a in found.items() if a.shape != shape]
        problems += wrong
        if not wrong and len(found) == len(names):
            arrays = [found[name] for name in names]
            array = np.stack(arrays) if "{layer}" in pattern else arrays[0]
            for parameter, part in zip(group, np.split(array, np.cumsum([each[-1] for each in shapes])[:-1], -1), strict=True):
                parameter.set_value(jnp.asarray(part, parameter.dtype))
    problems += [f"{path}: a parameter that the table doesn't fill" for path in parameters]
    problems += [f"{name}: a tensor that the table doesn't know" for name in tensors]
    if problems:
        raise WeightsError("\n  ".join([f"{', '.join(map(str, files))}: does not fit the model:", *sorted(problems)]))
    for _, constant in nnx.to_flat_state(nnx.state(module, Buffer)):
        constant.set_value(jnp.asarray(constant.get_metadata()["values"]))


def save(module: nnx.Module, table: Table, given: Mapping[str, float] = {}) -> dict[str, np.ndarray]:
    """The inverse of `load`: the parameters under the table's names and in the checkpoint's shapes, on the host.

    Raises:
      WeightsError: a parameter that the table doesn't name, or the reverse, as in an encoder whose adapter is not merged.
    """
    parameters = _parameters(module)
    named = {pattern: (paths,) if isinstance(paths, str) else paths for pattern, (paths, _) in table.items()}
    if odd := {path for paths in named.values() for path in paths} ^ set(parameters):
        raise WeightsError(
            f"{', '.join(sorted(odd))}: in the model or in the table of names but not in both; merge an adapter first"
        )
    tensors = {}
    for pattern, (_, change) in table.items():
        array = np.concatenate([np.asarray(parameters[path][...]) for path in named[pattern]], -1)
        names = _names(pattern, parameters[named[pattern][0]])
        arrays = array if "{layer}" in pattern else [array]
        tensors |= {name: np.ascontiguousarray(change(a)) for name, a in zip(names, arrays, strict=True)}
    return {name: tensor for name, tensor in tensors.items() if name not in given}


def read_config(
    path: Path, supported: Mapping[str, Sequence[Any]], names: Mapping[str, str], implied: Mapping[str, Any]
) -> dict[str, Any]:
    """A checkpoint's config.json.

    Args:
      supported: key → the values that are supported.
      names: name here → key.
      implied: key → the value that a file means which leaves it out.

    Raises:
      WeightsError: it describes something that isn't supported; the message names file, key and what is.
    """
    values = {**implied, **json.loads(path.read_text())}
    for key, choices in supported.items():
        if (value := values.get(key)) not in choices:
            raise WeightsError(f"{path}: {key} {value!r} is not supported; supported: {', '.join(map(repr, choices))}")
    if absent := [key for key in names.values() if key not in values]:
        raise WeightsError(f"{path}: {', '.join(absent)} missing; the config.json of a {values['model_type']} has them")
    return {name: values[key] for name, key in names.items()}


def locate(id: str) -> Path:
    """The folder of a checkpoint: a folder of this machine, or a repository of the Hugging Face hub, from its cache or fetched.

    Raises:
      WeightsError: it is in none of these places.
    """
    if Path(id).is_dir():
        return Path(id)
    from huggingface_hub import constants, snapshot_download  # here: a third of a second that most runs don't need
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(id, allow_patterns=_WANTED, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        return Path(snapshot_download(id, allow_patterns=_WANTED))
    except Exception as error:  # the hub's, the file system's and the network library's have nothing narrower in common
        wanted = " ".join(f"--include '{pattern}'" for pattern in _WANTED)
        raise WeightsError(
            f"encoder.id: {id!r} is no folder, is not in {constants.HF_HUB_CACHE} and could not be fetched "
            f"({error}). Where the hub can be reached, run: hf download {id} {wanted}"
        ) from error


def files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint: one, or the shards that its index lists."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if not (folder / _INDEX).is_file():
        raise WeightsError(f"{folder}: neither {_WEIGHTS} nor {_INDEX} is there; weights are read from safetensors only")
    shards = sorted(set(json.loads((folder / _INDEX).read_text())["weight_map"].values()))
    if absent := [shard for shard in shards if not (folder / shard).is_file()]:
        raise WeightsError(f"{folder / _INDEX}: it lists {', '.join(absent)}, which the folder does not hold")
    return [folder / shard for shard in shards]


def _parameters(module: nnx.Module) -> dict[str, nnx.Variable]:
    return {".".join(map(str, path)): parameter for path, parameter in nnx.to_flat_state(nnx.state(module, nnx.Param))}


def _names(pattern: str, parameter: nnx.Variable) -> list[str]:
    if "{layer}" not in pattern:
        return [pattern]
    return [pattern.replace("{layer}", str(layer)) for layer in range(parameter.shape[0])]


def _read(
    files: Sequence[Path], ignored: Sequence[str], renamed: Sequence[tuple[str, str]]
) -> tuple[dict[str, np.ndarray], list[str]]:
    tensors, twice = {}, []
    for path in files:
        try:
            with safe_open(path, framework="numpy") as file:
                for original in file.keys():  # noqa: SIM118 (no mapping)
                    name = original
                    for pattern, replacement in renamed:
                        name = re.sub(pattern, replacement, name)
                    if any(re.fullmatch(pattern, name) for pattern in ignored):
                        continue
                    if name in tensors:
                        twice.append(f"{name}: there twice, the second time as {original} in {path.name}")
                    tensors[name] = file.get_tensor(original)
        except SafetensorError as error:
            raise WeightsError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
    return tensors, twice
