"""Zero-shot recommendation by a language model: how likely it finds an item's text after a prompt about the user.

    score(u, i) = mean_t [log p(t | prompt(u), t_<) − κ · log p(t | question, t_<)] + a · log c_i,   t the tokens of i

κ subtracts how likely a text is whoever the user is (domain-conditional PMI: Holtzman et al. 2021, arXiv 2104.08315). c_i is the
number of the item's training interactions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from tokenizers import Tokenizer

from cold_jax.encoders import Loaded
from cold_jax.encoders.layers import Transformer
from cold_jax.errors import WeightsError
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.models.base import ModelConfig, popularity_prior
from cold_jax.ranges import require
from cold_jax.splits.tasks import TrainView
from cold_jax.text.packing import PREFIX, Rows, fit_row_length, pack
from cold_jax.text.tokens import Tokens, read_tokenizer


@dataclass(frozen=True)
class Likelihood(ModelConfig):
    """prompt(u) is `profile_prompt`, `liked_prompt` and `question`; the first two only where there is something to say.

    title: name of the text that is scored. {profile}: the user's main text. {liked}: the titles of at most `history` items of the
    history, the newest of a sequence, otherwise the first of the catalogue. calibration: κ; popularity_weight: a. first: only this many
    candidates, the most popular, are scored, and the others follow by popularity; null: all. prompt_tokens: at most the last ones of a
    prompt. Titles share rows of row_tokens with a prompt, which is computed once per row.
    """

    trains: ClassVar[bool] = False

    title: str
    profile_prompt: str
    liked_prompt: str
    question: str
    history: int
    calibration: float
    popularity_weight: float
    first: int | None
    prompt_tokens: int
    row_tokens: int
    rows_at_once: int

    def __post_init__(self) -> None:
        for key, word in (("profile_prompt", "{profile}"), ("liked_prompt", "{liked}")):
            if (given := getattr(self, key)).count(word) != 1:
                raise ValueError(f"model.{key}: {given!r} must contain {word} once")
        require("model", self, at_least_1=["history", "prompt_tokens", "row_tokens", "rows_at_once", "first"])

    def scorer(self, loaded: Loaded, train: TrainView, profile_of: Callable[[int], str]) -> Scorer:
        """`profile_of` gives a user's main text. Raises WeightsError where the encoder is no language model, DataError where the items have no such text."""
        backbone, tokenizer = loaded.encoder.backbone, read_tokenizer(loaded.tokenizer)
        kind, tied = loaded.config["model_type"], loaded.config.get("tie_word_embeddings")
        if not backbone.causal or not (kind == "gpt2" if tied is None else tied):
            raise WeightsError(
                f"encoder: a {kind} with tie_word_embeddings {tied} is not a language model whose output layer is its embedding; use encoder=smollm2"
            )
        titles, prior_I = train.items.text(self.title, "model.title"), popularity_prior(train)
        ids = [
            np.asarray(encoding.ids, np.int32)
            for encoding in tokenizer.encode_batch([f" {t}" for t in titles], add_special_tokens=False)
        ]
        tokens = Tokens(np.concatenate(ids), np.concatenate([[0], np.cumsum([len(title) for title in ids])]))
        question = self._tokens(tokenizer, self.question)

        def prompt(user: int, history_K: np.ndarray) -> str:
            about = self.profile_prompt.replace("{profile}", profile) if (profile := profile_of(user)) else ""
            if len(history_K):
                about += self.liked_prompt.replace("{liked}", ", ".join(titles[i] for i in history_K[: self.history]))
            return about + self.question

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            by_popularity_I = candidate_I[np.argsort(-prior_I[candidate_I], kind="stable")]
            read_I = np.sort(by_popularity_I[: self.first])
            rows = [history_UI[[u]].tocoo() for u in range(len(user_U))]
            prompts = [
                prompt(user, row.coords[1][np.argsort(row.data, kind="stable")]) for user, row in zip(user_U, rows, strict=True)
            ]
            distinct = dict.fromkeys(prompts)  # a task's last chunk repeats its last user
            log_p = log_likelihoods(
                backbone,
                [question, *(self._tokens(tokenizer, p) for p in distinct)],
                tokens,
                read_I,
                self.row_tokens,
                self.rows_at_once,
            )
            base_J, by_prompt = log_p[0], dict(zip(distinct, log_p[1:], strict=True))
            length_J = np.maximum(tokens.length_T[read_I], 1)
            score_UJ = (
                np.stack([by_prompt[p] - self.calibration * base_J for p in prompts]) / length_J
                + self.popularity_weight * prior_I[read_I]
            )
            position_I = np.empty(len(prior_I), np.float32)
            position_I[by_popularity_I] = np.arange(len(by_popularity_I))
            score_UI = score_UJ.min(1, keepdims=True) - 1 - position_I[candidate_I]
            score_UI[:, np.searchsorted(candidate_I, read_I)] = score_UJ
            return score_UI.astype(np.float32)

        return scorer

    def _tokens(self, tokenizer: Tokenizer, prompt: str) -> np.ndarray:
        return np.asarray(tokenizer.encode(prompt).ids[-self.prompt_tokens :], np.int32)


def log_likelihoods(
    backbone: Transformer,
    prompts: Sequence[np.ndarray],
    tokens: Tokens,
    text_T: np.ndarray,
    row_tokens: int,
    rows_at_once: int,
) -> np.ndarray:
    """Σ_t log p(t | prompt, t_<) of each of the texts `text_T` after each prompt (token ids, at least one); shape (prompts, texts).

    Texts are packed into rows that start with a prompt; each text attends to the prompt and to itself, not to the other texts.
    """
    width = fit_row_length(tokens, row_tokens)
    packed, slot_T = pack(tokens, text_T, width, width, 1)
    P, R = max(map(len, prompts)), len(packed.token_RL)
    P = -(-P // 32) * 32  # few lengths, few compilations
    slot_RW = np.arange(R)[:, None] * width + packed.segment_RL - 1
    real_RW = packed.segment_RL > 0
    sums = []
    chunks, total = [], R * len(prompts)
    for start in range(0, total, rows_at_once):
        at = np.minimum(np.arange(start, start + rows_at_once), total - 1)
        rows, before_RW = _with_prompts([prompts[n // R] for n in at], Rows(*(x_RW[at % R] for x_RW in packed)), P)
        chunks.append(_log_p(backbone, rows, before_RW))
    log_p_NW = np.concatenate(chunks)[:total]
    for n in range(len(prompts)):
        log_p_RW = log_p_NW[n * R : (n + 1) * R]
        sums.append(np.bincount(slot_RW[real_RW], log_p_RW[real_RW], minlength=R * width)[slot_T])
    return np.stack(sums)


def _with_prompts(prompts: Sequence[np.ndarray], packed: Rows, P: int) -> tuple[Rows, np.ndarray]:
    """(rows of a prompt in P positions, then packed texts that continue it; the position whose state predicts each token)."""
    prompt_RP, length_R = np.zeros((len(prompts), P), np.int32), np.array([len(prompt) for prompt in prompts])
    for row, prompt in enumerate(prompts):
        prompt_RP[row, : len(prompt)] = prompt
    real_RP = np.arange(P)[None] < length_R[:, None]
    position_RP = np.where(real_RP, np.arange(P)[None], 0)
    zero_RP = np.zeros_like(prompt_RP)
    position_RW = np.where(packed.segment_RL > 0, packed.position_RL + length_R[:, None], 0)
    left = (prompt_RP, zero_RP, position_RP, np.where(real_RP, PREFIX, 0), zero_RP, zero_RP)
    right = packed._replace(position_RL=position_RW)
    rows = Rows(*(np.concatenate(both, 1).astype(np.int32) for both in zip(left, right, strict=True)))
    before_RW = np.where(packed.position_RL == 0, length_R[:, None] - 1, P + np.arange(packed.position_RL.shape[1])[None] - 1)
    return rows, before_RW.astype(np.int32)


@jax.jit
def _log_p(backbone: Transformer, rows: Rows, before_RW: jax.Array) -> jax.Array:
    """log p of the tokens in the last W positions of each row, each predicted by the state at `before_RW`."""
    W = before_RW.shape[1]

    def row_log_p(row: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        state_LD, before_W, token_W = row
        logit_WX = backbone.embeddings.word.attend(state_LD[before_W]).astype(jnp.float32)
        return jnp.take_along_axis(jax.nn.log_softmax(logit_WX), token_W[:, None], 1)[:, 0]

    return jax.lax.map(row_log_p, (backbone(rows), before_RW, jnp.asarray(rows.token_RL)[:, -W:]))
