"""Vectors' scores by hand; likelihoods that share rows and a prompt against one text at a time; what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import small
import states
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from scipy import sparse
from scipy.special import log_softmax
from tokenizers import Tokenizer

from cold_jax import CONF, config, experiment
from cold_jax.data.dataset import Entities
from cold_jax.encoders import Loaded
from cold_jax.encoders.pooling import Pooling
from cold_jax.errors import ConfigError, DataError, WeightsError
from cold_jax.models.likelihood import Likelihood, log_likelihoods
from cold_jax.splits.tasks import TrainView
from cold_jax.text.packing import Rows, pack
from cold_jax.text.tokens import Tokens

TITLES = ("a dog", "the dog and cat", "cats", "b")
LIKELIHOOD = Likelihood(
    title="title",
    profile_prompt="{profile}. ",
    liked_prompt="liked {liked}. ",
    question="now",
    history=2,
    calibration=0.5,
    popularity_weight=0.25,
    first=None,
    prompt_tokens=40,
    row_tokens=16,
    rows_at_once=3,
)


def named(*profiles: str) -> TrainView:
    """Two users, of whom one took items 0 and 1, the other item 0; of four items the last is cold."""
    train = small.make_train([[3, 1], [1, 2], [0, 3], [2, 1]], [[0]] * 4)
    items = Entities(train.items.ids, {"title": TITLES}, {})
    return replace(train, items=items, users=replace(train.users, texts={"profile": profiles}))


def encoder(folder: Path, name: str) -> Loaded:
    at = str(states.write(folder, name, noise=0.3))
    loaded = replace(states.HUB, id=at, max_length=64, row_length=32, pooling=Pooling.mean)()
    return replace(loaded, config={**loaded.config, "tie_word_embeddings": True})


@jax.jit
def states_of(backbone: Any, rows: Rows) -> jax.Array:
    return backbone(rows)


def alone(loaded: Loaded, prompt: list[int], after: list[int]) -> float:
    """Σ log p of tokens after a prompt, from the states of the one sequence; softmax by SciPy."""
    both = np.array([*prompt, *after], np.int32)
    rows, _ = pack(Tokens(both, np.array([0, len(both)])), np.array([0]), 64, 1, 1)
    backbone = loaded.encoder.backbone
    state_LD = np.asarray(states_of(backbone, rows))[0]
    log_p_LX = log_softmax(state_LD.astype(np.float64) @ np.asarray(backbone.embeddings.word.embedding[...]).T, axis=1)
    return sum(log_p_LX[len(prompt) + n - 1, token] for n, token in enumerate(after))


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3"])
def test_texts_that_share_a_prompt_are_as_likely_as_alone(tmp_path: Path, name: str) -> None:
    """In any company, whatever the prompt's length."""
    loaded = encoder(tmp_path, name)
    draw = np.random.default_rng(0)
    prompts = [draw.integers(1, 30, length).astype(np.int32) for length in (1, 5, 33)]
    length_T = np.array([3, 1, 12, 7, 1, 9])
    token_N = draw.integers(1, 30, length_T.sum()).astype(np.int32)
    tokens = Tokens(token_N, np.concatenate([[0], np.cumsum(length_T)]))
    asked_T = np.array([5, 0, 2, 1])
    got = log_likelihoods(loaded.encoder.backbone, prompts, tokens, asked_T, 16, 3)
    texts = [token_N[tokens.offset_T[t] : tokens.offset_T[t + 1]].tolist() for t in asked_T]
    np.testing.assert_allclose(got, [[alone(loaded, p.tolist(), own) for own in texts] for p in prompts], rtol=1e-4)


def profiles(train: TrainView) -> Callable[[int], str]:
    return next(iter(train.users.texts.values())).__getitem__


def test_a_likelihood_is_its_formula(tmp_path: Path) -> None:
    """Of a user with a profile who shows items 2 and then 1, the newest; and of one of whom nothing is known."""
    loaded, train = encoder(tmp_path, "gpt2"), named("a cook", "")
    history_UI = sparse.csr_array((np.array([1.0, 2.0]), ([0, 0], [1, 2])), shape=(2, 4))
    reader = Tokenizer.from_file(str(loaded.tokenizer))
    own = [reader.encode(f" {title}", add_special_tokens=False).ids for title in TITLES]
    asked = [reader.encode(prompt).ids for prompt in ("a cook. liked the dog and cat, cats. now", "now")]
    log_p_PI = np.array([[alone(loaded, prompt, title) for title in own] for prompt in asked])
    log_c_I = np.log((np.array([2, 1, 0, 0]) + 0.5) / (3 + 4 / 2))
    prior_I = 0.25 * np.where(train.warm_I, log_c_I, log_c_I[train.warm_I].mean())
    expected = (log_p_PI - 0.5 * log_p_PI[1]) / np.array([len(ids) for ids in own]) + prior_I
    score_UI = LIKELIHOOD.scorer(loaded, train, profiles(train))(np.array([0, 1]), history_UI, np.arange(4))
    np.testing.assert_allclose(score_UI, expected, rtol=1e-4)
    few_UI = replace(LIKELIHOOD, first=2).scorer(loaded, train, profiles(train))(
        np.array([0, 1]), history_UI, np.array([0, 1, 3])
    )
    np.testing.assert_allclose(few_UI[:, :2], expected[:, :2], rtol=1e-4)  # the most popular two are read
    assert (few_UI[:, 2] < few_UI[:, :2].min(1)).all()


def test_what_a_likelihood_refuses(tmp_path: Path) -> None:
    loaded = encoder(tmp_path, "gpt2")
    with pytest.raises(DataError, match="no text 'plot'; they have title"):
        replace(LIKELIHOOD, title="plot").scorer(loaded, named("", ""), str)
    untied = replace(loaded, config={**loaded.config, "tie_word_embeddings": False})
    with pytest.raises(WeightsError, match="encoder=smollm2"):
        LIKELIHOOD.scorer(untied, named("", ""), str)
    (tmp_path / "bert").mkdir()
    with pytest.raises(WeightsError, match="bert"):
        LIKELIHOOD.scorer(encoder(tmp_path / "bert", "bert_small"), named("", ""), str)
    node = OmegaConf.merge(OmegaConf.load(Path(CONF, "model/likelihood.yaml")), {"liked_prompt": "no place"})
    with pytest.raises(ConfigError, match="must contain {liked} once"):
        config.make(node, "model")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("model", ["two_tower", "linear", "lstm"])
def test_nothing_trained_needs_somewhere_to_start(model: str) -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        s = config.settings(compose("train", ["+experiment=smoke", "adapter=zero_shot", f"model={model}"]))
    with pytest.raises(ConfigError, match="begins at random"):
        experiment.setup(s, small.prepared())
