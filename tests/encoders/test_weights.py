"""Weights go in and come out bit for bit, and nothing that doesn't fit goes unnoticed."""

import json
import os
import re
import tracemalloc
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from lies import LIES, TRUTH
from safetensors.numpy import load_file, save_file
from states import PARITY

from cold_jax.encoders import architecture, bert, checkpoint, weights
from cold_jax.encoders.architectures import read_shape
from cold_jax.errors import WeightsError

SMALL = Path(__file__).parents[1] / "parity/bert_small"
LEGACY = Path(__file__).parents[1] / "parity/bert_legacy"
QUERY = "encoder.layer.1.attention.self.query.weight"


def _load(folder: Path, files: list[Path], table: weights.Table = bert.CHECKPOINT) -> bert.Bert:
    config = bert.BertConfig.from_json(folder / "config.json")
    module = nnx.eval_shape(lambda: bert.Bert(config, jnp.dtype("float32"), rngs=nnx.Rngs(0)))
    weights.load(module, files, table, bert.IGNORED, bert.RENAMED)
    return module


def _changed(tmp_path: Path, **changes: np.ndarray | None) -> list[Path]:
    """The small checkpoint with tensors replaced, added, or left out (None); a double underscore stands for a dot."""
    tensors = load_file(SMALL / "model.safetensors") | {k.replace("__", "."): v for k, v in changes.items()}
    save_file({k: v for k, v in tensors.items() if v is not None}, tmp_path / "model.safetensors")
    return [tmp_path / "model.safetensors"]


def test_round_trip_is_exact() -> None:
    original = load_file(SMALL / "model.safetensors")
    saved = weights.save(_load(SMALL, checkpoint.weight_files(SMALL)), bert.CHECKPOINT)
    assert set(original) - set(saved) == {"pooler.dense.weight", "pooler.dense.bias"}
    for name, array in saved.items():
        np.testing.assert_array_equal(array, original[name], strict=True)
        assert array.flags.c_contiguous  # safetensors writes memory as it lies


def test_old_names_are_read_too() -> None:
    original = load_file(LEGACY / "model.safetensors")
    assert {"bert.embeddings.LayerNorm.gamma", "cls.seq_relationship.bias"} <= set(original)
    saved = weights.save(_load(LEGACY, checkpoint.weight_files(LEGACY)), bert.CHECKPOINT)
    np.testing.assert_array_equal(saved["embeddings.LayerNorm.weight"], original["bert.embeddings.LayerNorm.gamma"])
    name = "encoder.layer.1.output.dense.weight"
    np.testing.assert_array_equal(saved[name], original[f"bert.{name}"])


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    tensors = load_file(SMALL / "model.safetensors")
    save_file({k: v.astype(ml_dtypes.bfloat16) for k, v in tensors.items()}, tmp_path / "model.safetensors")
    saved = weights.save(_load(SMALL, [tmp_path / "model.safetensors"]), bert.CHECKPOINT)
    np.testing.assert_array_equal(saved[QUERY], tensors[QUERY].astype(ml_dtypes.bfloat16).astype(np.float32), strict=True)


def test_shards_are_read_together(tmp_path: Path) -> None:
    tensors = load_file(SMALL / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, own in shards.items():
        save_file({name: tensors[name] for name in own}, tmp_path / shard)
    index = {"weight_map": {name: shard for shard, own in shards.items() for name in own}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert checkpoint.weight_files(tmp_path) == [tmp_path / shard for shard in shards]
    saved = weights.save(_load(SMALL, checkpoint.weight_files(tmp_path)), bert.CHECKPOINT)
    np.testing.assert_array_equal(saved[QUERY], tensors[QUERY])

    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"index.json: it lists model-2.safetensors, which the folder does not hold"):
        checkpoint.weight_files(tmp_path)


def test_all_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    files = _changed(
        tmp_path,
        encoder__layer__2__output__dense__bias=np.zeros(32, np.float32),  # a third layer
        surplus=np.zeros(1, np.float32),
        encoder__layer__1__attention__self__query__weight=None,
        embeddings__word_embeddings__weight=np.zeros((7, 32), np.float32),
        encoder__layer__0__intermediate__dense__weight=np.zeros((32, 64), np.float32),  # not transposed
    )
    with pytest.raises(WeightsError) as raised:
        _load(SMALL, files)
    lines = str(raised.value).split("\n  ")
    assert lines[0] == f"{files[0]}: does not fit the model:"
    assert lines[1:] == [
        "embeddings.word_embeddings.weight: shape (7, 32), parameter embeddings.word.embedding has (120, 32)",
        "encoder.layer.0.intermediate.dense.weight: shape (64, 32), parameter layers.mlp.up.kernel has (32, 64)",
        f"{QUERY}: missing; parameter layers.attention.query.kernel needs it",
        "encoder.layer.2.output.dense.bias: a tensor that the table doesn't know",
        "surplus: a tensor that the table doesn't know",
    ]


def test_a_parameter_that_the_table_leaves_out_is_named() -> None:
    name = "encoder.layer.{layer}.attention.self.key.bias"
    table = {k: v for k, v in bert.CHECKPOINT.items() if k != name} | {"extra": ("head.kernel", weights.as_is)}
    with pytest.raises(
        WeightsError, match=re.escape("layers.attention.key.bias: a parameter that the table doesn't fill")
    ) as raised:
        _load(SMALL, checkpoint.weight_files(SMALL), table)
    assert "encoder.layer.0.attention.self.key.bias: a tensor that the table doesn't know" in str(raised.value)
    assert "head.kernel: the table fills it from extra, but the model has no such parameter" in str(raised.value)
    whole = _load(SMALL, checkpoint.weight_files(SMALL))
    with pytest.raises(WeightsError, match=r"^head.kernel, layers.attention.key.bias: .* not in both"):
        weights.save(whole, table)


def test_a_value_beyond_the_type_of_a_parameter_is_named(tmp_path: Path) -> None:
    query = load_file(SMALL / "model.safetensors")[QUERY].astype(np.float64)
    query[0, :3] = 1e300, -1e39, 3e38
    files = _changed(tmp_path, encoder__layer__1__attention__self__query__weight=query)
    with pytest.raises(WeightsError, match=rf"{re.escape(QUERY)}: 2 of 1024 values are beyond what float32 holds$"):
        _load(SMALL, files)


def test_what_is_wrong_with_thousands_of_tensors_makes_a_short_message(tmp_path: Path) -> None:
    files = _changed(tmp_path, **{f"x{n:04}" + "y" * 1000: np.zeros(1, np.float32) for n in range(3000)})
    with pytest.raises(WeightsError, match=r"\n  and 2,950 more$") as raised:
        _load(SMALL, files)
    assert len(str(raised.value)) < 30_000


@pytest.mark.parametrize("value", [-1, 1e300, 1])
def test_an_epsilon_that_makes_nan_or_nothing_of_a_vector_is_refused(value: float, tmp_path: Path) -> None:
    values = json.loads((SMALL / "config.json").read_text()) | {"layer_norm_eps": value}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match="layer_norm_eps .* is not from 0 to below 1"):
        bert.BertConfig.from_json(tmp_path / "config.json")


@pytest.mark.parametrize("positions", [0, -1])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gte"])
def test_a_model_without_a_table_of_positions_has_room_for_texts(name: str, positions: int, tmp_path: Path) -> None:
    values = json.loads((SMALL.parent / name / "config.json").read_text()) | {"max_position_embeddings": positions}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=f"max_position_embeddings {positions} leaves no room for a text"):
        read_shape(architecture(tmp_path / "config.json"), tmp_path / "config.json")


def test_a_tensor_under_two_names_is_an_error(tmp_path: Path) -> None:
    files = _changed(tmp_path, bert__encoder__layer__0__output__dense__bias=np.zeros(32, np.float32))
    with pytest.raises(WeightsError, match=r"encoder.layer.0.output.dense.bias: there twice"):
        _load(SMALL, files)


@pytest.mark.parametrize("length", [0, 7, 8, 500, -1])
def test_a_truncated_file_is_an_error(tmp_path: Path, length: int) -> None:
    (tmp_path / "model.safetensors").write_bytes((SMALL / "model.safetensors").read_bytes()[:length])
    with pytest.raises(WeightsError, match=r"model.safetensors: not a whole safetensors file"):
        _load(SMALL, [tmp_path / "model.safetensors"])


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused_by_every_reader(tmp_path: Path, lie: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(TRUTH)
    assert [(name, array.shape) for name, array in weights.read_tensors(path)] == [("a", (2, 2))]
    path.write_bytes(LIES[lie])
    for read in (lambda: list(weights.read_tensors(path)), lambda: _load(SMALL, [path])):
        with pytest.raises(
            WeightsError, match=r"^\S*model\.safetensors: not a whole safetensors file \([^\n]+\); fetch it again$"
        ):
            read()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    array = load_file(SMALL / "model.safetensors")[QUERY].copy()
    array[0, :3] = value
    files = _changed(tmp_path, encoder__layer__1__attention__self__query__weight=array)
    with pytest.raises(WeightsError, match=rf"{re.escape(QUERY)}: 3 of 1024 values are NaN or infinite"):
        _load(SMALL, files)


@pytest.mark.parametrize(
    ("dtype", "name"), [(ml_dtypes.float8_e4m3fn, "F8_E4M3"), (ml_dtypes.float8_e5m2, "F8_E5M2"), (np.int8, "I8")]
)
def test_types_without_a_scale_are_refused_by_name(tmp_path: Path, dtype: type, name: str) -> None:
    header = {"a": {"dtype": name, "shape": [2], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + np.zeros(2, dtype).tobytes())
    with pytest.raises(WeightsError, match=rf"a is of type {name}, which is not supported; supported: F64, F32, F16, BF16"):
        _load(SMALL, [tmp_path / "model.safetensors"])
    with pytest.raises(WeightsError, match=rf"a is of type {name}"):
        list(weights.read_tensors(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "a JSON object is needed, and this is a list"),
        ('{"eps": null}', "eps null is no finite number"),
        ('{"eps": NaN}', "eps NaN is no finite number"),
        ('{"eps": "1e-5"}', 'eps "1e-5" is no finite number'),
    ],
)
def test_a_setting_that_is_no_number_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=f"config.json: {message}"):
        weights.read_config(tmp_path / "config.json", {}, {"epsilon": "eps"}, {"eps": 1e-5})


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_size", 0), ("hidden_size", -32), ("intermediate_size", 1.5), ("num_attention_heads", 0), ("num_hidden_layers", 10**9), ("d_model", True)],
)  # fmt: skip
def test_a_size_is_a_whole_number_that_some_checkpoint_may_have(tmp_path: Path, key: str, value: float) -> None:
    (tmp_path / "config.json").write_text(json.dumps({key: value}))
    with pytest.raises(WeightsError, match=f"config.json: {key} {value} is not a whole number from 1 to"):
        weights.read_config(tmp_path / "config.json", {}, {"size": key}, {})


@pytest.mark.parametrize(
    "key", ["type_vocab_size", "max_position_embeddings", "n_positions", "local_attention", "sliding_window_pattern"]
)
def test_a_count_is_a_whole_number(tmp_path: Path, key: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({key: 1.5}))
    with pytest.raises(WeightsError, match=f"config.json: {key} 1.5 is not a whole number"):
        weights.read_config(tmp_path / "config.json", {}, {"count": key}, {})
    (tmp_path / "config.json").write_text(json.dumps({key: 1}))
    assert weights.read_config(tmp_path / "config.json", {}, {"count": key}, {}) == {"count": 1}


def test_sizes_that_no_model_has_are_refused(tmp_path: Path) -> None:
    values = json.loads((PARITY / "llama" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"head_dim": 1.5}))
    a = architecture(tmp_path / "config.json")
    with pytest.raises(WeightsError, match=r"config\.json: no model has such sizes \(.*1\.5"):
        weights.abstract(a.model, a.config(tmp_path / "config.json"), "float32")


def test_json_is_read_through_a_link_but_from_no_pipe(tmp_path: Path) -> None:
    """A hub's cache has links from its snapshots to its blobs."""
    (tmp_path / "blob").write_text('{"a": 1}')
    (tmp_path / "config.json").symlink_to(tmp_path / "blob")
    assert weights.read_json(tmp_path / "config.json") == {"a": 1}
    os.mkfifo(tmp_path / "modules.json")
    with pytest.raises(WeightsError, match=r"modules.json: cannot be read .*not a plain file"):
        weights.read_json(tmp_path / "modules.json")


class Blocks(nnx.Module):
    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        for n in range(count):
            setattr(self, f"block{n}", nnx.Param(jnp.zeros(shape, jnp.float32)))


def test_a_checkpoint_is_read_a_parameter_at_a_time(tmp_path: Path) -> None:
    """Beside the model's own arrays there are a few copies of one parameter, a sixteenth of the file, and never the file."""
    draw = np.random.default_rng(0)
    tensors = {f"{layer}.block{n}": draw.standard_normal((64, 256), np.float32) for n in range(16) for layer in range(4)}
    save_file(tensors, tmp_path / "model.safetensors")
    module = nnx.eval_shape(lambda: Blocks(16, (4, 64, 256)))
    table = {f"{{layer}}.block{n}": (f"block{n}", lambda array: array) for n in range(16)}
    tracemalloc.start()
    try:
        weights.load(module, [tmp_path / "model.safetensors"], table, (), ())
        _, largest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert largest < sum(tensor.nbytes for tensor in tensors.values()) / 2
    np.testing.assert_array_equal(
        weights._parameters(module)["block7"][...], np.stack([tensors[f"{layer}.block7"] for layer in range(4)])
    )
