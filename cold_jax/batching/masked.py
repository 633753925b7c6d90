"""Batches of texts whose tokens a language model predicts: masked ones (BERT), or each from those before it (GPT)."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from cold_jax import seeds
from cold_jax.batching.batch import Batch, Batching, BatchInputs, PackedTexts
from cold_jax.errors import ConfigError, DataError
from cold_jax.ranges import require
from cold_jax.text.packing import Rows
from cold_jax.text.tokens import read_tokenizer

MASKED, REPLACED = 0.8, 0.1  # shares of the tokens to predict (Devlin et al. 2019, section 3.1); the rest keep theirs


class Predicted(NamedTuple):
    """One row per token to predict; sharded over the devices."""

    position_B: np.ndarray  # of the state that predicts it, among all of the batch's
    token_B: np.ndarray
    weight_B: np.ndarray  # 0 in the padding


@dataclass(frozen=True)
class MaskedTokens(Batching):
    """A step reads `size` of the users' and items' texts, equal ones once; `holdout_fraction` of all are kept for validation.

    share: of a BERT's tokens to predict, most of which are replaced by `mask`. Special tokens never are.
    """

    size: int
    share: float
    mask: str
    holdout_fraction: float

    def __post_init__(self) -> None:
        require("batching", self, at_least_1=["size"])
        for key in ("share", "holdout_fraction"):
            if not 0 < getattr(self, key) < 1:
                raise ValueError(f"batching.{key}: {getattr(self, key)} is not a share between 0 and 1")

    predicts_tokens: ClassVar[bool] = True

    def __call__(self, inputs: BatchInputs) -> "TextBatches":
        """Raises ConfigError where the encoder is frozen, since it reads no rows of texts then."""
        if not isinstance(inputs.place_texts, PackedTexts):
            raise ConfigError("adapter: pre-training changes the encoder; use adapter=full or adapter=lora")
        return TextBatches(self, inputs, inputs.place_texts)


class TextBatches:
    """`batches(step)` is the step's batch; an epoch visits every text that is not held out once."""

    packed = True

    def __init__(self, batching: MaskedTokens, inputs: BatchInputs, place_texts: PackedTexts):
        """Raises DataError where tokenizer or embedding has no such mask token, or too few texts have tokens to predict."""
        self.batching, self.causal, self.place_texts = batching, inputs.causal, place_texts
        self.seed, self.devices, causal, seed = inputs.seed, inputs.devices, inputs.causal, inputs.seed
        reader = read_tokenizer(inputs.tokenizer)
        mask = reader.token_to_id(batching.mask)
        self.vocabulary = min(reader.get_vocab_size(), inputs.vocabulary)  # a tokenizer may have tokens that were added later
        if mask is None and not causal:
            raise DataError(f"batching.mask: {inputs.tokenizer} has no token {batching.mask!r}; give the one it has")
        if mask is not None and mask >= inputs.vocabulary and not causal:
            raise DataError(
                f"batching.mask: {batching.mask!r} is token {mask} of {inputs.tokenizer}, and the encoder's embedding has "
                f"{inputs.vocabulary} rows; give a token that it has"
            )
        self.mask = -1 if mask is None else mask
        self.special = np.array([*reader.encode("").ids, self.mask], np.int32)
        first: dict[bytes, int] = {}
        for t, (start, end) in enumerate(zip(place_texts.tokens.offset_T[:-1], place_texts.tokens.offset_T[1:], strict=True)):
            token_L = place_texts.tokens.token_N[start:end]
            if (len(token_L) > 1) if causal else not np.isin(token_L, self.special).all():
                first.setdefault(token_L.tobytes(), t)
        shuffled_T = seeds.generator(seed, "held-out texts").permutation(np.array(list(first.values()), np.int64))
        held_out = max(round(batching.holdout_fraction * len(shuffled_T)), 1)
        self.held_out_T, self.text_T = shuffled_T[:held_out], np.sort(shuffled_T[held_out:])
        if not len(self.text_T):
            raise DataError(f"data: {len(shuffled_T)} different texts of users and items are too few to learn from")
        self.steps_per_epoch = math.ceil(len(self.text_T) / batching.size)
        self.multiple = inputs.multiple  # one compiled shape, as in SampledBatches
        self.multiple = max(len(self._rows(self._texts(step)).token_RL) for step in range(32))

    def _texts(self, step: int) -> np.ndarray:
        epoch, within = divmod(step, self.steps_per_epoch)
        order_T = seeds.generator(self.seed, "order", epoch).permutation(self.text_T)
        return order_T[within * self.batching.size : (within + 1) * self.batching.size]

    def _rows(self, text_T: np.ndarray) -> Rows:
        return self.place_texts(text_T, self.multiple)[0]

    def __call__(self, step: int) -> Batch:
        return self._batch(self._texts(step), seeds.generator(self.seed, "draw", step))

    def held_out_batches(self) -> list[Batch]:
        """The texts kept for validation, always masked alike."""
        chunks = np.array_split(self.held_out_T, math.ceil(len(self.held_out_T) / self.batching.size))
        return [self._batch(chunk_T, seeds.generator(self.seed, "held-out masks", n)) for n, chunk_T in enumerate(chunks)]

    def _batch(self, text_T: np.ndarray, draw: np.random.Generator) -> Batch:
        rows = self._rows(text_T)
        token_N, real_N = rows.token_RL.reshape(-1), rows.segment_RL.reshape(-1) > 0
        if self.causal:
            target_N = np.flatnonzero(real_N & (rows.position_RL.reshape(-1) > 0))
            position_N, capacity = target_N - 1, len(token_N)
        else:
            maskable_N = np.flatnonzero(real_N & ~np.isin(token_N, self.special))
            target_N = np.sort(draw.choice(maskable_N, max(round(self.batching.share * len(maskable_N)), 1), replace=False))
            position_N, capacity = target_N, math.ceil(self.batching.share * len(token_N))
        padding = (0, math.ceil(capacity / self.devices) * self.devices - len(target_N))
        predicted = Predicted(
            np.pad(position_N, padding).astype(np.int32),
            np.pad(token_N[target_N], padding).astype(np.int32),
            np.pad(np.ones(len(target_N), np.float32), padding),
        )
        if not self.causal:
            token_N, draw_N = token_N.copy(), draw.random(len(target_N))
            random_N = draw.integers(0, self.vocabulary, len(target_N))
            replacement_N = np.where(
                draw_N < MASKED, self.mask, np.where(draw_N < MASKED + REPLACED, random_N, token_N[target_N])
            )
            token_N[target_N] = replacement_N
            rows = rows._replace(token_RL=token_N.reshape(rows.token_RL.shape))
        return Batch(rows, predicted, None)  # type: ignore[arg-type]

    def describe(self, batch: Batch) -> str:
        """The texts of a batch, for error messages."""
        texts = np.unique(np.asarray(batch.rows.text_RL)[np.asarray(batch.rows.segment_RL) > 0])  # type: ignore[union-attr]
        return f"Texts of the batch (numbered users first, then items): {texts[:20].tolist()}"
