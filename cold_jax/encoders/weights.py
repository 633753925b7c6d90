"""safetensors ↔ Flax by an architecture's table of names, strict both ways."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError

from cold_jax.encoders.layers import Buffer, Transformer
from cold_jax.errors import WeightsError
from cold_jax.storage.limits import MiB, read_file
from cold_jax.storage.tensors import open_tensors

# name in the checkpoint, {layer} being the number of a layer → (path of the parameter, what to do with the array).
# What is done is its own inverse, so the same table saves. Several paths: what is done with the array puts them side by side.
Table = Mapping[str, tuple[str | tuple[str, ...], Callable[[np.ndarray], np.ndarray]]]


# the types of safetensors that can be read; FP8 and packed integers need scales that no table knows of
_DTYPES = ("F64", "F32", "F16", "BF16")
LISTED, LONGEST = 50, 500  # problems in a message, and characters of each
JSON_LARGEST = 512 * MiB  # bytes; tokenizer.json has up to 40 MB
CONVERT = (
    'weights are read from safetensors only; with torch: python -c "from torch import load; from safetensors.torch import save_file; '
    "save_file(load('{folder}/pytorch_model.bin', weights_only=True), '{folder}/model.safetensors')\""
)


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
    exported: Callable[[Mapping[str, Any]], dict[str, Any]] = dict  # a config.json → the one that transformers reads for `names`

    def table(self, shape: Any) -> Table:
        absent = [pattern for field, pattern in self.optional.items() if not getattr(shape, field)]
        return {name: to for name, to in self.names.items() if not any(re.fullmatch(pattern, name) for pattern in absent)}


def as_is(array: np.ndarray) -> np.ndarray:
    return array


def transposed(array: np.ndarray) -> np.ndarray:
    """torch keeps a linear map as (out, in), Flax as (in, out)."""
    return array.T


def abstract(model: Callable[..., Transformer], config: Any, dtype: str) -> Transformer:
    """A model of shapes without values, for `load` to fill. Raises WeightsError where no model has such a config."""
    try:
        return nnx.eval_shape(lambda: model(config, jnp.dtype(dtype), rngs=nnx.Rngs(0)))
    except (TypeError, ValueError, ArithmeticError) as error:
        reason = str(error).split("\n")[0][:200]
        raise WeightsError(f"config.json: no model has such sizes ({reason}): {str(config)[:500]}") from error


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
      WeightsError: tensors that the table doesn't know, parameters that nothing fills, shapes that don't fit, values that are
        NaN or infinite: all at once.
    """
    with _opened(files, ignored, renamed) as (readers, problems):
        parameters = _parameters(module)
        for pattern, (paths, change) in table.items():
            paths = (paths,) if isinstance(paths, str) else paths
            if absent := [path for path in paths if path not in parameters]:
                problems += [f"{path}: the table fills it from {pattern}, but the model has no such parameter" for path in absent]
                continue
            group = [parameters.pop(path) for path in paths]
            problems += _fill(group, " and ".join(paths), _names(pattern, group[0]), "{layer}" in pattern, change, readers, given)
        problems += [f"{path}: a parameter that the table doesn't fill" for path in parameters]
        problems += [f"{name}: a tensor that the table doesn't know" for name in readers]
    if problems:
        shown = [f"{problem[:LONGEST]}…" if len(problem) > LONGEST else problem for problem in sorted(problems)[:LISTED]]
        more = [f"and {len(problems) - LISTED:,} more"] * (len(problems) > LISTED)
        raise WeightsError("\n  ".join([f"{', '.join(map(str, files))}: does not fit the model:", *shown, *more]))
    for _, constant in nnx.to_flat_state(nnx.state(module, Buffer)):
        constant.set_value(jnp.asarray(constant.get_metadata()["values"]))


def _fill(
    group: Sequence[nnx.Variable],
    own: str,
    names: Sequence[str],
    stacked: bool,
    change: Callable[[np.ndarray], np.ndarray],
    readers: dict[str, Callable[[], np.ndarray]],
    given: Mapping[str, float],
) -> list[str]:
    """Fills parameters that share tensors, one layer after the other, and takes these from `readers`. Gives what does not fit."""
    problems = [f"{name}: missing; parameter {own} needs it" for name in names if name not in readers and name not in given]
    missing, whole = bool(problems), None
    shapes = [parameter.shape[1:] if stacked else parameter.shape for parameter in group]
    shape = (*shapes[0][:-1], sum(each[-1] for each in shapes))
    for layer, name in enumerate(names):
        if name in readers:
            array = change(readers.pop(name)())
        elif name in given:
            array = np.full(shape, given[name], group[0].dtype)
        else:
            continue
        wrong = array.shape != shape
        problems += [f"{name}: shape {array.shape}, parameter {own} has {shape}"] * wrong + [not_finite(name, array)]
        if not missing and not wrong:
            whole = np.empty((len(names), *shape), group[0].dtype) if whole is None else whole
            with np.errstate(over="ignore"):
                whole[layer] = array
            problems += [_too_large(name, array, whole[layer])]
    if (problems := [problem for problem in problems if problem]) or whole is None:
        return problems
    ends = np.cumsum([each[-1] for each in shapes])[:-1]
    for parameter, part in zip(group, np.split(whole if stacked else whole[0], ends, -1), strict=True):
        parameter.set_value(jax.device_put(np.ascontiguousarray(part)))
    return []


def not_finite(name: str, array: np.ndarray) -> str:
    """What is wrong with an array that holds NaN or infinities, else nothing."""
    odd = int(array.size - np.count_nonzero(np.isfinite(array)))
    return f"{name}: {odd} of {array.size} values are NaN or infinite" if odd else ""


def _too_large(name: str, array: np.ndarray, kept: np.ndarray) -> str:
    """What is wrong with finite values that a parameter's type turns into infinities, else nothing."""
    odd = int(np.count_nonzero(np.isfinite(array)) - np.count_nonzero(np.isfinite(kept)))
    return f"{name}: {odd} of {array.size} values are beyond what {kept.dtype} holds" if odd else ""


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
        array = np.concatenate([np.asarray(parameters[path][...], np.float32) for path in named[pattern]], -1)
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
    values = {**implied, **read_json(path)}
    for key, choices in supported.items():
        if (value := values.get(key)) not in choices:
            raise WeightsError(f"{path}: {key} {value!r} is not supported; supported: {', '.join(map(repr, choices))}")
    if absent := [key for key in names.values() if key not in values]:
        raise WeightsError(f"{path}: {', '.join(absent)} missing; the config.json of a {values['model_type']} has them")
    for key in names.values():
        if key not in supported and not (values[key] is None and key in implied and implied[key] is None):
            if kind := _CONTAINERS.get(key):
                setting(path, values, key, kind, kind())
                continue
            check_number(path, key, values[key])
            _check_size(path, key, values[key])
    return {name: values[key] for name, key in names.items()}


_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_SIZE = re.compile(
    r"(hidden|vocab|intermediate)_size|num_(hidden_layers|layers|attention_heads|heads)|n_(embd|head|heads|layer|layers)|d_\w+|dim|hidden_dim"
)


_COUNT = re.compile(
    r"\w*_size|n_positions|max_\w*position\w*|\w*_buckets|\w*_distance|sliding_window\w*|local_attention|\w*_every_n_layers"
)


_POSITIONS, _EPSILON = re.compile(r"n_positions|max_\w*position\w*"), re.compile(r"\w*_eps(ilon)?")


def _check_size(path: Path, key: str, value: Any) -> None:
    """Raises WeightsError where a size is no whole number, none at all, or beyond what any checkpoint has; or an
    epsilon is none."""
    largest = 10_000 if key in _LAYERS else 10**9
    if _SIZE.fullmatch(key) and not (type(value) is int and 1 <= value <= largest):
        raise WeightsError(f"{path}: {key} {str(value)[:80]} is not a whole number from 1 to {largest:,}")
    if _COUNT.fullmatch(key) and type(value) is not int:
        raise WeightsError(f"{path}: {key} {str(value)[:80]} is not a whole number")
    if _POSITIONS.fullmatch(key) and value < 1:
        raise WeightsError(f"{path}: {key} {value} leaves no room for a text; fetch it again")
    if _EPSILON.fullmatch(key) and not 0 <= value < 1:
        raise WeightsError(f"{path}: {key} {str(value)[:80]} is not from 0 to below 1; fetch it again")


def read_json(path: Path, kind: type = dict) -> Any:
    """A JSON object, or an array where `kind` is list. Raises WeightsError where the file holds something else."""
    try:
        value = json.loads(read_file(path.resolve(), JSON_LARGEST, WeightsError))  # a hub's cache has links
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(value, kind):
        wanted = "object" if kind is dict else "array"
        raise WeightsError(f"{path}: a JSON {wanted} is needed, and this is a {type(value).__name__}")
    return value


T = TypeVar("T")
_NAMES = {str: "text", bool: "true or false", int: "a whole number", dict: "an object", list: "a list"}
# keys of config.json that hold more than a number or text
_CONTAINERS = {"rope_parameters": dict, "rope_scaling": dict, "layer_types": list}


def setting(path: Path, values: Mapping[str, Any], key: str, kind: type[T], default: T) -> T:
    """A setting of a folder's JSON; `default` where it is missing or null. Raises WeightsError where it is of another type."""
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise WeightsError(f"{path}: {key} {json.dumps(value)[:80]} is not {_NAMES[kind]}")
    return value


def check_number(path: Path, key: str, value: Any) -> None:
    """Raises WeightsError where a setting that must be a finite number is text, null, NaN or a list."""
    if isinstance(value, int | float) and math.isfinite(value):
        return
    raise WeightsError(f"{path}: {key} {json.dumps(value)} is no finite number")


def _parameters(module: nnx.Module) -> dict[str, nnx.Variable]:
    return {".".join(map(str, path)): parameter for path, parameter in nnx.to_flat_state(nnx.state(module, nnx.Param))}


def _names(pattern: str, parameter: nnx.Variable) -> list[str]:
    if "{layer}" not in pattern:
        return [pattern]
    return [pattern.replace("{layer}", str(layer)) for layer in range(parameter.shape[0])]


def read_tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a safetensors file, in their own type.

    Raises:
      WeightsError: the file is missing or cut short, or a tensor is of a type that is not supported.
    """
    if not path.is_file():  # a pipe would be waited for
        raise WeightsError(f"{path}: is no plain file; fetch it again")
    with _whole(path), open_tensors(path) as file:
        for name in file.keys():  # noqa: SIM118 (no mapping)
            _require_supported(file, name, path)
            yield name, file.get_tensor(name)


def _require_supported(file: Any, name: str, path: Path) -> None:
    if (dtype := file.get_slice(name).get_dtype()) not in _DTYPES:
        supported = ", ".join(_DTYPES)
        raise WeightsError(f"{path}: {name} is of type {dtype}, which is not supported; supported: {supported}: convert it first")


@contextmanager
def _opened(
    files: Sequence[Path], ignored: Sequence[str], renamed: Sequence[tuple[str, str]]
) -> Iterator[tuple[dict[str, Callable[[], np.ndarray]], list[str]]]:
    """(name → what reads the tensor, which tensors are there twice): a checkpoint is never whole in memory beside the model it fills."""
    readers: dict[str, Callable[[], np.ndarray]] = {}
    twice = []
    with ExitStack() as stack:
        for path in files:
            with _whole(path):
                file = stack.enter_context(open_tensors(path))
                for original in file.keys():  # noqa: SIM118 (no mapping)
                    name = original
                    for pattern, replacement in renamed:
                        name = re.sub(pattern, replacement, name)
                    if any(re.fullmatch(pattern, name) for pattern in ignored):
                        continue
                    _require_supported(file, original, path)
                    reader = partial(_read, file, original, path)
                    if name in readers and not np.array_equal(readers[name](), reader()):  # tied tensors may be there twice
                        twice.append(f"{name}: there twice, the second time as {original} in {path.name}")
                    readers[name] = reader
        yield readers, twice


def _read(file: Any, name: str, path: Path) -> np.ndarray:
    with _whole(path):
        return file.get_tensor(name)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
