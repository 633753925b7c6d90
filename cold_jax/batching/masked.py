"""Texts whose tokens are predicted, masked or causal."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from cold_jax import seeds
from cold_jax.batching.batch import Batch, PackedTexts
from cold_jax.errors import DataError
from cold_jax.text.packing import Rows

MASKED, REPLACED = 0.8, 0.1  # of the tokens to be foretold; the rest stay


class Predicted(NamedTuple):
    """A row for each token that is foretold; spread over the devices."""

    position_B: np.ndarray  # of the state it is foretold from, among all of the batch's
    token_B: np.ndarray
    weight_B: np.ndarray  # 0 in the rows that fill up


@dataclass(frozen=True)
class MaskedTokens:
    """A step reads `size` texts of users and items, equal ones once; a share `held_out` of all is for validation.

    share: of a BERT's tokens that are foretold, [MASK] standing for most of them. Special tokens never are.
    """

    size: int
    share: float
    mask: str
    held_out: float

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"batching.size: {self.size} is not a batch size; give 1 or more")
        for key in ("share", "held_out"):
            if not 0 < getattr(self, key) < 1:
                raise ValueError(f"batching.{key}: {getattr(self, key)} is not a share between 0 and 1")

    def __call__(
        self, tokenizer: Path, causal: bool, place: PackedTexts, seed: int, multiple: int, devices: int
    ) -> "TextBatches":
        return TextBatches(self, tokenizer, causal, place, seed, multiple, devices)


class TextBatches:
    """`batches(step)` is the step's batch, an epoch a permutation of the texts that are not held out."""

    packed = True

    def __init__(
        self, batching: MaskedTokens, tokenizer: Path, causal: bool, place: PackedTexts, seed: int, multiple: int, devices: int
    ):
        """Raises DataError where the tokenizer has no such mask, or too few texts have tokens of their own."""
        self.batching, self.causal, self.place, self.seed, self.devices = batching, causal, place, seed, devices
        reader = Tokenizer.from_file(str(tokenizer))
        mask, self.vocabulary = reader.token_to_id(batching.mask), reader.get_vocab_size()
        if mask is None and not causal:
            raise DataError(f"batching.mask: {tokenizer} has no token {batching.mask!r}; give the one it has")
        self.mask = -1 if mask is None else mask
        self.special = np.array([*reader.encode("").ids, self.mask], np.int32)
        first: dict[bytes, int] = {}
        for t, (start, end) in enumerate(zip(place.tokens.offset_T[:-1], place.tokens.offset_T[1:], strict=True)):
            own_L = place.tokens.token_N[start:end]
            if (len(own_L) > 1) if causal else not np.isin(own_L, self.special).all():
                first.setdefault(own_L.tobytes(), t)
        drawn_T = seeds.generator(seed, "held-out texts").permutation(np.array(list(first.values()), np.int64))
        held = max(round(batching.held_out * len(drawn_T)), 1)
        self.held_T, self.text_T = drawn_T[:held], np.sort(drawn_T[held:])
        if not len(self.text_T):
            raise DataError(f"data: {len(drawn_T)} different texts of users and items are too few to learn from")
        self.steps_per_epoch = math.ceil(len(self.text_T) / batching.size)
        self.multiple = multiple  # one compiled shape, as in batches.Batches
        self.multiple = max(len(self._rows(self._texts(step)).token_RL) for step in range(32))

    def _texts(self, step: int) -> np.ndarray:
        epoch, within = divmod(step, self.steps_per_epoch)
        order_T = seeds.generator(self.seed, "order", epoch).permutation(self.text_T)
        return order_T[within * self.batching.size : (within + 1) * self.batching.size]

    def _rows(self, text_T: np.ndarray) -> Rows:
        return self.place(text_T, self.multiple)[0]

    def __call__(self, step: int) -> Batch:
        return self._batch(self._texts(step), seeds.generator(self.seed, "draw", step))

    def held_out(self) -> list[Batch]:
        """The texts for validation, with masks that are always the same."""
        pieces = np.array_split(self.held_T, math.ceil(len(self.held_T) / self.batching.size))
        return [self._batch(piece_T, seeds.generator(self.seed, "held-out masks", n)) for n, piece_T in enumerate(pieces)]

    def _batch(self, text_T: np.ndarray, draw: np.random.Generator) -> Batch:
        rows = self._rows(text_T)
        token_N, real_N = rows.token_RL.reshape(-1), rows.segment_RL.reshape(-1) > 0
        if self.causal:
            target_N = np.flatnonzero(real_N & (rows.position_RL.reshape(-1) > 0))
            position_N, capacity = target_N - 1, len(token_N)
        else:
            own_N = np.flatnonzero(real_N & ~np.isin(token_N, self.special))
            target_N = np.sort(draw.choice(own_N, max(round(self.batching.share * len(own_N)), 1), replace=False))
            position_N, capacity = target_N, math.ceil(self.batching.share * len(token_N))
        fill = (0, math.ceil(capacity / self.devices) * self.devices - len(target_N))
        of_B = Predicted(
            np.pad(position_N, fill).astype(np.int32),
            np.pad(token_N[target_N], fill).astype(np.int32),
            np.pad(np.ones(len(target_N), np.float32), fill),
        )
        if not self.causal:
            token_N, lot_N = token_N.copy(), draw.random(len(target_N))
            other_N = draw.integers(0, self.vocabulary, len(target_N))
            hidden_N = np.where(lot_N < MASKED, self.mask, np.where(lot_N < MASKED + REPLACED, other_N, token_N[target_N]))
            token_N[target_N] = hidden_N
            rows = rows._replace(token_RL=token_N.reshape(rows.token_RL.shape))
        return Batch(rows, of_B, None)  # type: ignore[arg-type]

    def told(self, batch: Batch) -> str:
        """As of batches.Batches."""
        texts = np.unique(np.asarray(batch.rows.text_RL)[np.asarray(batch.rows.segment_RL) > 0])  # type: ignore[union-attr]
        return f"Texts of the batch, users' and then items': {texts[:20].tolist()}"
