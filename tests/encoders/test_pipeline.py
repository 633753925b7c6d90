"""Whole folders of sentence-transformers: the library's own vectors (tests/parity/pipelines, by scripts/make_pipeline_goldens.py), and refusals."""

import json
import math
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import CASES, FOLDERS, HUB, TEXTS, difference, vectors, write
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from cold_jax.encoders import weights
from cold_jax.encoders.architectures import architecture, read_shape
from cold_jax.encoders.pipeline import read_pipeline
from cold_jax.encoders.pooling import Pooling
from cold_jax.encoders.tokenizer import prompt_length, tokenizer_file
from cold_jax.errors import WeightsError


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_the_library_s(tmp_path: Path, name: str) -> None:
    assert difference(write(tmp_path / "folder", name), name) <= 1e-5


def test_a_folder_inside_the_folder_may_hold_the_checkpoint(tmp_path: Path) -> None:
    """As in folders of 2019: 0_Transformer."""
    folder = write(tmp_path / "folder", "cls")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "0_Transformer").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(folder / "0_Transformer" / name)
    (folder / "modules.json").write_text(json.dumps(modules))
    assert difference(folder, "cls") <= 1e-5


def test_choices_of_the_config_come_before_the_folder_s(tmp_path: Path) -> None:
    own = replace(HUB, id=str(write(tmp_path / "folder", "prompts")))
    loaded = own()
    assert loaded.prompts == {"users": "query: ", "items": "passage: ", "queries": "query: "}
    chosen = replace(own, prompts={"users": "user ", "items": ""}, pooling=Pooling.cls, normalize=False)()
    assert chosen.prompts == {"users": "user ", "queries": "query: "}
    plain = replace(HUB, id=str(write(tmp_path / "plain", "mean, not normalized")), pooling=Pooling.cls)()
    np.testing.assert_allclose(vectors(chosen, TEXTS), vectors(plain, TEXTS), atol=1e-6)
    users = [f"user {text}" for text in TEXTS]
    np.testing.assert_allclose(vectors(chosen, TEXTS, "users"), vectors(plain, users), atol=1e-6)


def test_a_folder_without_its_modules_is_read_as_the_unit_mean(tmp_path: Path) -> None:
    named = replace(HUB, id=str(write(tmp_path / "named", "mean, normalized")))()
    bare = replace(HUB, id=str(write(tmp_path / "bare", "cls", **{"modules_json": None})))()
    np.testing.assert_allclose(vectors(bare, TEXTS), vectors(named, TEXTS), atol=1e-6)


def test_the_cache_tells_apart_what_makes_a_vector(tmp_path: Path) -> None:
    """Folders of the same weights, in the same cache."""
    digests = set()
    names = [
        "mean, not normalized",
        "mean, normalized",
        "cls",
        "max",
        "prompt not pooled, mean",
        "prompts",
        "dense with tanh, normalized",
    ]
    for n, name in enumerate(names):
        loaded = replace(HUB, id=str(write(tmp_path / str(n), name)))()
        digests.add(loaded.digest)
        arrays = load_file(FOLDERS / "pipelines.safetensors")
        side = next(iter(CASES[name]["sides"]))
        np.testing.assert_allclose(vectors(loaded, TEXTS, side), arrays[f"{name}/{side}"], atol=1e-5)
    assert len(digests) == len(names)


DENSE = "dense with tanh, normalized"


def _module(kind: str, **more: Any) -> dict[str, Any]:
    return {"idx": 1, "name": "1", "path": f"1_{kind}", "type": f"sentence_transformers.models.{kind}", **more}


FIRST = _module("Transformer", path="")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "cls",
            {"modules_json": [FIRST, _module("WordWeights")]},
            r"the module type 'sentence_transformers.models.WordWeights' is not",
        ),
        (
            "cls",
            {"modules_json": [FIRST, _module("Pooling", type="custom_st.Pooling")]},
            r"module type 'custom_st.Pooling' is not supp",
        ),
        *(
            (
                "cls",
                {"modules_json": [{**FIRST, "type": kind}, _module("Pooling")]},
                rf"the module type '{kind}' is not supported",
            )
            for kind in [
                "custom_st.CustomTransformer",
                "transformers_modules.x.custom_st.CustomTransformer",
                *(
                    f"sentence_transformers.models.{name}"
                    for name in ("Router", "Asym", "CNN", "LSTM", "WordEmbeddings", "BoW", "CLIPModel")
                ),
            ]
        ),
        ("cls", {"modules_json": [FIRST, True]}, r"modules.json: 'True' is no module"),
        ("cls", {"modules_json": [FIRST, _module("Pooling", type=["x"])]}, r"modules.json: type \[\"x\"\] is not text"),
        ("cls", {"modules_json": [FIRST, _module("Pooling", trust=1)]}, r"trust of the module .*Pooling: not supported"),
        ("cls", {"1_Pooling__config_json": {"pooling_mode": 1.5}}, r"pooling_mode 1.5 is not a list"),
        (
            "cls",
            {"1_Pooling__config_json": {"pooling_mode_cls_token": "false"}},
            r'pooling_mode_cls_token "false" is not true or false',
        ),
        ("cls", {"1_Pooling__config_json": {"include_prompt": 0}}, r"include_prompt 0 is not true or false"),
        ("cls", {"sentence_bert_config_json": {"do_lower_case": "no"}}, r'do_lower_case "no" is not true or false'),
        ("cls", {"sentence_bert_config_json": {"max_seq_length": True}}, r"max_seq_length true is not a whole number"),
        ("cls", {"config_sentence_transformers_json": {"prompts": {"query": 3}}}, r"query 3 is not text"),
        ("cls", {"config_sentence_transformers_json": {"prompts": ["query: "]}}, r'prompts \["query: "\] is not an object'),
        ("cls", {"config_sentence_transformers_json": {"truncate_dim": 8}}, r"truncate_dim: not supported; supported: prompts"),
        ("cls", {"config_sentence_transformers_json": {"default_prompt_name": {}}}, r"default_prompt_name \{\} is not text"),
        (
            "cls",
            {"tokenizer_config_json": {"pad_token": {}}, "config_sentence_transformers_json": {"prompts": {"query": "a"}}},
            r"is no token",
        ),
        ("cls", {"modules_json": [FIRST]}, r"the modules Transformer are not supported in this order"),
        (
            "cls",
            {"modules_json": [FIRST, _module("Pooling"), _module("Normalize"), _module("Dense")]},
            r"not supported in this order",
        ),
        ("cls", {"modules_json": [FIRST, _module("Pooling", path="../1_Pooling")]}, r"path '../1_Pooling' is not the plain name"),
        ("cls", {"modules_json": [FIRST, _module("Pooling", kwargs=["task"])]}, r"kwargs \['task'\] of the module"),
        (
            "cls",
            {"1_Pooling__config_json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}},
            r"mean_tokens, cls_token: not supp",
        ),
        ("cls", {"1_Pooling__config_json": {"pooling_mode": "attention"}}, r"1_Pooling/config.json: attention: not supported"),
        (
            "cls",
            {"1_Pooling__config_json": {"pooling_mode": "cls", "temperature": 2}},
            r"1_Pooling/config.json: temperature: not supp",
        ),
        (
            DENSE,
            {"2_Dense__config_json": {**CASES[DENSE]["files"]["2_Dense/config.json"], "use_residual": True}},
            r"use_residual true",
        ),
        (
            DENSE,
            {"2_Dense__config_json": {**CASES[DENSE]["files"]["2_Dense/config.json"], "activation_function": "x.Swish"}},
            r"activation_function 'x.Swish' is not supported",
        ),
        (
            DENSE,
            {"2_Dense__config_json": {**CASES[DENSE]["files"]["2_Dense/config.json"], "out_features": 9}},
            r"it holds .* says",
        ),
        (
            DENSE,
            {"3_Normalize__config_json": {"module_input_name": "token_embeddings"}},
            r"module_input_name 'token_embeddings' is not",
        ),
        ("cls", {"sentence_bert_config_json": {"max_seq_length": 0}}, r"max_seq_length 0 is not a positive number"),
        ("cls", {"sentence_bert_config_json": {"query_expansion": {"a": 1}}}, r"query_expansion \{'a': 1\} is not supported"),
        ("cls", {"sentence_bert_config_json": {"model_args": {"a": 1}}}, r"model_args \{'a': 1\} is not supported"),
        ("cls", {"sentence_bert_config_json": {"colour": "red"}}, r"colour 'red' is not supported"),
        (
            "cls",
            {"config_sentence_transformers_json": {"model_type": "SparseEncoder"}},
            r"model_type 'SparseEncoder' is not supported",
        ),
        (
            "cls",
            {"config_sentence_transformers_json": {"default_prompt_name": "x"}},
            r"default_prompt_name 'x' is none of its prompts",
        ),
        ("cls", {"config_json": {"model_type": "switch"}}, r"model_type 'switch' is not supported; supported: bert"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path, name: str, changes: dict, message: str) -> None:
    folder = write(tmp_path / "folder", name, **changes)
    with pytest.raises(WeightsError, match=message):
        replace(HUB, id=str(folder))()


def test_prompts_with_odd_names_are_said_to_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write(
        tmp_path / "folder", "cls", config_sentence_transformers_json={"prompts": {"retrieval.query": "a ", "STS": "b "}}
    )
    assert replace(HUB, id=str(folder))().prompts == {}
    assert "of its prompts (retrieval.query, STS) none is for users, items or queries" in caplog.text


def test_a_dense_that_is_not_safetensors_gets_the_command_that_converts_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", DENSE)
    (folder / "2_Dense/model.safetensors").rename(folder / "2_Dense/pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"2_Dense: no model.safetensors; weights are read from safetensors only; .*save_file"):
        replace(HUB, id=str(folder))()


@pytest.mark.parametrize(
    "name", ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "tokenizer_config.json"]
)
def test_a_file_that_is_none_is_not_taken_for_absent(tmp_path: Path, name: str) -> None:
    """Absent would mean other vectors."""
    folder = write(tmp_path / "folder", "prompts")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(WeightsError, match=name):
        replace(HUB, id=str(folder))()


ODD = [
    None,
    [],
    {},
    "",
    "x",
    0,
    -1,
    1.5,
    True,
    False,
    10**12,
    [1],
    {"a": 1},
    {"type": "x"},
    "../x",
    [None],
    [[]],
    "a\0b",
    math.nan,
]


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON document are, outermost first."""
    yield here
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*here, key))


def with_one_change(value: Any, draw: random.Random) -> Any:
    """The document with one value that is another, is gone, or that no folder has."""
    found = [place for place in places(value) if place[:2] != ("model", "vocab")]
    place, odd = draw.choice(found), draw.choice(ODD)
    if not place:
        return {**value, "odd": odd} if isinstance(value, dict) else odd
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if draw.random() < 0.2:
        del inner[place[-1]]
    else:
        inner[place[-1]] = odd
    return value


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    top = tmp_path_factory.mktemp("folders")
    return [write(top / str(n), name) for n, name in enumerate(CASES)]


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(seed=st.integers(0, 2**32))
def test_of_a_mutated_folder_comes_an_encoder_or_an_error_of_its_file_two_thousand_times(folders: list[Path], seed: int) -> None:
    draw = random.Random(seed)
    folder = draw.choice(folders)
    file = draw.choice(sorted(folder.rglob("*.json")))
    whole = file.read_bytes()
    file.write_text(json.dumps(with_one_change(json.loads(whole), draw)))
    try:
        own = read_pipeline(folder)
        tokenizer = tokenizer_file(own.checkpoint, own.lower_case)
        a = architecture(own.checkpoint / "config.json")
        weights.abstract(a.model, read_shape(a, own.checkpoint / "config.json"), "float32")
        for prompt in ("", *own.prompts.values()):
            prompt_length(own.checkpoint, tokenizer, prompt, 16)
    except WeightsError as error:
        assert ".json" in str(error) or str(folder) in str(error)  # noqa: PT017
    finally:
        file.write_bytes(whole)
