"""Cosine scores against their formulas."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import small

from cold_jax import experiment
from cold_jax.encoders.precomputed import VectorTable
from cold_jax.models.base import score_candidates
from cold_jax.models.cosine import Cosine, TextVectors


def test_cosine_is_its_formula(prepared: experiment.Prepared) -> None:
    """Profile and shown items, as the vectors are."""
    le = small.train_setup(prepared, small.FULL, Cosine(profile_weight=0.5, logit_scale=20.0))
    assert all("encoder" in name for name in small.leaves(le.partition.trainable))
    model, batch = le.partition.model(), le.batches(0)
    vector_TD = np.asarray(jax.jit(lambda m, rows: m.encoder(rows))(model, batch.rows))
    history_BJ, v_JD = batch.examples.history_BJ, vector_TD[batch.items.slot_J]
    user_BD = 0.5 * vector_TD[batch.examples.profile_B] + history_BJ @ v_JD / np.sqrt(np.maximum(history_BJ.sum(1), 1))[:, None]
    got = jax.jit(lambda m, v, e, i: score_candidates(m, v, e, i))(model, vector_TD, batch.examples, batch.items)
    np.testing.assert_allclose(got, 20 * user_BD @ v_JD.T, rtol=1e-4, atol=1e-4)


def test_text_vectors_are_their_formula() -> None:
    """In one dimension whitening leaves the side of the mean that a text is on."""
    train = small.make_train([[3.0], [1], [0], [-4]], [[0]] * 4)
    train = replace(train, user_vectors={"profile": np.array([[1.0], [3]], np.float32)})
    model = TextVectors(floor=1e-9, profile_weight=0.5, logit_scale=2.0, popularity_weight=0.5)(
        VectorTable(np.ones((6, 1))), train, None, 0
    )
    side_I = np.sign(np.array([3, 1, 0, -4]) - np.mean([3, 1, 0]))
    log_c_I = np.log((np.array([2, 1, 0]) + 0.5) / (3 + 4 / 2))
    prior_I = 0.5 * np.array([*log_c_I, log_c_I.mean()])
    users = [0.5 * -1 + side_I[0], (0.5 * 1 + side_I[0] + side_I[3]) / np.sqrt(2)]
    sides = jax.jit(lambda model, x: model.items(x, jnp.arange(4)))(model, jnp.array([[3.0], [1], [0], [-4]]))
    shown = jnp.array([[1.0, 0, 0, 0], [1, 0, 0, 1]])
    score = jax.jit(lambda model, sides: model.scores(jnp.array([[1.0], [3]]), shown, sides, slice(None)))(model, sides)
    np.testing.assert_allclose(score, np.outer(users, 2 * side_I) + prior_I, atol=1e-4)
