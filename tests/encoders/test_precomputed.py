"""The table of a frozen encoder: what the encoder says of each text alone, computed once."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from flax import nnx

from cold_jax.encoders import Loaded, TextEncoder, precomputed
from cold_jax.encoders.pooling import Pooling
from cold_jax.storage import cache
from cold_jax.text.packing import pack
from cold_jax.text.tokens import Tokens, tokenize

TEXTS = ["a film", "", "another film about a cook", "a film", "x" * 30, *(f"film number {n}" for n in range(70))]


@pytest.fixture(scope="module")
def tiny() -> Loaded:
    return replace(small.ENCODER, initial=0.1, max_length=20, row_length=8, texts_per_row=3)()


_alone_states = jax.jit(lambda encoder, rows: encoder.states(rows))


def _alone(loaded: Loaded, tokens: Tokens, t: int) -> tuple[np.ndarray, np.ndarray]:
    """States and mean vector of one text in a row of its own."""
    rows, _ = pack(tokens, np.array([t]), 32, 1, 1)
    state_LD = np.asarray(_alone_states(loaded.encoder, rows))[0, : tokens.length_T[t]]
    mean_D = state_LD.mean(0)
    return state_LD, mean_D / np.linalg.norm(mean_D)


def test_vectors_and_states_are_those_of_each_text_alone(tiny: Loaded) -> None:
    tokens = tokenize(tiny.tokenizer, TEXTS, tiny.max_length)
    vector_TD, (state_TLD, length_T) = precomputed.vectors(tiny, tokens), precomputed.states(tiny, tokens)
    assert vector_TD.shape == (len(TEXTS), 16)
    assert state_TLD.shape == (len(TEXTS), 20, 16)  # the longest was cut to max_length; so rows have 32 places, not 8
    np.testing.assert_array_equal(length_T[:3], [7, 2, 20])
    for t in (0, 1, 2, 4, 40, 74):
        state_LD, vector_D = _alone(tiny, tokens, t)
        np.testing.assert_allclose(vector_TD[t], vector_D, atol=1e-6)
        np.testing.assert_allclose(state_TLD[t, : length_T[t]], state_LD, atol=1e-5)
        assert not state_TLD[t, length_T[t] :].any()


def test_where_texts_repeat_each_is_encoded_once(tiny: Loaded) -> None:
    """Bit for bit what a table of each text once holds; where few repeat, all of them share rows as they always did."""
    once = list(dict.fromkeys(TEXTS))
    many = [once[n] for n in np.random.default_rng(0).integers(0, len(once), 3 * len(once))] + once
    table_TD = precomputed.vectors(tiny, tokenize(tiny.tokenizer, list(dict.fromkeys(many)), tiny.max_length))
    vector_of = dict(zip(dict.fromkeys(many), table_TD, strict=True))
    vector_TD = precomputed.vectors(tiny, tokenize(tiny.tokenizer, many, tiny.max_length))
    np.testing.assert_array_equal(vector_TD, np.stack([vector_of[text] for text in many]))


def test_on_an_accelerator_vectors_are_the_same(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows at once, places without a text left there, and more slices than may wait."""
    texts = [f"{text} {n}" for n in range(5) for text in TEXTS]
    tokens = tokenize(tiny.tokenizer, texts, tiny.max_length)
    expected_TD = precomputed.vectors(tiny, tokens)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(precomputed, "AHEAD", 2)
    for rows in (3, 7, 256):
        monkeypatch.setattr(precomputed, "ACCELERATOR_ROWS", rows)
        assert precomputed.rows_at_once() == rows
        np.testing.assert_allclose(precomputed.vectors(tiny, tokens), expected_TD, atol=1e-6)
        np.testing.assert_allclose(precomputed.encode(tiny, texts[:9], "items"), expected_TD[:9], atol=1e-6)
    assert precomputed.encode(tiny, [], "items").shape == (0, 16)


@pytest.mark.parametrize("last", [1, 2])
def test_the_last_layers_on_the_table_of_the_lower_ones_are_the_encoder(tiny: Loaded, last: int) -> None:
    tokens = tokenize(tiny.tokenizer, TEXTS, tiny.max_length)
    upper = precomputed.with_frozen_prefix(tiny, tokens, last)
    rows, slot_T = pack(tokens, np.arange(40), 32, 3, 1)
    got, expected = (np.asarray(jax.jit(lambda encoder, rows: encoder(rows))(e, rows)) for e in (upper, tiny.encoder))
    np.testing.assert_allclose(got[slot_T], expected[slot_T], atol=1e-6)
    held = parameters(upper)
    assert {shape[0] for name, shape in held.items() if "layers" in name} == {last}
    assert not [name for name in held if "embeddings" in name]


def parameters(encoder: nnx.Module) -> dict[str, tuple[int, ...]]:
    return {".".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(encoder, nnx.Param))}


def test_more_layers_than_there_are_is_an_error(tiny: Loaded) -> None:
    with pytest.raises(ValueError, match="adapter.layers: last_3 of an encoder of 2 layers"):
        precomputed.with_frozen_prefix(tiny, tokenize(tiny.tokenizer, TEXTS, tiny.max_length), 3)


def test_a_second_call_encodes_nothing(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokenize(tiny.tokenizer, TEXTS, tiny.max_length)
    first = precomputed.vectors(tiny, tokens)
    monkeypatch.setattr(precomputed, "_vectors", None)
    np.testing.assert_array_equal(precomputed.vectors(tiny, tokens), first)
    without_weights = replace(tiny, read=lambda: pytest.fail("weights are read"))
    np.testing.assert_array_equal(precomputed.vectors(without_weights, without_weights.tokenize(TEXTS, "items")), first)


def test_the_cache_tells_encoders_and_texts_apart(tiny: Loaded) -> None:
    tokens = tokenize(tiny.tokenizer, TEXTS, tiny.max_length)
    cls = tiny.with_encoder(TextEncoder(tiny.encoder.backbone, Pooling.cls, 3), tiny.digest)
    first = precomputed.vectors(tiny, tokens)
    assert not np.allclose(first, precomputed.vectors(cls, tokens))
    assert len(precomputed.vectors(tiny, tokenize(tiny.tokenizer, TEXTS[:3], 20))) == 3
    for other in (replace(tiny, digest="0"), replace(tiny, row_length=16)):
        precomputed.vectors(other, tokens)
    assert len(list((cache.root() / "vectors").glob("*.safetensors"))) == 5


def test_a_text_is_encoded_when_it_is_first_read_and_once(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {name: tokenize(tiny.tokenizer, [name, "a film"], tiny.max_length) for name in ("title", "description")}
    encoded, vectors = [], precomputed.vectors
    monkeypatch.setattr(precomputed, "vectors", lambda loaded, tokens: encoded.append(tokens) or vectors(loaded, tokens))
    lazy = precomputed.LazyVectors(tiny, texts)
    assert ([*lazy], len(lazy), encoded) == ([*texts], 2, [])
    main_TD = next(iter(lazy.values()))
    np.testing.assert_array_equal(lazy["title"], main_TD)
    np.testing.assert_array_equal(main_TD, vectors(tiny, texts["title"]))
    assert [tokens.digest for tokens in encoded] == [texts["title"].digest]


def test_table_looks_up_and_learns_nothing() -> None:
    vector_TD = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    looked = precomputed.VectorTable(vector_TD)
    assert looked.width == 3
    assert not nnx.to_flat_state(nnx.state(looked, nnx.Param))
    text_T = jnp.array([4, 0, 4], jnp.int32)
    np.testing.assert_array_equal(jax.jit(lambda m, t: m(t))(looked, text_T), vector_TD[[4, 0, 4]])
    assert jnp.isnan(looked(jnp.array([5], jnp.int32))).all()


def test_states_look_up_and_learn_nothing() -> None:
    state_TLD = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    looked = precomputed.TokenStateTable(state_TLD, np.array([1, 2, 3, 4, 4]))
    assert looked.state_width == 3
    assert not nnx.to_flat_state(nnx.state(looked, nnx.Param))
    np.testing.assert_array_equal(looked.states(jnp.array([2, 1], jnp.int32)), state_TLD[[2, 1]])
    np.testing.assert_array_equal(looked.length[...], [1, 2, 3, 4, 4])
