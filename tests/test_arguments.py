"""Texts as the shell passes them, and what is said about words that Hydra refuses."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cold_jax import config
from cold_jax.arguments import Request, explain, pairs, quoted, take_request
from cold_jax.errors import ConfigError

HARD = ["Köln, student's", 'a "b" c', "x=y ${z} \\", "kräuter tee", 'a\\"b', "[x", "{a:", "", "1", "null", "a\\\\"]


@pytest.mark.parametrize("text", HARD)
def test_options_take_any_text(text: str) -> None:
    arguments = ["run=DIR", "--profile", text, "k=3", "--liked", "50", f"--query={text}", "--liked", "007"]
    request, others = take_request(arguments)
    assert request._replace(exclude=(), where=(), attribute=()) == Request(None, text, text, ["50", "007"])
    assert others == ["run=DIR", "k=3"]


def test_an_attribute_is_a_pair() -> None:
    assert pairs(["a=b=c", "d="], "attribute") == {"a": "b=c", "d": ""}
    with pytest.raises(ConfigError, match="attribute: 'genre' is not NAME=VALUE"):
        pairs(["a=b", "genre"], "attribute")


def test_an_option_without_its_text_is_named() -> None:
    with pytest.raises(ConfigError, match="--query"):
        take_request(["run=DIR", "--query"])


@given(st.text(st.characters(blacklist_categories=["C", "Z"]) | st.sampled_from("\\\"'${},[]= ")) | st.sampled_from(HARD))
def test_hydra_reads_a_quoted_text_as_it_is(text: str) -> None:
    [word] = shlex.split(quoted(f"profile={text}"))
    value = OverridesParser.create().parse_override(word).value()
    assert OmegaConf.create({"value": value}).value == text


def explained(*words: str, command: str = "train") -> str:
    with pytest.raises((HydraException, OmegaConfBaseException)) as refused:
        config.compose(words, command)
    line = explain(refused.value, words, command)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loop.epoch=3"], "did you mean loop.epochs?"),
        (["optimizer.lr=1e-3"], "did you mean optimizer.learning_rate?"),
        (["+experiment=smoke", "adapter.rnak=3"], "adapter.rnak: there is no such key; did you mean adapter.rank?"),
        (
            ["+experiment=smoke", "baseline=[popularity,amazon/shop_kernel]", "baseline.shop_kernel.fold=3"],
            "baseline.shop_kernel.fold: there is no such key; did you mean baseline.shop_kernel.folds?",
        ),
        (["learning_rate=1"], "did you mean optimizer.learning_rate=1?"),
        (["adaptor=frozen"], "did you mean adapter=frozen?"),
        (["adapter=lroa"], "adapter=lroa: there is no such file in conf/adapter; did you mean lora?"),
        (["baseline=[random,pouplarity]"], "did you mean popularity?"),
        (["+experiment=lora_usercold"], "did you mean lora_user_cold?"),
        (["experiment=smoke"], "write +experiment=smoke"),
        (["seed=1,2"], "needs --multirun"),
    ],
)
def test_what_was_meant_is_found(words: list[str], message: str) -> None:
    assert message in explained(*words)


@pytest.mark.parametrize("text", ["Köln, student's", 'a "b" c', "x=[y", "it's"])
def test_a_refused_text_is_shown_quoted(text: str) -> None:
    word = f"profile={text}"
    assert quoted(word) in explained("run=x", word, command="recommend")
