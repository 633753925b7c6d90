"""Which tokens are predicted and from where; which texts are held out."""

from dataclasses import replace

import numpy as np
import pytest
import small
from tokenizers import Tokenizer

from cold_jax import experiment
from cold_jax.batching.batch import Batch, PackedTexts
from cold_jax.batching.masked import MaskedTokens, TextBatches
from cold_jax.errors import DataError
from cold_jax.text.packing import Rows
from cold_jax.text.tokens import Tokens

TEXTS = MaskedTokens(size=6, share=0.2, mask="[MASK]", holdout_fraction=0.2)


def make(
    q: experiment.Prepared,
    batching: MaskedTokens = TEXTS,
    causal: bool = False,
    seed: int = 0,
    devices: int = 1,
    multiple: int = 2,
) -> TextBatches:
    place_texts = PackedTexts(q.tokens, small.ENCODER.row_length, 4)
    return batching(small.inputs(q, place_texts, causal=causal, seed=seed, multiple=multiple, devices=devices))


def texts_of(q: experiment.Prepared, rows: Rows) -> set[bytes]:
    token_N, offset_T = q.tokens.token_N, q.tokens.offset_T
    return {token_N[offset_T[t] : offset_T[t + 1]].tobytes() for t in np.unique(rows.text_RL[rows.segment_RL > 0])}


def original(q: experiment.Prepared, batch: Batch) -> np.ndarray:
    """The tokens in a batch's rows as the texts have them."""
    rows = batch.rows
    at_RL = q.tokens.offset_T[rows.text_RL] + rows.position_RL
    return np.where(rows.segment_RL > 0, q.tokens.token_N[at_RL], 0).reshape(-1)


def specials(q: experiment.Prepared) -> tuple[int, list[int]]:
    """[MASK], and all special tokens."""
    tokenizer = Tokenizer.from_file(str(q.loaded.tokenizer))
    mask = tokenizer.token_to_id("[MASK]")
    return mask, [*tokenizer.encode("").ids, mask]


@pytest.mark.parametrize("devices", [1, 3])
def test_a_share_of_the_tokens_is_masked(prepared: experiment.Prepared, devices: int) -> None:
    """Never special ones; of those chosen 80 % become [MASK], 10 % a random token, and 10 % stay."""
    batches, (mask, special) = make(prepared, devices=devices, multiple=2 * devices), specials(prepared)
    inputs, targets = [], []
    for step in range(120):
        batch = batches(step)
        token_N, read_N = original(prepared, batch), batch.rows.token_RL.reshape(-1)
        e, real_B = batch.examples, batch.examples.weight_B > 0
        position_B = e.position_B[real_B]
        np.testing.assert_array_equal(token_N[position_B], e.token_B[real_B])
        maskable_N = (batch.rows.segment_RL.reshape(-1) > 0) & ~np.isin(token_N, special)
        assert maskable_N[position_B].all()
        assert len(position_B) == max(round(0.2 * maskable_N.sum()), 1) == len(set(position_B))
        assert set(np.flatnonzero(read_N != token_N)) <= set(position_B.tolist())
        np.testing.assert_array_equal(e.weight_B, np.arange(len(e.weight_B)) < len(position_B))
        assert len(e.weight_B) % devices == 0
        inputs += read_N[position_B].tolist()
        targets += token_N[position_B].tolist()
    inputs, targets = np.array(inputs), np.array(targets)
    assert len(inputs) > 3000
    assert np.mean(inputs == mask) == pytest.approx(0.8, abs=0.025)  # 3.5 standard errors
    assert np.mean(inputs == targets) == pytest.approx(0.1, abs=0.03)


def test_a_gpt_predicts_every_token_but_a_texts_first(prepared: experiment.Prepared) -> None:
    batch = make(prepared, causal=True)(0)
    position_B = batch.examples.position_B[batch.examples.weight_B > 0]
    token_N, rows = original(prepared, batch), batch.rows
    np.testing.assert_array_equal(rows.token_RL.reshape(-1), token_N)
    np.testing.assert_array_equal(token_N[position_B + 1], batch.examples.token_B[: len(position_B)])
    later_N = np.flatnonzero((rows.segment_RL > 0).reshape(-1) & (rows.position_RL > 0).reshape(-1))
    np.testing.assert_array_equal(np.sort(position_B) + 1, later_N)


@pytest.mark.parametrize("causal", [False, True])
def test_an_epoch_has_every_text_that_is_not_held_out_once(prepared: experiment.Prepared, causal: bool) -> None:
    q, batches = prepared, make(prepared, causal=causal)
    epochs = [
        [texts_of(q, batches(epoch * batches.steps_per_epoch + n).rows) for n in range(batches.steps_per_epoch)]
        for epoch in (0, 1)
    ]
    held_out = set().union(*(texts_of(q, batch.rows) for batch in batches.held_out_batches()))
    distinct = {q.tokens.token_N[a:b].tobytes() for a, b in zip(q.tokens.offset_T[:-1], q.tokens.offset_T[1:], strict=True)}
    for steps in epochs:
        assert [len(texts) for texts in steps[:-1]] == [TEXTS.size] * (len(steps) - 1)
        assert 0 < len(steps[-1]) <= TEXTS.size
        assert sum(map(len, steps)) == len(set().union(*steps))
        assert set().union(*steps) == distinct - held_out
    assert epochs[0] != epochs[1]
    assert len(held_out) == round(0.2 * len(distinct))
    assert held_out != set().union(*(texts_of(q, batch.rows) for batch in make(q, causal=causal, seed=1).held_out_batches()))


def test_a_batch_is_a_function_of_seed_and_step(prepared: experiment.Prepared) -> None:
    batches, other = make(prepared), make(prepared, seed=1)
    token_RL = batches(3).rows.token_RL
    other(0)
    np.testing.assert_array_equal(make(prepared)(3).rows.token_RL, token_RL)
    epoch = batches.steps_per_epoch
    assert batches(3 + epoch).rows.token_RL.tobytes() != token_RL.tobytes() != other(3).rows.token_RL.tobytes()
    first, again = (batches.held_out_batches() for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.rows.token_RL, b.rows.token_RL)
        np.testing.assert_array_equal(a.examples.position_B, b.examples.position_B)


def test_rows_have_one_shape(prepared: experiment.Prepared) -> None:
    """And are packed, so that a step may be made of slices of them."""
    batches = make(prepared)
    assert batches.packed
    assert len({batches(step).rows.token_RL.shape for step in range(3 * batches.steps_per_epoch)}) == 1


def test_an_error_names_the_texts(prepared: experiment.Prepared) -> None:
    batches = make(prepared)
    batch = batches(0)
    texts = np.unique(batch.rows.text_RL[batch.rows.segment_RL > 0]).tolist()
    assert len(texts) == 6
    assert batches.describe(batch) == f"Texts of the batch (numbered users first, then items): {texts}"


@pytest.mark.parametrize(("key", "value"), [("size", 0), ("share", 0.0), ("share", 1.0), ("holdout_fraction", 1.0)])
def test_impossible_values_are_refused(key: str, value: float) -> None:
    assert replace(TEXTS, size=1).size == 1
    with pytest.raises(ValueError, match=f"batching.{key}: {value} "):
        replace(TEXTS, **{key: value})


def test_texts_that_cannot_be_learned_from_are_refused(prepared: experiment.Prepared) -> None:
    with pytest.raises(DataError, match=r"has no token '<mask>'"):
        make(prepared, replace(TEXTS, mask="<mask>"))
    make(prepared, replace(TEXTS, mask="<mask>"), causal=True)  # which masks nothing
    _, special = specials(prepared)
    one = Tokens(np.array([special[0], 9, special[0]], np.int32), np.array([0, 2, 3]))  # the second has no token of its own
    with pytest.raises(DataError, match="1 different texts of users and items are too few"):
        make(prepared._replace(tokens=one))


def test_no_token_beyond_the_embedding_is_put_in(prepared: experiment.Prepared) -> None:
    """As of a tokenizer that has more tokens than its model has rows; such a token's vector would be NaN."""
    place_texts = PackedTexts(prepared.tokens, small.ENCODER.row_length, 4)
    inputs, (mask, _) = small.inputs(prepared, place_texts, multiple=2), specials(prepared)
    batches, put_in = TEXTS(inputs._replace(vocabulary=mask + 1)), set()
    for step in range(30):
        token_N = (batch := batches(step)).rows.token_RL.reshape(-1)
        put_in |= set(token_N[token_N != original(prepared, batch)].tolist())
    assert {mask} < put_in <= set(range(mask + 1))
    with pytest.raises(DataError, match=rf"'\[MASK\]' is token {mask} of .*, and the encoder's embedding has {mask} rows"):
        TEXTS(inputs._replace(vocabulary=mask))
    TEXTS(inputs._replace(vocabulary=mask, causal=True))
