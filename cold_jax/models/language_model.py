"""Pre-training on a domain's texts: a BERT predicts masked tokens, a GPT each token from those before it.

    masked   −log p(t | its text, 15 % of its tokens masked)   Devlin et al. 2019, arXiv 1810.04805
    causal   −log p(t | the tokens before it)                  Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training"

p = softmax(E·(M·s) + b) over the vocabulary, s a token's state, E the encoder's own embedding. M starts at the identity; a GPT, whose
output is E, has neither M nor b. Only φ is kept after training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax.batching.batch import Batch
from cold_jax.batching.masked import Predicted, TextBatches
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import Validation
from cold_jax.models.base import Model, ModelConfig, Partition, TowerInit, encode_texts
from cold_jax.splits.tasks import TrainView

Tree = Any


class LanguageModelModule(Model):
    reads_states = True

    def __init__(self, encoder: Any):
        embedding = getattr(encoder.backbone.embeddings, "word", None)
        if embedding is None:
            raise ConfigError(
                "adapter.layers: model=language_model predicts with the encoder's embedding, which last_N leaves out; use all"
            )
        self.encoder = encoder
        self.map_DD = None if encoder.backbone.causal else nnx.Param(jnp.eye(encoder.state_width))
        self.bias_X = None if encoder.backbone.causal else nnx.Param(jnp.zeros(embedding.num_embeddings))

    def logits(self, state_BD: jax.Array) -> jax.Array:
        """float32 logits of shape (B, vocabulary)."""
        if self.map_DD is not None:
            state_BD = state_BD @ self.map_DD[...].astype(state_BD.dtype)
        logit_BX = self.encoder.backbone.embeddings.word.attend(state_BD).astype(jnp.float32)
        return logit_BX if self.bias_X is None else logit_BX + self.bias_X[...][None]


def token_logits(
    model: LanguageModelModule, state_RLD: jax.Array, examples: Predicted, items: None, key: jax.Array | None = None
) -> jax.Array:
    """logit_BX of a step's tokens to predict."""
    return model.logits(state_RLD.reshape(-1, state_RLD.shape[-1])[examples.position_B])


@dataclass(frozen=True)
class LanguageModel(ModelConfig):
    """An encoder as a language model."""

    reads_states: ClassVar[bool] = True
    predicts_tokens: ClassVar[bool] = True

    def __call__(self, encoder: Any, train: TrainView, init: TowerInit | None, seed: int) -> LanguageModelModule:
        return LanguageModelModule(encoder)


def held_out_loss(
    partition: Partition, batches: TextBatches, objective: Any, microbatch_rows: int
) -> Callable[[Tree], Validation]:
    """A function of the trainable leaves: −mean loss of held-out texts' tokens, and the perplexity."""
    held_out, frozen = batches.held_out_batches(), jax.device_put(partition.frozen)

    @jax.jit
    def loss(trainable: Tree, frozen: Tree, batch: Batch) -> tuple[jax.Array, jax.Array]:
        model = Partition(partition.graph, trainable, frozen).model()
        encoded = encode_texts(model, batch.rows, microbatch_rows)
        return objective(objective.read(model, encoded, batch.examples, None), batch.examples, None)

    def validate(trainable: Tree) -> Validation:
        total, weight = np.sum([np.asarray(loss(trainable, frozen, batch)) for batch in held_out], 0)
        return Validation(-float(total / weight), {"perplexity": float(np.exp(total / weight))})

    return validate
