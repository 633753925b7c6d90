"""What is predicted and from where; the losses by NumPy; devices agree; held-out texts become likelier."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
import small
import states
from flax import nnx
from scipy.special import log_softmax

from cold_jax import config, experiment
from cold_jax.batching.masked import MaskedTokens
from cold_jax.encoders import Loaded, Pretrained
from cold_jax.encoders.pooling import Pooling
from cold_jax.errors import ConfigError
from cold_jax.models.init import RandomInit
from cold_jax.models.language_model import LanguageModel
from cold_jax.text.packing import PREFIX
from cold_jax.training.objectives import TokenCrossEntropy
from cold_jax.training.parallel import Pmap
from cold_jax.training.privacy import NoPrivacy
from cold_jax.training.step import StepMode

TEXTS = MaskedTokens(size=6, share=0.2, mask="[MASK]", holdout_fraction=0.2)
OBJECTIVE = TokenCrossEntropy()


def train_setup(q: experiment.Prepared, adapter: Any, parallel: Any = small.ONE) -> experiment.TrainSetup:
    loop = small.Loop(
        epochs=1,
        max_steps=None,
        validate_every=1,
        patience=None,
        min_gain=0.0,
        microbatch_rows=2,
        log_every=1,
        step=StepMode.auto,
    )
    chosen = {"adapter": adapter, "model": LanguageModel(), "batching": TEXTS, "objective": OBJECTIVE}
    chosen |= {"parallel": parallel, "loop": loop, "seed": 0, "init": RandomInit()}
    return experiment.setup(config.Settings(**{**dict.fromkeys(config.Settings._fields), "privacy": NoPrivacy(), **chosen}), q)


@pytest.fixture(scope="module")
def gpt(prepared: experiment.Prepared, tmp_path_factory: pytest.TempPathFactory) -> experiment.Prepared:
    """The small data with a random GPT-2 over characters."""
    at = str(states.write(tmp_path_factory.mktemp("gpt2"), "gpt2", noise=0.3))
    shape: dict[str, Any] = {
        "max_length": 32,
        "row_length": 64,
        "texts_per_row": 4,
        "dtype": "float32",
        "normalize": None,
        "prompts": {},
    }
    loaded: Loaded = Pretrained(**shape, pooling=Pooling.mean, package=None, sha256=None, member=None, base_model=None, id=at)()
    return prepared._replace(loaded=loaded)


def original(q: experiment.Prepared, batch: Any) -> np.ndarray:
    """The tokens of a batch's rows as the texts have them."""
    rows = batch.rows
    at_RL = q.tokens.offset_T[rows.text_RL] + rows.position_RL
    return np.where(rows.segment_RL > 0, q.tokens.token_N[at_RL], 0)


@pytest.mark.parametrize("kind", ["bert", "gpt"])
def test_the_loss_is_the_mean_of_the_tokens(prepared: experiment.Prepared, gpt: experiment.Prepared, kind: str) -> None:
    q = prepared if kind == "bert" else gpt
    le = small.perturbed(train_setup(q, small.LORA))
    losses, _ = small.fit(le, OBJECTIVE, small.DESCENT, 1)
    batch, model = le.batches(0), le.partition.model()
    state_ND = np.asarray(jax.jit(lambda m, rows: m.encoder.states(rows))(model, batch.rows), np.float64).reshape(
        -1, model.encoder.width
    )
    if kind == "bert":
        state_ND = state_ND @ np.asarray(model.map_DD[...])
    logit_NX = state_ND @ np.asarray(model.encoder.backbone.embeddings.word.embedding[...]).T
    logit_NX = logit_NX + (np.asarray(model.bias_X[...]) if kind == "bert" else 0)
    of = batch.examples
    log_p_B = log_softmax(logit_NX, 1)[of.position_B, of.token_B]
    np.testing.assert_allclose(losses[0], -(log_p_B * of.weight_B).sum() / of.weight_B.sum(), rtol=1e-5)


def test_devices_and_slices_find_what_one_finds(prepared: experiment.Prepared) -> None:
    one = small.fit(train_setup(prepared, small.FULL), OBJECTIVE, small.DESCENT, 3)[0]
    for parallel in (Pmap(2), small.mesh(2)):
        many = small.fit(train_setup(prepared, small.FULL, parallel), OBJECTIVE, small.DESCENT, 3, parallel)[0]
        np.testing.assert_allclose(many, one, rtol=1e-5, err_msg=str(parallel))
    pieces = small.fit(train_setup(prepared, small.FULL), OBJECTIVE, small.DESCENT, 3, mode=StepMode.microbatched)[0]
    np.testing.assert_allclose(pieces, one, rtol=1e-5)


def test_training_lowers_the_loss_of_held_out_texts(prepared: experiment.Prepared) -> None:
    le = train_setup(prepared, small.FULL)
    _, states = small.fit(le, OBJECTIVE, small.optax.adam(0.01), 30)
    assert le.validate(states[-1].trainable)[0] > le.validate(le.partition.trainable)[0] + 0.2


def test_what_is_refused(prepared: experiment.Prepared) -> None:
    with pytest.raises(ValueError, match="use all"):
        train_setup(prepared, replace(small.FULL, layers="last_1"))
    with pytest.raises(ConfigError, match="go together"):
        small.train_setup(prepared, small.FULL, LanguageModel())


def test_the_head_of_a_gpt_has_nothing_to_learn(gpt: experiment.Prepared) -> None:
    assert not nnx.to_flat_state(nnx.state(train_setup(gpt, small.LORA).partition.model(), nnx.PathContains("map_DD")))
    assert isinstance(PREFIX, int)
