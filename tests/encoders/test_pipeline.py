"""Whole folders of sentence-transformers: the library's own vectors (tests/parity/pipelines, by scripts/make_pipeline_goldens.py), and refusals."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import CASES, FOLDERS, HUB, TEXTS, difference, vectors, write
from safetensors.numpy import load_file

from cold_jax.encoders.pooling import Pooling
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
